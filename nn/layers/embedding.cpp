#include "nn/layers/embedding.h"

#include <cmath>
#include <vector>

#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/linear.h"

namespace fm {

namespace {

void check_times(const Var& t) {
  if (t.rank() != 1)
    throw ShapeError("time embedding: times have shape " + to_string(t.shape()) + ", but must be (B), in " + ModulePath::current());
}

}  // namespace

Var GaussianFourierEmbedding::operator()(const Var& t) const {
  check_times(t);
  const Var angle = affine(mul(reshape(t, {t.dim(0), 1}), reshape(W, {1, W.value.dim(0)})), 6.283185307179586, 0);
  return second(silu(first(concat({sin(angle), cos(angle)}, 1))));
}

Tensor TimestepEmbedding::base_frequencies() {
  std::vector<double> values;
  for (std::int64_t k = 0; k < count; ++k) values.push_back(std::exp(-std::log(10000.0) * static_cast<double>(k) / static_cast<double>(count)));
  return Tensor::from(values, {count});
}

TimestepEmbedding::TimestepEmbedding(std::int64_t width, double scale)
    : first(2 * count, width), second(width, width), frequencies(base_frequencies() * scale) {}

void TimestepEmbedding::reset(const Init& init) {
  init.normal("mlp.0.weight", first.weight, 0.02);
  init.normal("mlp.2.weight", second.weight, 0.02);
  fill(first.bias, 0);
  fill(second.bias, 0);
}

Var TimestepEmbedding::operator()(const Var& t) const {
  check_times(t);
  const Var angle = mul(reshape(t, {t.dim(0), 1}), frequencies.to(t.dtype()).unsqueeze(0));
  return second(silu(first(concat({cos(angle), sin(angle)}, 1))));
}

Tensor equal_ratios(double low, double high, std::int64_t n) {
  std::vector<float> values;
  for (std::int64_t k = 0; k < n; ++k)
    values.push_back(static_cast<float>(n == 1 ? low : low * std::pow(high / low, static_cast<double>(k) / static_cast<double>(n - 1))));
  return Tensor::from(values, {n});
}

Var sines_and_cosines(const Var& t, const Tensor& frequencies) {
  const Var angle = mul(reshape(t, {t.dim(0), 1}), frequencies.unsqueeze(0));
  return concat({sin(angle), cos(angle)}, 1);
}

Var LabelEmbed::operator()(const Tensor& labels) const { return gather(table, labels); }

}  // namespace fm
