#include "autodiff/rules/resize.h"

#include "autodiff/rules/rows.h"

namespace fm {

Var resample(const Var& x, int dim, const Resampling& r) {
  const int d = normalise_dim(dim, x.rank(), "resample");
  const Var y = record("resample", resample(x.value(), d, r), {&x}, [d, r](const Tensor& gy, Cotangents& g) {
    if (g.wants(0)) g.add(0, resample(gy, d, r.transposed()));
  });
  if (!x.has_tangent()) return y;
  return y.with_tangent(push([&] { return resample(d == 0 ? pad_rows(x.tangent(), x.dim(0)) : x.tangent(), d, r); }));
}

Var resize(const Var& x, std::int64_t height, std::int64_t width, Interpolation kind) {
  if (x.rank() < 2) throw ShapeError("resize: " + to_string(x.shape()) + " has no height and width");
  Var y = x;
  if (x.dim(-2) != height) y = resample(y, -2, resampling(x.dim(-2), height, kind));
  if (x.dim(-1) != width) y = resample(y, -1, resampling(x.dim(-1), width, kind));
  return y;
}

}  // namespace fm
