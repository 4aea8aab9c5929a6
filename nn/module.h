// Modules. A module is a struct that lists its parts once, in the order in which they are stored:
//
//   struct Mlp {
//     Linear fc1, fc2;
//     template <class V> void visit(V&& v) { v("fc1", fc1); v("fc2", fc2); }
//     Var operator()(const Var& x) const { return fc2(gelu(fc1(x))); }
//   };
//
// A part is a Parameter (trained or frozen), a Buffer (state that is not a parameter, such as a table), a module, a std::vector or std::optional of
// modules. The walkers below skip a Parameter without value (such as the bias of a linear layer that has none). They give names as in
// published checkpoints, for example "blocks.3.attn.qkv.weight". Optimizers, EMA, checkpoints and counts need only these walkers.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "autodiff/var.h"
#include "tensor/error.h"

namespace fm {

// Stored with the model under its name, but neither trained nor counted.
struct Buffer {
  Tensor value;
};

namespace detail {
struct AnyVisitor {
  template <class... T> void operator()(T&&...) const {}
};
}  // namespace detail

// A type that lists its parts in `visit`.
template <class M> concept Module = requires(std::remove_cvref_t<M>& m) { m.visit(detail::AnyVisitor{}); };

using StateDict = std::vector<std::pair<std::string, Tensor>>;      // names in the order of registration

// Makes an f32 Parameter of this shape without setting its values. While a ShapesOnly exists, all its elements share one place in memory, so that
// the shapes of a model that does not fit in memory can be listed and counted. Such a model cannot be initialized or run.
Parameter make_parameter(const Shape& shape, bool trainable = true);

// A stored tensor contains a number that is not finite.
struct NotFiniteError : FileError {
  using FileError::FileError;
};

// Makes models without memory for their values during its lifetime: see make_parameter.
class ShapesOnly {
 public:
  ShapesOnly();
  ~ShapesOnly();
  ShapesOnly(const ShapesOnly&) = delete;
  ShapesOnly& operator=(const ShapesOnly&) = delete;
  static bool active();

 private:
  bool outer_;
};

namespace detail {

// Calls f(name, part) for every Parameter and Buffer that has a value, and f.leave(name, module), if f has it, after the parts of each module.
template <class F> class Walker {
 public:
  Walker(F& f, std::string prefix) : f_(f), prefix_(std::move(prefix)) {}

  void operator()(const char* name, Parameter& p) const {
    if (p.value.defined()) f_(prefix_ + name, p);
  }
  void operator()(const char* name, Buffer& b) const {
    if (b.value.defined()) f_(prefix_ + name, b);
  }
  template <class M> void operator()(const char* name, std::vector<M>& list) const {
    for (std::size_t i = 0; i < list.size(); ++i) module(prefix_ + name + "." + std::to_string(i), list[i]);
  }
  template <class M> void operator()(const char* name, std::optional<M>& part) const {
    if (part) (*this)(name, *part);
  }
  template <class M> void operator()(const char* name, M& part) const { module(prefix_ + name, part); }

 private:
  template <class M> void module(const std::string& name, M& part) const {
    part.visit(Walker(f_, name + "."));
    if constexpr (requires { f_.leave(name, part); }) f_.leave(name, part);
  }
  F& f_;
  std::string prefix_;
};

struct StateEntry {
  std::string name;
  Tensor* tensor;
};
void load_entries(const std::vector<StateEntry>& own, const StateDict& from, bool strict);
void adopt_entries(const std::vector<StateEntry>& own, const StateDict& from, bool strict);
void copy_entries(const std::vector<StateEntry>& from, const std::vector<StateEntry>& to);

}  // namespace detail

// Calls f(const std::string& name, Parameter&) in the order of registration.
template <class M, class F> void for_each_parameter(M& module, F&& f) {
  auto only = [&](const std::string& name, auto& part) {
    if constexpr (std::is_same_v<std::decay_t<decltype(part)>, Parameter>) f(name, part);
  };
  module.visit(detail::Walker(only, ""));
}
// The same with f(const std::string& name, const Parameter&).
template <class M, class F> void for_each_parameter(const M& module, F&& f) {
  for_each_parameter(const_cast<M&>(module), [&](const std::string& name, Parameter& p) { f(name, std::as_const(p)); });
}

// Calls f(const std::string& name, Tensor&) for all stored tensors: parameters and buffers.
template <class M, class F> void for_each_tensor(M& module, F&& f) {
  auto all = [&](const std::string& name, auto& part) { f(name, part.value); };
  module.visit(detail::Walker(all, ""));
}

template <class M> std::int64_t parameter_count(const M& module, bool trainable_only = false) {
  std::int64_t n = 0;
  for_each_parameter(module, [&](const std::string&, const Parameter& p) { n += p.trainable || !trainable_only ? p.value.numel() : 0; });
  return n;
}

// Names and tensors; the tensors share memory with the module.
template <class M> StateDict state_dict(const M& module) {
  StateDict out;
  for_each_tensor(const_cast<M&>(module), [&](const std::string& name, Tensor& t) { out.emplace_back(name, t); });
  return out;
}

namespace detail {
template <class M> std::vector<StateEntry> entries(const M& module) {
  std::vector<StateEntry> out;
  for_each_tensor(const_cast<M&>(module), [&](const std::string& name, Tensor& t) { out.push_back({name, &t}); });
  return out;
}
}  // namespace detail

// Copies values by name into the module's tensors, converting types. NotFiniteError for a value that is not finite. FileError lists all missing,
// unexpected or differently shaped tensors, with numbers of blocks as ranges: blocks.{0-27}.norm1.weight. With strict = false missing and
// unexpected names are skipped, but shapes must agree. Nothing is written unless all tensors fit.
template <class M>
void load_state(M& module, const StateDict& from, bool strict = true) {
  detail::load_entries(detail::entries(module), from, strict);
}

// Like load_state, but the module takes the given tensors instead of copying them: weights in a mapped file then need no memory beyond the
// file's pages. For models that are not trained. Make the module under a ShapesOnly, so that the tensors to be replaced are never allocated.
template <class M> void adopt_state(M& module, const StateDict& from, bool strict = true) {
  detail::adopt_entries(detail::entries(module), from, strict);
}

// Copies all values from one model to another of the same architecture. ShapeError if names or shapes differ.
template <class M> void copy_parameters(const M& from, M& to) { detail::copy_entries(detail::entries(from), detail::entries(to)); }

// Makes an independent copy, for an EMA or a teacher. A plain copy of a module would share its tensors, but its parameters would have other
// addresses, and addresses are the keys of gradients: an optimizer of the original would find no gradients of the copy. So models can only be
// cloned (they declare this function their friend). Layers are copyable, because elements of a std::vector must be.
template <class M> M clone(const M& module) {
  M copy = module;
  for_each_tensor(copy, [](const std::string&, Tensor& t) { t = t.clone(); });
  return copy;
}

template <class M> void set_trainable(M& module, bool trainable) {
  for_each_parameter(module, [&](const std::string&, Parameter& p) { p.trainable = trainable; });
}

// Converts all tensors to another element type. A module computes in the type of its parameters and inputs.
template <class M> void to_dtype(M& module, DType dtype) {
  for_each_tensor(module, [&](const std::string&, Tensor& t) { t = t.to(dtype); });
}

}  // namespace fm
