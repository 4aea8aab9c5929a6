#include "apps/train/batch_ahead.h"

#include "tensor/error.h"

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
  const std::int64_t ahead = next >= 0 ? next : first + n;
  first_ = -1;
  try {
    under_way_ = begin(ahead, n, 2 * ahead - first);      // the step's work is not asked for yet: these come beside it
    first_ = ahead, n_ = n;
  } catch (const FileError&) {                            // this step does not need it: thrown when it is asked for, if it ever is
    under_way_.clear();
  }
  return out;
}

}  // namespace fm
