#include "nn/optim/gradient_buckets.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace fm {

GradientBuckets::GradientBuckets(Communicator& ranks, const std::vector<NamedParameter>& parameters, std::vector<int> owners,
                                 std::int64_t bucket_bytes)
    : ranks_(ranks), bucket_bytes_(bucket_bytes), sharded_(!owners.empty()) {
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    if (!parameters[i].parameter->trainable) continue;
    parameters_.push_back(parameters[i].parameter);
    owners_.push_back(sharded_ ? owners[i] : 0);
  }
  flags_ = Tensor::zeros({static_cast<std::int64_t>(parameters_.size())}, DType::f32, Device{});
  std::vector<std::size_t> backwards(parameters_.size());
  std::iota(backwards.rbegin(), backwards.rend(), std::size_t{0});
  lay_out(backwards);
}

GradientBuckets::~GradientBuckets() = default;

void GradientBuckets::lay_out(const std::vector<std::size_t>& order) {
  buckets_.clear();
  place_.clear();
  Bucket open;
  std::int64_t bytes = 0;
  for (std::size_t i : order) {
    const Tensor& value = parameters_[i]->value;
    if (!open.entries.empty() && (bytes >= bucket_bytes_ || open.entries.front().parameter->value.dtype() != value.dtype())) {
      close(std::exchange(open, {}));
      bytes = 0;
    }
    open.entries.push_back({parameters_[i], owners_[i], i});
    bytes += static_cast<std::int64_t>(value.bytes());
  }
  if (!open.entries.empty()) close(std::move(open));
}

// Sorts the entries by owner, so that the part of each rank is contiguous, and allocates the buffer.
void GradientBuckets::close(Bucket&& b) {
  std::stable_sort(b.entries.begin(), b.entries.end(), [](const Entry& x, const Entry& y) { return x.owner < y.owner; });
  b.counts.assign(static_cast<std::size_t>(ranks_.size()), 0);
  std::int64_t at = 0;
  for (Entry& e : b.entries) {
    e.at = at;
    at += e.parameter->value.numel();
    b.counts[static_cast<std::size_t>(e.owner)] += e.parameter->value.numel();
  }
  const Tensor& like = b.entries.front().parameter->value;
  b.buffer = Tensor::empty({at}, like.dtype(), like.device());
  for (std::size_t i = 0; i < b.entries.size(); ++i) place_[b.entries[i].parameter] = {buckets_.size(), i};
  buckets_.push_back(std::move(b));
}

void GradientBuckets::begin(Gradients* earlier) {
  earlier_ = earlier;
  sent_ = 0;
  for (Bucket& b : buckets_) {
    b.missing = b.entries.size();
    for (Entry& e : b.entries) e.there = false;
    // The optimizer may still hold views of the last step's sums.
    if (!b.buffer.is_unique()) b.buffer = Tensor::empty(b.buffer.shape(), b.buffer.dtype(), b.buffer.device());
  }
}

OnFinal GradientBuckets::hook() {
  return [this](const Parameter& p, Tensor& g) { take(p, g); };
}

void GradientBuckets::take(const Parameter& p, Tensor& g) {
  const auto found = place_.find(&p);
  if (found == place_.end()) return;
  const auto [bucket, entry] = found->second;
  if (!ordered_) seen_.push_back(static_cast<std::size_t>(std::find(parameters_.begin(), parameters_.end(), &p) - parameters_.begin()));
  Tensor sum = std::move(g);
  g = Tensor();
  if (earlier_)
    if (const auto before = earlier_->parameters().find(&p); before != earlier_->parameters().end() && before->second.defined()) {
      earlier_->add(p, sum);
      sum = std::move(before->second);
      before->second = Tensor();
    }
  put(buckets_[bucket], buckets_[bucket].entries[entry], sum);
  send_full_ones();
}

// Copies g into the bucket. An undefined g (this rank has no gradient) counts as zeros.
void GradientBuckets::put(Bucket& b, Entry& e, const Tensor& g) {
  const std::int64_t n = e.parameter->value.numel();
  const Tensor to = b.buffer.slice(0, e.at, e.at + n);
  if (g.defined()) to.reshape(e.parameter->value.shape()).copy_from(g);
  else to.fill(0);
  flags_.data<float>()[e.index] = g.defined() ? 1 : 0;
  e.there = true;
  --b.missing;
}

void GradientBuckets::send_full_ones() {
  for (; sent_ < buckets_.size() && buckets_[sent_].missing == 0; ++sent_) {
    Bucket& b = buckets_[sent_];
    b.under_way = sharded_ ? ranks_.reduce_scatter_start(b.buffer, b.counts) : ranks_.all_reduce_start(b.buffer);
  }
}

void GradientBuckets::finish(Gradients& gradients) {
  for (Bucket& b : buckets_)
    for (Entry& e : b.entries) {
      if (e.there) continue;
      Tensor left;                       // no hook call: only earlier micro-batches have a gradient, or none has
      if (earlier_)
        if (const auto before = earlier_->parameters().find(e.parameter); before != earlier_->parameters().end()) left = before->second;
      put(b, e, left);
    }
  send_full_ones();
  earlier_ = nullptr;
  ranks_.all_reduce(flags_);             // flags are on the CPU: reading them from a GPU would wait for it
  for (Bucket& b : buckets_) {
    b.under_way.get();
    for (const Entry& e : b.entries) {
      Tensor& g = gradients.parameters()[e.parameter];
      g = Tensor();
      if (sharded_ && e.owner != ranks_.rank()) continue;
      if (flags_.data<float>()[e.index] == 0) continue;
      g = b.buffer.slice(0, e.at, e.at + e.parameter->value.numel()).reshape(e.parameter->value.shape());
    }
  }
  if (!ordered_) adopt_order_of_rank_0();
}

// The sums of this step stay valid: they are views of the old buffers.
void GradientBuckets::adopt_order_of_rank_0() {
  ordered_ = true;
  for (std::size_t i = parameters_.size(); i-- > 0;)
    if (std::find(seen_.begin(), seen_.end(), i) == seen_.end()) seen_.push_back(i);
  const Tensor order = Tensor::empty({static_cast<std::int64_t>(seen_.size())}, DType::i64, Device{});
  for (std::size_t i = 0; i < seen_.size(); ++i) order.data<std::int64_t>()[i] = static_cast<std::int64_t>(seen_[i]);
  ranks_.broadcast(order, 0);
  std::vector<std::size_t> agreed;
  for (std::int64_t i : order.to_vector<std::int64_t>()) agreed.push_back(static_cast<std::size_t>(i));
  lay_out(agreed);
}

}  // namespace fm
