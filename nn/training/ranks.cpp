#include "nn/training/ranks.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>

#include "nn/config/removed_options.h"
#include "tensor/collectives/file_rendezvous.h"
#include "tensor/collectives/hello.h"
#include "tensor/collectives/message_communicator.h"
#include "tensor/collectives/nccl.h"
#include "tensor/collectives/tcp.h"
#include "tensor/error.h"

namespace fm {
namespace {

FileRendezvous file_of(const RankPlace& p) { return {p.folder, p.job}; }

std::string own_host() {
  char host[256] = {};
  gethostname(host, sizeof host - 1);
  return host;
}

// "HOST:PORT SECRET"
TcpRendezvous::Found read_address(const FileRendezvous& file, const std::string& given_secret, std::string* why) {
  const std::string text = look_at(file, why);
  const std::size_t space = text.find(' '), colon = text.rfind(':', space);
  const int port = space == std::string::npos || colon == std::string::npos ? 0 : parse_port(text.substr(colon + 1, space - colon - 1));
  if (port == 0 && !text.empty()) *why = file.file().string() + " holds no address";
  if (port == 0) return {};
  return {text.substr(0, colon), port, given_secret.empty() ? text.substr(space + 1) : given_secret};
}

// `left` becomes the text that rank 0 has written into the folder.
TcpRendezvous rendezvous_of(const RankPlace& p, const RankLife& life, std::string& left) {
  TcpRendezvous w{p.host, p.port, p.job, p.rank, p.size, p.deadline, p.secret, p.from_other_machines};
  w.stop_asked = life.stop_asked;
  w.warn = life.warn;
  if (p.folder.empty()) return w;
  const FileRendezvous file = file_of(p);
  w.called = "the address in " + file.file().string();
  w.host = own_host();
  if (p.secret.empty() && p.rank == 0) w.secret = to_hex(random_bytes(32));
  // If the user gave a secret, the file holds only the address.
  w.listening = [file, &left, secret = p.secret.empty() ? w.secret : ""](int port) {
    left = fmt::format("{}:{} {}", own_host(), port, secret);
    leave_at(file, left);
  };
  w.find = [file, given = p.secret](std::string* why) { return read_address(file, given, why); };
  return w;
}

// Removes the file with rank 0's address when all ranks have connected or rank 0 has given up. A file that another rank 0 has written is kept.
class ClearedAddress {
 public:
  explicit ClearedAddress(const RankPlace& p) : place_(p) {}
  ~ClearedAddress() {
    if (left.empty()) return;
    std::string why;
    if (look_at(file_of(place_), &why) == left) clear(file_of(place_));
  }
  std::string left;

 private:
  const RankPlace& place_;
};

// Describes the first difference; empty if the facts are equal.
std::string difference(const StartFacts& own, const StartFacts& first) {
  const auto differs = [](const char* what, const std::string& a, const std::string& b) { return a == b ? "" : fmt::format("{} {}, not {}", what, a, b); };
  std::string text = differs("it runs", own.command, first.command);
  if (text.empty()) text = differs("it is build", own.build, first.build);
  if (text.empty()) text = differs("its --out is", own.out, first.out);
  if (text.empty() && own.host == first.host) text = differs("its --out is", own.folder, first.folder);      // the same --out from another working folder
  if (text.empty()) text = fmt::format("{}", fmt::join(config_changes(first.config, own.config), ", "));
  return text;
}

}  // namespace

void check_same_command(Communicator& ranks, const StartFacts& own) {
  if (ranks.size() == 1) return;
  constexpr std::string StartFacts::*fields[] = {&StartFacts::command, &StartFacts::build, &StartFacts::out, &StartFacts::host, &StartFacts::folder, &StartFacts::config};
  std::vector<StartFacts> all(static_cast<std::size_t>(ranks.size()));
  for (const auto field : fields) {
    const auto texts = gather_texts(ranks, own.*field);
    for (std::size_t r = 0; r < all.size(); ++r) all[r].*field = texts[r];
  }
  for (std::size_t r = 1; r < all.size(); ++r) {
    const std::string text = difference(all[r], all[0]);
    if (text.empty()) continue;
    ranks.finish();                      // all ranks end here, so that none reports others as lost
    throw ConfigError(printable(fmt::format("rank {} was not started as rank 0 was: {}", r, text), 1000) + "; give all ranks the same command, build and files");
  }
}

Ranks::Ranks(const RankPlace& p, const RankLife& life) {
  std::function<void(const std::string&)> end;
  if (life.lost) end = [this, lost = life.lost](const std::string& what) { lost(what + remedy()); };
  const WatchOptions watch{.lost_after = life.lost_after, .beat_every = std::min(1.0, life.lost_after / 5), .grace = std::min(10.0, life.lost_after),
                           .on_lost = end, .stop_asked = life.stop_asked, .stop_heard = life.stop_heard};
  std::unique_ptr<ClearedAddress> address = std::make_unique<ClearedAddress>(p);
  const auto open = [&]() -> std::unique_ptr<Channel> {
    if (p.transport == RankPlace::Transport::mpi) return life.open_mpi(p.rank, p.size);
    return open_tcp_channel(rendezvous_of(p, life, address->left));
  };
  ranks_ = std::make_unique<SingleRank>();
  if (p.size == 1) return;
  ranks_ = std::make_unique<MessageCommunicator>(open, watch);
  if (!p.folder.empty()) ranks_->barrier();
  address.reset();
  if (p.device.is_cuda()) ranks_ = open_nccl(std::move(ranks_), p.device, {.stop_asked = life.stop_asked});
}

void Ranks::set_remedy(std::function<std::string()> remedy) {
  const std::lock_guard lock(mutex_);
  remedy_ = std::move(remedy);
}

std::string Ranks::remedy() const {
  const std::lock_guard lock(mutex_);
  try {
    return remedy_ ? remedy_() : "";
  } catch (const std::exception& e) {    // the folder of checkpoints may be unreadable too
    return std::string("; the checkpoint to resume from is unknown: ") + e.what();
  }
}

}  // namespace fm
