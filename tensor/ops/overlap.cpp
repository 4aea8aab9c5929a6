#include "tensor/ops/overlap.h"

#include <algorithm>
#include <array>
#include <functional>
#include <vector>

#include "tensor/error.h"

namespace fm {
namespace {

struct Dimension {
  std::int64_t stride, size;
};

// Returns true if two elements have the same offset. Sorts the offsets of all elements: for the rare strides that overlaps_itself() cannot decide.
bool repeats_an_offset(const std::vector<Dimension>& dims, std::int64_t count) {
  std::vector<std::int64_t> offsets{0};
  offsets.reserve(static_cast<std::size_t>(count));
  for (const Dimension& d : dims) {
    const std::size_t n = offsets.size();
    for (std::int64_t i = 1; i < d.size; ++i)
      for (std::size_t k = 0; k < n; ++k) offsets.push_back(offsets[k] + i * d.stride);
  }
  std::sort(offsets.begin(), offsets.end());
  return std::adjacent_find(offsets.begin(), offsets.end()) != offsets.end();
}

// Returns the range of bytes in which the elements of a tensor lie. Strides are never negative.
std::array<const std::byte*, 2> address_range(const Tensor& x) {
  std::int64_t last = 0;
  for (int i = 0; i < x.rank(); ++i) last += (x.shape()[i] - 1) * x.strides()[i];
  const auto* begin = static_cast<const std::byte*>(x.raw());
  return {begin, begin + (last + 1) * static_cast<std::int64_t>(size_of(x.dtype()))};
}

}  // namespace

bool overlaps_itself(const Tensor& x) {
  if (!x.defined() || x.numel() == 0 || x.is_contiguous()) return false;
  std::vector<Dimension> dims;
  for (int i = 0; i < x.rank(); ++i)
    if (x.shape()[i] > 1) dims.push_back({x.strides()[i], x.shape()[i]});
  std::sort(dims.begin(), dims.end(), [](const Dimension& a, const Dimension& b) { return a.stride < b.stride; });
  std::int64_t reach = 0;                  // largest offset that the dimensions with smaller strides give
  for (const Dimension& d : dims) {
    if (d.stride == 0) return true;
    if (d.stride <= reach) return repeats_an_offset(dims, x.numel());
    reach += (d.size - 1) * d.stride;
  }
  return false;
}

bool shares_addresses(const Tensor& a, const Tensor& b) {
  if (!a.defined() || !b.defined() || a.device() != b.device() || a.numel() == 0 || b.numel() == 0) return false;
  const auto p = address_range(a), q = address_range(b);
  const std::less<> before;
  return before(p[0], q[1]) && before(q[0], p[1]);
}

void check_writable(const Tensor& to, const char* op) {
  if (overlaps_itself(to))
    throw ShapeError(std::string(op) + ": the destination of shape " + to_string(to.shape()) + " and strides " + to_string(to.strides()) +
                     " has elements that share memory; clone() it first");
}

Tensor apart_from(const Tensor& x, const Tensor& to) { return shares_addresses(x, to) ? x.clone() : x; }

}  // namespace fm
