#include "tensor/collectives/mpi.h"

#include <mpi.h>

#include <algorithm>
#include <chrono>
#include <list>
#include <thread>

#include "tensor/collectives/communicator.h"

namespace fm {
namespace {

constexpr int data_tag = 1, notice_tag = 2, most_bytes_of_notice = 1 << 16;
constexpr std::size_t largest = std::size_t{1} << 30;      // MPI counts in int

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

void check(int code, const char* what) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  MPI_Error_string(code, text, &length);
  throw RankLostError(std::string("a rank was lost: ") + what + ": " + std::string(text, static_cast<std::size_t>(length)));
}

class MpiChannel : public Channel {
 public:
  MpiChannel(int expected_rank, int expected_size) {
    int provided = 0;
    MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
    MPI_Comm_size(MPI_COMM_WORLD, &size_);
    if (size_ != expected_size || rank_ != expected_rank)
      throw ConfigError("the launcher gives rank " + std::to_string(expected_rank) + " of " + std::to_string(expected_size) + ", but MPI gives " +
                        std::to_string(rank_) + " of " + std::to_string(size_) +
                        ": start the ranks with the mpirun of the MPI that this program was built with, or give --rendezvous HOST:PORT");
    MPI_Comm_dup(MPI_COMM_WORLD, &data_);
    MPI_Comm_dup(MPI_COMM_WORLD, &notices_);
    MPI_Comm_set_errhandler(data_, MPI_ERRORS_RETURN);
    MPI_Comm_set_errhandler(notices_, MPI_ERRORS_RETURN);
  }
  // Only after a regular end: MPI_Finalize waits for all ranks.
  void close() override {
    for (Notice& n : sent_) MPI_Wait(&n.request, MPI_STATUS_IGNORE);
    MPI_Finalize();
  }
  int rank() const override { return rank_; }
  int size() const override { return size_; }

  void post(const std::vector<Message>& sends, const std::vector<Message>& receives) override {
    for (const Message& m : receives) begin(m, [&](void* at, int n, MPI_Request* r) { return MPI_Irecv(at, n, MPI_BYTE, m.peer, data_tag, data_, r); });
    for (const Message& m : sends) begin(m, [&](void* at, int n, MPI_Request* r) { return MPI_Isend(at, n, MPI_BYTE, m.peer, data_tag, data_, r); });
  }

  // MPI moves data only while it is called. After a few calls this thread sleeps between them, because other threads compute.
  bool poll(double seconds) override {
    const double since = now();
    for (int tries = 0;; ++tries) {
      int done = 1;
      if (!requests_.empty()) check(MPI_Testall(static_cast<int>(requests_.size()), requests_.data(), &done, MPI_STATUSES_IGNORE), "MPI_Testall");
      if (done) {
        requests_.clear(), peers_.clear();
        return true;
      }
      if (now() - since >= seconds) return false;
      if (tries < 20) std::this_thread::yield();
      else std::this_thread::sleep_for(std::chrono::microseconds(20));
    }
  }
  std::vector<int> waiting_for() const override {
    std::vector<int> missing;
    for (std::size_t i = 0; i < requests_.size(); ++i) {
      int done = 0;
      MPI_Request_get_status(requests_[i], &done, MPI_STATUS_IGNORE);
      if (!done) missing.push_back(peers_[i]);
    }
    return missing;
  }

  void notify(int peer, const std::string& text) override {
    sent_.remove_if([](Notice& n) {
      int done = 0;
      return MPI_Test(&n.request, &done, MPI_STATUS_IGNORE) != MPI_SUCCESS || done;
    });
    sent_.push_back({text.substr(0, most_bytes_of_notice), MPI_REQUEST_NULL});
    Notice& n = sent_.back();
    MPI_Isend(n.text.data(), static_cast<int>(n.text.size()), MPI_BYTE, peer, notice_tag, notices_, &n.request);
  }
  std::vector<std::pair<int, std::string>> notices() override {
    std::vector<std::pair<int, std::string>> out;
    for (;;) {
      int there = 0, bytes = 0;
      MPI_Status status;
      check(MPI_Iprobe(MPI_ANY_SOURCE, notice_tag, notices_, &there, &status), "MPI_Iprobe");
      if (!there) return out;
      MPI_Get_count(&status, MPI_BYTE, &bytes);
      if (bytes < 0 || bytes > most_bytes_of_notice)
        throw RankLostError("rank " + std::to_string(status.MPI_SOURCE) + " was lost: it sends a notice of " + std::to_string(bytes) + " bytes, an invalid length");
      std::string text(static_cast<std::size_t>(bytes), ' ');
      check(MPI_Recv(text.data(), bytes, MPI_BYTE, status.MPI_SOURCE, notice_tag, notices_, MPI_STATUS_IGNORE), "MPI_Recv");
      out.emplace_back(status.MPI_SOURCE, text);
    }
  }

 private:
  struct Notice {
    std::string text;
    MPI_Request request;
  };
  template <class F> void begin(const Message& m, const F& f) {
    for (std::size_t at = 0; at < m.bytes; at += largest) {
      MPI_Request request = MPI_REQUEST_NULL;
      check(f(static_cast<char*>(m.data) + at, static_cast<int>(std::min(largest, m.bytes - at)), &request), "a message");
      requests_.push_back(request);
      peers_.push_back(m.peer);
    }
  }

  int rank_ = 0, size_ = 1;
  MPI_Comm data_ = MPI_COMM_NULL, notices_ = MPI_COMM_NULL;
  std::vector<MPI_Request> requests_;
  std::vector<int> peers_;               // the peer of each request
  std::list<Notice> sent_;               // a list, because the texts must not move while they are sent
};

}  // namespace

std::unique_ptr<Channel> open_mpi_channel(int expected_rank, int expected_size) {
  return std::make_unique<MpiChannel>(expected_rank, expected_size);
}

}  // namespace fm
