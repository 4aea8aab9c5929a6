#include "autodiff/rules/resize.h"

#include "autodiff/rules/linear.h"
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

// Copies of a pixel lie side by side first, then whole rows are copied: both copies have long runs, unlike one copy of all blocks.
Var upsample_nearest(const Var& x, std::int64_t factor) {
  if (x.rank() != 4 || factor < 1)
    throw ShapeError("upsample_nearest: x of shape " + to_string(x.shape()) + " must be (B, C, H, W), and the factor " + std::to_string(factor) + " at least 1");
  if (factor == 1) return x;
  const std::int64_t b = x.dim(0), c = x.dim(1), h = x.dim(2), w = x.dim(3);
  const std::vector<Var> columns(static_cast<std::size_t>(factor), unsqueeze(x, 4));
  const Var wide = reshape(concat(columns, 4), {b, c, h, 1, factor * w});
  return reshape(expand(wide, {b, c, h, factor, factor * w}), {b, c, factor * h, factor * w});
}

}  // namespace fm
