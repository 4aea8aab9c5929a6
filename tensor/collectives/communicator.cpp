#include "tensor/collectives/communicator.h"

#include <cstring>
#include <numeric>

namespace fm {
namespace {

constexpr std::int64_t most_bytes_of_text = 4 << 20;

Communicator::Work nothing_to_do() {
  std::promise<void> done;
  done.set_value();
  return done.get_future().share();
}

Communicator::Work refuse_peer(const char* what, int peer) {
  throw Error(std::string(what) + " rank " + std::to_string(peer) + ": this communicator has a single rank");
}

}  // namespace

Communicator::Work SingleRank::all_reduce_start(const Tensor&) { return nothing_to_do(); }
Communicator::Work SingleRank::reduce_scatter_start(const Tensor&, const Counts&) { return nothing_to_do(); }
Communicator::Work SingleRank::all_gather_start(const Tensor&, const Counts&) { return nothing_to_do(); }
Communicator::Work SingleRank::broadcast_start(const Tensor&, int) { return nothing_to_do(); }
Communicator::Work SingleRank::send_start(const Tensor&, int to) { return refuse_peer("send to", to); }
Communicator::Work SingleRank::receive_start(const Tensor&, int from) { return refuse_peer("receive from", from); }

void Communicator::barrier() { all_reduce(Tensor::zeros({1}, DType::f32, Device{})); }

Communicator::Counts even_counts(std::int64_t n, int ranks) {
  Communicator::Counts counts;
  for (std::int64_t r = 0; r < ranks; ++r) counts.push_back(n * (r + 1) / ranks - n * r / ranks);
  return counts;
}

std::vector<std::string> gather_texts(Communicator& ranks, const std::string& own) {
  const auto n = static_cast<std::size_t>(ranks.size()), me = static_cast<std::size_t>(ranks.rank());
  const Tensor lengths = Tensor::zeros({ranks.size()}, DType::i64, Device{});
  lengths.data<std::int64_t>()[me] = static_cast<std::int64_t>(own.size());
  ranks.all_gather(lengths, Communicator::Counts(n, 1));
  const auto counts = lengths.to_vector<std::int64_t>();
  for (std::size_t r = 0; r < n; ++r)            // lengths from another process are checked before use
    if (counts[r] < 0 || counts[r] > most_bytes_of_text)
      throw Error("rank " + std::to_string(r) + " announces a text of " + std::to_string(counts[r]) + " bytes; at most " +
                  std::to_string(most_bytes_of_text) + " are accepted");
  const Tensor bytes = Tensor::zeros({std::accumulate(counts.begin(), counts.end(), std::int64_t{0})}, DType::u8, Device{});
  char* text = static_cast<char*>(bytes.raw());
  if (!own.empty()) std::memcpy(text + std::accumulate(counts.begin(), counts.begin() + ranks.rank(), std::int64_t{0}), own.data(), own.size());
  ranks.all_gather(bytes, counts);
  std::vector<std::string> all;
  for (std::int64_t length : counts) {
    all.emplace_back(text, static_cast<std::size_t>(length));
    text += length;
  }
  return all;
}

std::vector<double> sum_over_ranks(Communicator& ranks, const std::vector<double>& own) {
  if (ranks.size() == 1) return own;
  Tensor x = Tensor::empty({static_cast<std::int64_t>(own.size())}, DType::f64, Device{});
  std::copy(own.begin(), own.end(), x.data<double>());
  ranks.all_reduce(x);
  return {x.data<double>(), x.data<double>() + own.size()};
}

}  // namespace fm
