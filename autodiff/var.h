// Var: a Tensor value, a place on the tape (or none) and a tangent (or none).
//
// Every operation has one name and two overloads: Tensor -> Tensor and Var -> Var. A Tensor converts to a Var that is constant, so a
// stop-gradient cannot be forgotten: operations on Tensors record nothing.
//
// Tangents. No tangent means zero, and costs nothing (the weights of a network have none). A tangent may cover only the first k rows of
// dimension 0; the tangent of the other rows is zero and costs nothing. MeanFlow needs derivatives only for rows with s < t, so it puts these
// rows first.
#pragma once

#include <memory>

#include "autodiff/tape.h"
#include "tensor/error.h"
#include "tensor/profile.h"
#include "tensor/tensor.h"

namespace fm {

// A trainable (or frozen) tensor of a model. Its address is its identity, and the key of its gradient.
struct Parameter {
  Tensor value;
  bool trainable = true;
};

class Var {
 public:
  Var() = default;
  Var(const Tensor& value) : value_(value) {}                        // a constant
  Var(const Parameter& p);                                           // p's leaf on the current tape; a constant if p is frozen or no tape records
  Var(const Tensor& value, NodeRef node) : value_(value), node_(node) {}

  const Tensor& value() const { return value_; }
  NodeRef node() const { return node_; }
  bool on_tape() const { return node_.on_tape(); }
  bool defined() const { return value_.defined(); }

  bool has_tangent() const { return tangent_ != nullptr; }
  const Var& tangent() const { return *tangent_; }                   // a Var without tangent, of at most value().dim(0) rows
  std::int64_t tangent_rows() const;                                 // rows of dimension 0 that the tangent covers (0 if none)
  Var with_tangent(const Var& dx) const;                             // ShapeError unless dx has this shape or fewer rows
  Var without_tangent() const { return {value_, node_}; }
  Tensor full_tangent() const;                                       // the tangent extended by zero rows; all zeros without a tangent

  const Shape& shape() const { return value_.shape(); }
  std::int64_t dim(int i) const { return value_.dim(i); }
  int rank() const { return value_.rank(); }
  std::int64_t numel() const { return value_.numel(); }
  DType dtype() const { return value_.dtype(); }

 private:
  Tensor value_;
  NodeRef node_;
  std::shared_ptr<const Var> tangent_;
};

// Reverse mode from a scalar loss: d loss / d leaf for every leaf of the current tape. Consumes the recording.
Gradients backward(const Var& loss, const OnFinal& on_final = {});

// How tangents are treated in this thread: constant (computed, never recorded) or taped (recorded, so that gradients flow through them).
enum class TangentMode { none, constant, taped };
TangentMode tangent_mode();

// Runs the tangent rule of an op: in constant mode with the tape paused, in taped mode with the tape on.
template <class F> Var push(F&& rule) {
  if (tangent_mode() == TangentMode::taped) return rule();
  const PauseTape pause;
  const ProfilePhase phase("tangent");
  return rule();
}

// Records an op on the current tape if any input is on a tape. The pull names an input by its position in `inputs`.
Var record(const char* op, const Tensor& value, std::initializer_list<const Var*> inputs, Pull pull);
Var record(const char* op, const Tensor& value, const std::vector<Var>& inputs, Pull pull);

}  // namespace fm
