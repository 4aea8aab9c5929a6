// The order in which two operands of one shape are read together. Dimensions of size 1 are dropped, and neighboring dimensions are merged if the
// strides of both operands allow it, so most walks are one long run. For copies, broadcasts and batches of products.
#pragma once

#include "tensor/shape.h"

namespace fm {

struct Walk {
  Shape shape;                           // one dimension at least
  Strides a, b;

  // The innermost dimension is a run; the others number the runs in row-major order.
  std::int64_t run_length() const { return shape.back(); }
  std::int64_t runs() const { return run_length() ? shape.numel() / run_length() : 0; }

  struct Offsets {
    std::int64_t a = 0, b = 0;           // in elements
  };
  Offsets run(std::int64_t i) const {
    Offsets at;
    for (int d = shape.rank() - 2; d >= 0; --d) {
      const std::int64_t k = i % shape[d];
      i /= shape[d];
      at.a += k * a[d];
      at.b += k * b[d];
    }
    return at;
  }
};

inline Walk walk_of(const Shape& shape, const Strides& a, const Strides& b) {
  Walk w;
  for (int i = 0; i < shape.rank(); ++i) {
    const std::int64_t n = shape[i];
    const int last = w.shape.rank() - 1;
    if (n == 1) continue;
    if (last >= 0 && w.a[last] == a[i] * n && w.b[last] == b[i] * n) {
      w.shape[last] *= n;
      w.a[last] = a[i];
      w.b[last] = b[i];
    } else {
      w.shape.push_back(n);
      w.a.push_back(a[i]);
      w.b.push_back(b[i]);
    }
  }
  if (w.shape.rank() == 0) w = {{1}, {0}, {0}};
  return w;
}

}  // namespace fm
