#include "nn/optim/shards.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "tensor/narrow.h"

namespace fm {
namespace {

constexpr std::int64_t group_bytes = 4 << 20;

// The tensors of one message, sorted by owner, so that the part of each rank is contiguous.
struct Group {
  std::vector<std::size_t> members;
  Tensor buffer;
  Communicator::Counts counts;
  Communicator::Work under_way;

  template <class F> void each_piece(const std::vector<Tensor>& tensors, const F& f) const {
    std::int64_t at = 0;
    for (std::size_t i : members) {
      f(i, buffer.slice(0, at, at + tensors[i].numel()).reshape(tensors[i].shape()));
      at += tensors[i].numel();
    }
  }
};

Group start(Communicator& ranks, const std::vector<Tensor>& tensors, const std::vector<int>& owners, std::vector<std::size_t> members) {
  Group g;
  std::stable_sort(members.begin(), members.end(), [&](std::size_t a, std::size_t b) { return owners[a] < owners[b]; });
  g.members = std::move(members);
  g.counts.assign(static_cast<std::size_t>(ranks.size()), 0);
  for (std::size_t i : g.members) g.counts[static_cast<std::size_t>(owners[i])] += tensors[i].numel();
  const Tensor& like = tensors[g.members.front()];
  g.buffer = Tensor::empty({std::accumulate(g.counts.begin(), g.counts.end(), std::int64_t{0})}, like.dtype(), like.device());
  g.each_piece(tensors, [&](std::size_t i, const Tensor& piece) {
    if (owners[i] == ranks.rank()) piece.copy_from(tensors[i]);
  });
  g.under_way = ranks.all_gather_start(g.buffer, g.counts);
  return g;
}

void take(const Group& g, int rank, const std::vector<Tensor>& tensors, const std::vector<int>& owners) {
  g.under_way.get();
  g.each_piece(tensors, [&](std::size_t i, const Tensor& piece) {
    if (owners[i] != rank) tensors[i].copy_from(piece);
  });
}

}  // namespace

std::vector<int> balanced_owners(const std::vector<std::int64_t>& sizes, int ranks) {
  std::vector<std::size_t> order(sizes.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return sizes[a] > sizes[b]; });
  std::vector<std::int64_t> load(static_cast<std::size_t>(ranks), 0);
  std::vector<int> owners(sizes.size());
  for (std::size_t i : order) {
    const auto least = std::min_element(load.begin(), load.end());
    *least += sizes[i];
    owners[i] = narrow<int>(least - load.begin());
  }
  return owners;
}

// Two groups are in use at a time: one is packed while the other is sent.
void share_from_owners(Communicator& ranks, const std::vector<Tensor>& tensors, const std::vector<int>& owners) {
  if (ranks.size() == 1 || tensors.empty()) return;
  std::vector<Group> under_way;
  std::vector<std::size_t> members;
  std::int64_t bytes = 0;
  const auto flush = [&] {
    if (members.empty()) return;
    under_way.push_back(start(ranks, tensors, owners, std::exchange(members, {})));
    bytes = 0;
    if (under_way.size() == 2) {
      take(under_way.front(), ranks.rank(), tensors, owners);
      under_way.erase(under_way.begin());
    }
  };
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    if (!members.empty() && tensors[i].dtype() != tensors[members.front()].dtype()) flush();
    members.push_back(i);
    bytes += static_cast<std::int64_t>(tensors[i].bytes());
    if (bytes >= group_bytes) flush();
  }
  flush();
  for (const Group& g : under_way) take(g, ranks.rank(), tensors, owners);
}

}  // namespace fm
