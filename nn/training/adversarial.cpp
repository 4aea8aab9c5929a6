#include "nn/training/adversarial.h"

#include <fmt/format.h>

#include <algorithm>

#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/linear.h"
#include "autodiff/rules/softmax.h"
#include "tensor/error.h"

namespace fm {
namespace {

constexpr double smallest_norm = 1e-6, largest_weight = 1e4;

// log(1 + e^x), as the cross-entropy of the logits (0, x) with class 0: finite for every x.
Var softplus(const Var& x) {
  const Var column = reshape(x, {-1, 1});
  const Tensor zeros = Tensor::zeros(column.shape(), x.dtype(), x.value().device());
  return cross_entropy(concat({zeros, column}, 1), Tensor::zeros({column.dim(0)}, DType::i64, x.value().device()));
}

bool is_hinge(const std::string& kind) {
  if (kind != "hinge" && kind != "vanilla") throw ConfigError("adversarial loss '" + kind + "' is unknown: choose hinge or vanilla");
  return kind == "hinge";
}

struct LossTerm {
  Tensor value, rows;
  std::vector<Tensor> last;              // gradients; undefined if the term does not depend on the value
};

LossTerm term_of(const LossOfRows& f, const Tensor& rows, const std::vector<const Parameter*>& last) {
  Tape tape;
  const Var leaf = tape.variable(rows), loss = f(leaf);
  Gradients g = backward(loss);
  for (const auto& [parameter, gradient] : g.parameters())
    if (gradient.defined() && std::find(last.begin(), last.end(), parameter) == last.end())
      throw AutodiffError("balanced_loss: a term has a gradient for a parameter of shape " + to_string(parameter->value.shape()) +
                          " that is not of the last layer: freeze it, or use it before the rows");
  LossTerm out{loss.value(), g[leaf], {}};
  for (const Parameter* p : last) out.last.push_back(g[*p]);
  return out;
}

Tensor norm_of_gradient(const Tensor& g, const Parameter& p) {
  return g.defined() ? sqrt(sum(square(g))) : Tensor::scalar(0, p.value.dtype(), p.value.device());
}

// a + w b, summed in the type of w. An undefined gradient stands for zero.
Tensor weighted_sum(const Tensor& a, const Tensor& b, const Tensor& w) {
  if (!b.defined()) return a;
  const Tensor scaled = b.to(w.dtype()) * w;
  return (a.defined() ? a.to(w.dtype()) + scaled : scaled).to(b.dtype());
}

}  // namespace

Var loss_of_real(const std::string& kind, const Var& scores) { return mean(is_hinge(kind) ? relu(1.0 - scores) : softplus(-scores)) * 0.5; }

Var loss_of_fake(const std::string& kind, const Var& scores) { return mean(is_hinge(kind) ? relu(1.0 + scores) : softplus(scores)) * 0.5; }

Var loss_of_generator(const std::string& kind, const Var& scores) { return is_hinge(kind) ? -mean(scores) : mean(softplus(-scores)); }

// The sum with 1.5 2^p, p the number of stored bits of the fraction, rounds to an integer.
Tensor rounded_to_bytes(const Tensor& images) {
  if (images.dtype() != DType::f64 && images.dtype() != DType::f32)
    throw DTypeError(fmt::format("rounded_to_bytes: images in {} must be f32 or f64", name_of(images.dtype())));
  const double shift = images.dtype() == DType::f64 ? 0x1.8p52 : 0x1.8p23;
  const Tensor bytes = ((clamp(images, -1, 1) + 1.0) * 127.5 + shift) - shift;
  return bytes / 127.5 - 1.0;
}

BalancedLoss balanced_loss(const Var& rows, const std::vector<const Parameter*>& last, const LossOfRows& first, const LossOfRows& second, double scale) {
  const Parameter& w = *last.at(0);
  const LossTerm r = term_of(first, rows.value(), last), a = term_of(second, rows.value(), last);
  const Tensor weight = clamp(norm_of_gradient(r.last[0], w) / (norm_of_gradient(a.last[0], w) + smallest_norm), 0, largest_weight);
  const Tensor factor = weight * scale;
  std::vector<Var> inputs{rows};
  std::vector<Tensor> gradients{weighted_sum(r.rows, a.rows, factor)};
  for (std::size_t i = 0; i < last.size(); ++i) inputs.emplace_back(*last[i]), gradients.push_back(weighted_sum(r.last[i], a.last[i], factor));
  const Tensor value = r.value + a.value.to(r.value.dtype()) * factor.to(r.value.dtype());
  const Var loss = record("balanced_loss", value, inputs, [gradients](const Tensor& gy, Cotangents& g) {
    for (std::size_t i = 0; i < gradients.size(); ++i)
      if (g.wants(i) && gradients[i].defined()) g.add(i, gradients[i] * gy.to(gradients[i].dtype()));
  });
  return {loss, r.value, a.value, weight};
}

}  // namespace fm
