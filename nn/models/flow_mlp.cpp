#include "nn/models/flow_mlp.h"

#include <fmt/format.h>

#include "autodiff/rules/activation.h"
#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/linear.h"

namespace fm {
namespace {

FlowMlpConfig checked(const FlowMlpConfig& config) {
  const FlowMlpConfig c = checked_config(config, "FlowMlp");
  if (c.highest < c.lowest)
    throw ConfigError(fmt::format("FlowMlp: highest = {} is below lowest = {}: swap them", c.highest, c.lowest));
  return c;
}

}  // namespace

FlowMlp::FlowMlp(const FlowMlpConfig& c, std::uint64_t seed)
    : config(checked(c)), frequencies{equal_ratios(c.lowest, c.highest, c.frequencies)}, in(c.inputs(), c.width), out(c.width, c.dim) {
  for (std::int64_t i = 1; i < c.depth; ++i) hidden.emplace_back(c.width, c.width);
  if (c.classes > 0) y_embedder.emplace(c.classes, c.width);
  reset_parameters(*this, seed);
}

Var FlowMlp::operator()(const Var& x, const Var& t, const Tensor& labels) const {
  if (!config.mean_flow) return forward(x, t, {}, labels);
  return forward(x, t, Var(Tensor::zeros(t.shape(), t.dtype(), t.value().device())), labels);
}

Var FlowMlp::operator()(const Var& x, const Var& s, const Var& t, const Tensor& labels) const {
  if (!config.mean_flow) throw ConfigError("FlowMlp: called with two times, but the model was made for one; set mean_flow in its config");
  if (s.shape() != t.shape()) throw ShapeError(fmt::format("FlowMlp: times s {} and t {} must have the same shape", to_string(s.shape()), to_string(t.shape())));
  return forward(x, t, t - s, labels);
}

Var FlowMlp::forward(const Var& x, const Var& t, const std::optional<Var>& gap, const Tensor& labels) const {
  const std::int64_t b = t.rank() == 1 ? t.dim(0) : -1;
  if (b < 0 || x.rank() < 2 || x.dim(0) != b || x.value().numel() != b * config.dim)
    throw ShapeError(fmt::format("FlowMlp: input {} at times {}: the input must have rows of {} numbers, with one time each", to_string(x.shape()), to_string(t.shape()),
                                 config.dim));
  if (labels.defined() && !y_embedder)
    throw ConfigError("FlowMlp: called with labels, but the model was made without classes; set classes in its config, or pass no labels");
  std::vector<Var> parts = {x.rank() == 2 ? x : reshape(x, {b, config.dim}), sines_and_cosines(t, frequencies.value)};
  if (gap) parts.push_back(sines_and_cosines(*gap, frequencies.value));
  Var h = in(concat(parts, 1));
  if (y_embedder) h = h + (*y_embedder)(labels.defined() ? labels : Tensor::full({b}, static_cast<double>(y_embedder->null_label()), DType::i64));
  for (const Linear& layer : hidden) h = layer(silu(h));
  const Var y = out(silu(h));
  return x.rank() == 2 ? y : reshape(y, x.shape());
}

}  // namespace fm
