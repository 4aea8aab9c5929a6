#include "nn/models/residual_mlp.h"

#include <fmt/format.h>

#include "autodiff/rules/activation.h"
#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/linear.h"
#include "tensor/error.h"

namespace fm {
namespace {

ResidualMlpConfig checked(const ResidualMlpConfig& config) {
  const ResidualMlpConfig c = checked_config(config, "ResidualMlp");
  if (c.highest < c.lowest)
    throw ConfigError(fmt::format("ResidualMlp: highest = {} is below lowest = {}: swap them", c.highest, c.lowest));
  return c;
}

Var modulated(const LayerNorm& norm, const Var& h, const Var& shift, const Var& scale) { return norm(h) * (1.0 + scale) + shift; }

}  // namespace

Var ResidualMlpBlock::operator()(const Var& h, const Var& condition) const {
  const std::vector<Var> m = modulation(condition);               // shift, scale, gate
  return h + m[2] * mlp(modulated(norm, h, m[0], m[1]));
}

ResidualMlp::ResidualMlp(const ResidualMlpConfig& c, std::uint64_t seed)
    : config(checked(c)),
      frequencies{equal_ratios(c.lowest, c.highest, c.frequencies)},
      in(c.dim, c.width),
      t_embedder(2 * c.frequencies, c.width),
      norm(c.width, 1e-6, false),
      modulation(c.width, 2),
      out(c.width, c.dim) {
  if (c.mean_flow) r_embedder.emplace(2 * c.frequencies, c.width);
  if (c.classes > 0) y_embedder.emplace(c.classes, c.width);
  for (std::int64_t i = 0; i < c.depth; ++i) blocks.emplace_back(c.width);
  reset_parameters(*this, seed);
}

void ResidualMlp::reset(const Init&) {
  fill(out.weight, 0);
  fill(out.bias, 0);
}

Var ResidualMlp::operator()(const Var& x, const Var& t, const Tensor& labels) const {
  if (!config.mean_flow) return forward(x, t, {}, labels);
  return forward(x, t, Var(Tensor::zeros(t.shape(), t.dtype(), t.value().device())), labels);
}

Var ResidualMlp::operator()(const Var& x, const Var& s, const Var& t, const Tensor& labels) const {
  if (!config.mean_flow) throw ConfigError("ResidualMlp: called with two times, but the model was made for one; set mean_flow in its config");
  if (s.shape() != t.shape())
    throw ShapeError(fmt::format("ResidualMlp: times s {} and t {} must have the same shape", to_string(s.shape()), to_string(t.shape())));
  return forward(x, t, t - s, labels);
}

Var ResidualMlp::forward(const Var& x, const Var& t, const std::optional<Var>& gap, const Tensor& labels) const {
  const std::int64_t b = t.rank() == 1 ? t.dim(0) : -1;
  if (b < 0 || x.rank() < 2 || x.dim(0) != b || x.value().numel() != b * config.dim)
    throw ShapeError(fmt::format("ResidualMlp: input {} at times {}: the input must have rows of {} numbers, with one time each", to_string(x.shape()),
                                 to_string(t.shape()), config.dim));
  if (labels.defined() && !y_embedder)
    throw ConfigError("ResidualMlp: called with labels, but the model was made without classes; set classes in its config, or pass no labels");
  Var c = t_embedder(sines_and_cosines(t, frequencies.value));
  if (gap) c = c + (*r_embedder)(sines_and_cosines(*gap, frequencies.value));
  if (y_embedder) c = c + (*y_embedder)(labels.defined() ? labels : Tensor::full({b}, static_cast<double>(y_embedder->null_label()), DType::i64));
  c = silu(c);
  Var h = in(x.rank() == 2 ? x : reshape(x, {b, config.dim}));
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    const ModulePath path("blocks." + std::to_string(i));
    h = blocks[i](h, c);
  }
  const std::vector<Var> m = modulation(c);
  const Var y = out(modulated(norm, h, m[0], m[1]));
  return x.rank() == 2 ? y : reshape(y, x.shape());
}

}  // namespace fm
