#include "nn/layers/embedding.h"

#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/linear.h"

namespace fm {

Var GaussianFourierEmbedding::operator()(const Var& t) const {
  if (t.rank() != 1)
    throw ShapeError("time embedding: times have shape " + to_string(t.shape()) + ", wanted (B), in " + ModulePath::current());
  const Var angle = affine(mul(reshape(t, {t.dim(0), 1}), reshape(W, {1, W.value.dim(0)})), 6.283185307179586, 0);
  return second(silu(first(concat({sin(angle), cos(angle)}, 1))));
}

Var LabelEmbed::operator()(const Tensor& labels) const { return gather(table, labels); }

}  // namespace fm
