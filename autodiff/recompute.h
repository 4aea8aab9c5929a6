// Activation checkpointing: y = recompute(f, x...) keeps only the inputs of f. The backward pass runs f again to get the tensors
// that its pulls need, so a block's activations live only during its own backward pass. This trades memory for one more forward pass.
//
//   for (const Block& block : blocks) x = recompute([&block](const Var& h, const Var& c) { return block(h, c); }, x, c);
//
// f is kept until the backward pass, so objects that it captures by reference must live as long. f may use Parameters freely; other Vars of the
// tape must be arguments (a captured one is an AutodiffError in the backward pass). f must compute the same function at every call. In constant
// mode tangents are computed with the value. In taped mode the backward pass runs f once for the cotangents of both y and dy.
//
// Gradients are bit for bit those without recompute, even if inputs or parameters of f have other uses: the second run adds its cotangents one
// by one to the sums of the outer pass, in the order of a single tape. The only exception is an f that returns one of its arguments unchanged.
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
