#include "apps/train/batch_ahead.h"

namespace fm {

std::vector<Upload> BatchAhead::begin(std::int64_t first, std::int64_t n, std::int64_t next) {
  std::vector<Upload> out;
  for (const Tensor& t : make_(first, n, next)) out.emplace_back(t, device_);
  return out;
}

std::vector<Tensor> BatchAhead::take(std::int64_t first, std::int64_t n, std::int64_t next) {
  if (!device_.is_cuda()) return make_(first, n, next);
  std::vector<Upload> now = first == first_ && n == n_ ? std::move(under_way_) : begin(first, n, next);
  std::vector<Tensor> out;
  for (Upload& u : now) out.push_back(u.take());
  first_ = next >= 0 ? next : first + n, n_ = n;
  under_way_ = begin(first_, n, 2 * first_ - first);      // the step's work is not asked for yet: these come beside it
  return out;
}

}  // namespace fm
