// Activation checkpointing: y = recompute(f, x...) keeps only the inputs of f. The backward pass runs f again for the tensors of its pulls, so a
// block's activations live only during its own backward pass: less memory for one more forward.
//
//   for (const Block& block : blocks) x = recompute([&block](const Var& h, const Var& c) { return block(h, c); }, x, c);
//
// f is kept until the backward pass: objects captured by reference must live as long. It may use Parameters freely, but other Vars of the tape
// only as arguments (a captured one is an AutodiffError in the backward pass), and must compute the same function each time. Tangents pass
// through: in constant mode they are computed with the value, in taped mode one second run of f serves the cotangents of y and of dy.
//
// Gradients are bit for bit those without recompute, also where the inputs or parameters of f have other uses: the second run adds its
// cotangents to the sums of the outer pass one by one, in the order of one tape. One exception: an f that returns an argument itself, with no
// operation between.
#pragma once

#include <concepts>
#include <functional>
#include <utility>
#include <vector>

#include "autodiff/var.h"

namespace fm {

Var recompute(std::function<Var(const std::vector<Var>&)> f, const std::vector<Var>& inputs);

namespace detail {
template <class F, std::size_t... I> Var call_with(F& f, const std::vector<Var>& x, std::index_sequence<I...>) { return f(x[I]...); }
}  // namespace detail

template <class F, class... X>
  requires std::invocable<F&, const decltype(Var(std::declval<X>()))&...>
Var recompute(F f, const X&... x) {
  return recompute([f = std::move(f)](const std::vector<Var>& v) mutable { return detail::call_with(f, v, std::index_sequence_for<X...>{}); },
                   std::vector<Var>{Var(x)...});
}

}  // namespace fm
