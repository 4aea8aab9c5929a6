// Normalizations over the last dimension or over groups of channels, with the learned weight (and bias) that follows them.
#pragma once

#include "autodiff/rules/group_norm.h"
#include "autodiff/rules/norm.h"
#include "nn/layers/linear.h"

namespace fm {

struct LayerNorm {                              // (x - mean) / sqrt(var + eps) * weight + bias
  Parameter weight, bias;                       // (C); absent in the affine-free form
  double eps = 1e-6;

  LayerNorm() = default;
  LayerNorm(std::int64_t width, double eps_, bool affine = true) : eps(eps_) {
    if (affine) weight = make_parameter({width}), bias = make_parameter({width});
  }
  template <class V> void visit(V&& v) {
    v("weight", weight);
    v("bias", bias);
  }
  void reset(const Init&) {
    fill(weight, 1);
    fill(bias, 0);
  }
  Var operator()(const Var& x) const { return layer_norm(x, operand(weight), operand(bias), eps); }
  Var operator()(const Var& x, DType result) const { return layer_norm(x, operand(weight), operand(bias), eps, result); }
  // norm(x) (1 + scale) + shift, in the type of shift and scale, as the input of a linear layer. This object must outlive the backward pass.
  Recomputed modulated(const Var& x, const Var& shift, const Var& scale) const {
    return {[this](const std::vector<Var>& v) { return layer_norm_modulate(v[0], operand(weight), operand(bias), v[1], v[2], eps, v[2].dtype()); }, {x, shift, scale}};
  }
};

struct RmsNorm {                                // x / sqrt(mean(x^2) + eps) * weight
  Parameter weight;
  double eps = 1e-6;

  RmsNorm() = default;
  explicit RmsNorm(std::int64_t width, double eps_ = 1e-6) : weight(make_parameter({width})), eps(eps_) {}
  template <class V> void visit(V&& v) { v("weight", weight); }
  void reset(const Init&) { fill(weight, 1); }

  Var operator()(const Var& x) const { return rms_norm(x, weight, eps); }
  // norm(x) (1 + scale) + shift, in the type of shift and scale, as the input of a linear layer. This object must outlive the backward pass.
  Recomputed modulated(const Var& x, const Var& shift, const Var& scale) const {
    return {[this](const std::vector<Var>& v) { return rms_norm_modulate(v[0], weight, v[1], v[2], eps, v[2].dtype()); }, {x, shift, scale}};
  }
};

struct GroupNorm {                              // images (B,C,H,W): (x - mean) / sqrt(var + eps) * weight + bias, statistics of groups of channels
  Parameter weight, bias;                       // (C)
  std::int64_t groups = 1;
  double eps = 1e-6;

  GroupNorm() = default;
  GroupNorm(std::int64_t channels, std::int64_t groups_, double eps_)
      : weight(make_parameter({channels})), bias(make_parameter({channels})), groups(groups_), eps(eps_) {}
  template <class V> void visit(V&& v) {
    v("weight", weight);
    v("bias", bias);
  }
  void reset(const Init&) {
    fill(weight, 1);
    fill(bias, 0);
  }
  Var operator()(const Var& x) const { return (*this)(x, x.dtype()); }
  Var operator()(const Var& x, DType result) const { return group_norm(x, weight, bias, {groups, eps, false, result}); }
  Var silu(const Var& x, DType result) const { return group_norm(x, weight, bias, {groups, eps, true, result}); }    // silu of the norm
};

}  // namespace fm
