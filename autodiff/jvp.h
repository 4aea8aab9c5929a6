// Forward mode. One call gives a function's value and its derivative along a direction:
//
//   const auto [u, dudt] = jvp(net, at(z, t, s), along(w, 1.0, zero));
//
// `jvp` computes the tangent in the same pass as the value and does not record it: u is a Var (recorded if a tape is on), dudt is a Tensor,
// so it can only be a constant for later operations. A MeanFlow target needs exactly that, and it costs no lasting memory.
// `jvp_taped` records the tangent too, for objectives with gradients through it (TVM, LSD): both results are Vars.
//
// `zero` is the symbolic zero: an input without tangent costs nothing. A tangent may have fewer rows (dimension 0) than its input: the other
// rows' derivative is zero and is not computed; the result then has as few rows.
// One level: a jvp inside a jvp is an AutodiffError.
#pragma once

#include <tuple>
#include <utility>

#include "autodiff/var.h"

namespace fm {

struct Zero {};
inline constexpr Zero zero{};

template <class... X> auto at(const X&... x) { return std::make_tuple(Var(x)...); }
template <class... D> auto along(const D&... d) { return std::make_tuple(d...); }

namespace detail {

class TangentScope {                       // sets tangent_mode() for the life of the object
 public:
  explicit TangentScope(TangentMode mode);
  ~TangentScope();
  TangentScope(const TangentScope&) = delete;
  TangentScope& operator=(const TangentScope&) = delete;
};

inline Var seed(const Var& x, Zero) { return x; }
inline Var seed(const Var& x, double d) { return x.with_tangent(Tensor::full(x.shape(), d, x.dtype(), x.value().device())); }
inline Var seed(const Var& x, const Tensor& d) { return x.with_tangent(d); }
inline Var seed(const Var& x, const Var& d) { return x.with_tangent(d); }

template <class F, class Xs, class Ds, std::size_t... I>
Var call(F&& f, const Xs& xs, const Ds& ds, std::index_sequence<I...>) {
  static_assert(std::tuple_size_v<Xs> == std::tuple_size_v<Ds>, "jvp: as many directions in along() as points in at()");
  return f(seed(std::get<I>(xs), std::get<I>(ds))...);
}

}  // namespace detail

// f(Var...) -> Var. The tangent has the shape of the value, or fewer rows if the directions had fewer; zeros of the value's shape if the
// result does not depend on the directions.
template <class F, class Xs, class Ds> std::pair<Var, Tensor> jvp(F&& f, const Xs& xs, const Ds& ds) {
  const detail::TangentScope scope(TangentMode::constant);
  const Var y = detail::call(f, xs, ds, std::make_index_sequence<std::tuple_size_v<Xs>>{});
  return {y.without_tangent(), y.has_tangent() ? y.tangent().value() : Tensor::zeros(y.shape(), y.dtype(), y.value().device())};
}

template <class F, class Xs, class Ds> std::pair<Var, Var> jvp_taped(F&& f, const Xs& xs, const Ds& ds) {
  const detail::TangentScope scope(TangentMode::taped);
  const Var y = detail::call(f, xs, ds, std::make_index_sequence<std::tuple_size_v<Xs>>{});
  return {y.without_tangent(), y.has_tangent() ? y.tangent() : Var(Tensor::zeros(y.shape(), y.dtype(), y.value().device()))};
}

}  // namespace fm
