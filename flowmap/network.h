// Objectives and samplers see a network as a function. This function can be a model, a closed form or a lambda of a test, so objectives and
// samplers depend on no layer or model.
//
// Convention everywhere: z_t = (1-t) z0 + t eps, t = 0 data, t = 1 noise, 0 <= s <= t <= 1.
//   u(z, s, t, y)   average velocity over [s, t];   flow map  f_{t->s}(z) = z - (t-s) u(z, s, t)
//   v(z, t, y)      velocity, v(z, t) = u(z, t, t)
// Shapes: z (B, ...), s and t (B), y (B) class numbers or undefined. s and t have z's dtype.
#pragma once

#include <functional>
#include <memory>
#include <type_traits>

#include "autodiff/var.h"
#include "nn/module.h"

namespace fm {

using Labels = Tensor;                                                        // i64 (B); undefined: no condition

// A network as a function. It owns or shares the model that it calls:
//
//   FlowMapNet u = std::make_shared<DitDh>(config);                          // shares the model: the optimizer updates what u calls
//   FlowMapNet u = [](const Var& z, const Var& s, const Var& t, const Labels&) { return z * (t - s); };
//   FlowMapNet u = DitDh(config);                                            // does not compile
//
// A module cannot be passed by value: u would own a copy of its parameters that no optimizer updates, so nothing would be trained. A lambda that
// captures a module by reference works while that module lives.
template <class... Args> class NetFunction {
 public:
  NetFunction() = default;

  template <class F>
    requires(!Module<F> && !std::is_same_v<std::remove_cvref_t<F>, NetFunction> && std::is_copy_constructible_v<std::decay_t<F>> &&
             std::is_invocable_r_v<Var, std::decay_t<F>&, Args...>)
  NetFunction(F&& f) : call_(std::forward<F>(f)) {}

  template <class M>
    requires(Module<M> && std::is_invocable_r_v<Var, M&, Args...>)
  NetFunction(std::shared_ptr<M> model) {
    if (!model) throw Error("a network function was given a null model: pass a model made by std::make_shared");
    call_ = [model = std::move(model)](Args... args) { return (*model)(args...); };
  }

  template <class M>
    requires Module<M>
  NetFunction(M&& module) = delete;                                           // pass a shared_ptr of the module

  Var operator()(Args... args) const {
    if (!call_) throw Error("an empty network function was called: assign a model or a lambda to it first");
    return call_(args...);
  }
  explicit operator bool() const { return static_cast<bool>(call_); }

 private:
  std::function<Var(Args...)> call_;
};

using FlowMapNet = NetFunction<const Var& /*z*/, const Var& /*s*/, const Var& /*t*/, const Labels& /*y*/>;       // u
using VelocityNet = NetFunction<const Var& /*z*/, const Var& /*t*/, const Labels& /*y*/>;                        // v

// The velocity of an average-velocity network: v(z, t) = u(z, t, t).
inline VelocityNet diagonal(FlowMapNet u) {
  return [u = std::move(u)](const Var& z, const Var& t, const Labels& y) { return u(z, t, t, y); };
}

// Return values without history, for teachers, averaged weights, guidance and finite differences.
inline Tensor evaluate(const VelocityNet& v, const Tensor& z, const Tensor& t, const Labels& y) {
  const PauseTape pause;
  return v(z, t, y).value();
}
inline Tensor evaluate(const FlowMapNet& u, const Tensor& z, const Tensor& s, const Tensor& t, const Labels& y) {
  const PauseTape pause;
  return u(z, s, t, y).value();
}

}  // namespace fm
