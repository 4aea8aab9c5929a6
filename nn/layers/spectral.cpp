#include "nn/layers/spectral.h"

#include <limits>

#include "autodiff/rules/conv.h"
#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/linear.h"
#include "autodiff/rules/matmul.h"

namespace fm {
namespace {

constexpr double shortest = 1e-12;

Tensor unit_vector(const Tensor& x) { return x / clamp(sqrt(sum(square(x))), shortest, std::numeric_limits<double>::max()); }

Var matrix(const Var& weight) { return reshape(weight, {weight.dim(0), -1}); }

// Continues the sequence on both sides by `n` elements of its other end.
Var joined_ends(const Var& x, std::int64_t n) {
  if (n == 0) return x;
  const std::int64_t length = x.dim(2);
  if (length < n) throw ShapeError("SpectralConv1d: a sequence of length " + std::to_string(length) + " is shorter than half of the kernel, " + std::to_string(n));
  return concat({slice(x, 2, length - n, length), x, slice(x, 2, 0, n)}, 2);
}

}  // namespace

SpectralConv1d::SpectralConv1d(std::int64_t in, std::int64_t out, std::int64_t kernel)
    : weight(make_parameter({out, in, kernel})), bias(make_parameter({out})), u{make_parameter({out}).value}, v{make_parameter({in * kernel}).value} {
  if (kernel % 2 == 0) throw ConfigError("SpectralConv1d: kernel = " + std::to_string(kernel) + " must be odd, so that the result is as long as the input");
}

void SpectralConv1d::reset(const Init& init) {
  init.kaiming(weight, bias);
  for (const auto& [name, vector] : {std::pair{"weight_u", &u}, std::pair{"weight_v", &v}}) {
    Parameter values{vector->value};
    init.normal(name, values, 1);
    vector->value.copy_from(unit_vector(vector->value));
  }
}

void SpectralConv1d::iterate() {
  const Tensor w = weight.value.reshape({weight.value.dim(0), -1});
  v.value.copy_from(unit_vector(matmul(u.value.unsqueeze(0), w).reshape({-1})));
  u.value.copy_from(unit_vector(matmul(w, v.value.unsqueeze(1)).reshape({-1})));
}

Var SpectralConv1d::normalised_weight() const {
  const Var w = matrix(weight);
  const Var s = sum(matmul(w, v.value.clone().unsqueeze(1)) * u.value.clone().unsqueeze(1));
  return w / s;
}

Var SpectralConv1d::operator()(const Var& x) const {
  const std::int64_t out = weight.value.dim(0), in = weight.value.dim(1), kernel = weight.value.dim(2);
  const Var rows = joined_ends(x, kernel / 2);
  const Var y = conv2d(reshape(rows, {rows.dim(0), in, 1, rows.dim(2)}), reshape(normalised_weight(), {out, in, 1, kernel}), bias);
  return reshape(y, {y.dim(0), out, y.dim(3)});
}

}  // namespace fm
