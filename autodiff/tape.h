// The tape: a flat list of the computed operations in execution order (a Wengert list). That order is topological, so reverse mode is
// one loop from the end: no graph search, no recursion, no .grad fields to zero.
//
// A Tape records from its construction to its destruction on the thread that made it. Without a tape nothing is recorded: that is inference.
// PauseTape is the only other control: teacher, EMA and guidance networks run under one.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "tensor/tensor.h"

namespace fm {

class Tape;
class Var;
struct Parameter;

struct NodeRef {                       // a place on a tape, or none (index < 0)
  std::uint64_t tape = 0;              // the tape's serial number: a place on a dead tape is an error, not a crash
  std::int64_t index = -1;
  bool on_tape() const { return index >= 0; }
};

// The result of backward(): d loss / d value of each leaf, of each parameter, and of each computed value passed to Tape::keep. As with
// PyTorch's autograd.grad(allow_unused=True), a gradient is undefined (None there) if the loss does not depend on the value.
class Gradients {
 public:
  // Gradient of a leaf or a kept value. A parameter's leaf has the parameter's gradient from all its uses. AutodiffError for a constant, a
  // value of another tape, and a computed value that was not kept: its cotangent was released when the pass reached it.
  const Tensor& operator[](const Var& value) const;
  const Tensor& operator[](const Parameter& p) const;
  // Adds g to the gradient of p: in place if a gradient exists and its tensor is not shared.
  void add(const Parameter& p, const Tensor& g);
  std::unordered_map<const Parameter*, Tensor>& parameters() { return parameters_; }

 private:
  friend class Tape;
  friend class Cotangents;
  std::vector<Tensor> nodes_;
  std::vector<const char*> let_go_;                // by node: null if its gradient is available, else the operation whose gradient was released
  std::unordered_map<std::int64_t, const Parameter*> leaf_parameters_;
  std::unordered_map<const Parameter*, Tensor> parameters_;
  std::uint64_t tape_ = 0;
};

// The second argument of a node's pull, which adds the cotangents of the node's inputs to it.
class Cotangents {
 public:
  Cotangents(const Tape& tape, Gradients& all, std::vector<Tensor>& nodes, const std::vector<NodeRef>& inputs, Tensor& own)
      : tape_(tape), all_(all), nodes_(nodes), inputs_(inputs), own_(own) {}
  bool wants(std::size_t input) const { return inputs_[input].on_tape(); }    // false: the input is a constant, skip the work
  bool has(std::size_t input) const { return wants(input) && nodes_[static_cast<std::size_t>(inputs_[input].index)].defined(); }
  void add(std::size_t input, const Tensor& g);
  // Adds g to the part [begin, begin + g.dim(dim)) of the input's cotangent. All parts share one buffer; the first call makes it, with zeros.
  void add_slice(std::size_t input, int dim, std::int64_t begin, const Tensor& g);
  Tensor* existing(std::size_t input);         // the input's sum so far if it may be added to in place, else null

  // For a pull that runs a tape of its own (Tape::backward_within). take() moves the sum so far out, for that tape to add to, and put() returns it.
  // The sum is undefined if nothing was added yet.
  NodeRef node(std::size_t input) const { return inputs_[input]; }
  Tensor take(std::size_t input);
  void put(std::size_t input, Tensor sum);
  Tensor take(const Parameter& p);
  void put(const Parameter& p, Tensor sum);
  Tensor take_own() { return std::move(own_); }      // moves the pull's argument gy out: gy is undefined afterwards

 private:
  Tensor* sum_of(const Parameter& p);                // the cotangent of p's leaf, or p's entry in `all` if the tape has no leaf of p
  const Tape& tape_;
  Gradients& all_;
  std::vector<Tensor>& nodes_;
  const std::vector<NodeRef>& inputs_;
  Tensor& own_;
};

using Pull = std::function<void(const Tensor& gy, Cotangents& g)>;

// Called during a backward pass as soon as the gradient of p is final, before the rest of the pass. g is the tensor inside Gradients: the
// callback may move it out or replace it.
using OnFinal = std::function<void(const Parameter& p, Tensor& g)>;

// Collects the parameters that are used during its lifetime while no tape records. For operations that compute again in the backward pass.
class ParametersUsed {
 public:
  ParametersUsed();
  ~ParametersUsed();
  ParametersUsed(const ParametersUsed&) = delete;
  ParametersUsed& operator=(const ParametersUsed&) = delete;
  const std::vector<const Parameter*>& list() const { return list_; }
  static void note(const Parameter& p);            // no effect if no ParametersUsed exists on this thread

 private:
  std::vector<const Parameter*> list_;
  ParametersUsed* outer_;
};

class Tape {
 public:
  Tape();
  ~Tape();
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;

  static Tape* current();                          // the tape that records now on this thread, or null

  Var variable(const Tensor& x);                   // a leaf: backward() gives its cotangent
  Var variable(const Parameter& p);                // the same leaf at every call

  // Makes backward() return the gradient of this computed value too. AutodiffError if the value is not on this tape or backward() has run.
  void keep(const Var& value);

  NodeRef record(const char* op, const Shape& shape, std::vector<NodeRef> inputs, Pull pull);

  // Runs reverse mode from one or several outputs with the given cotangents. Consumes the recording: each node's saved tensors are released
  // after its pull.
  Gradients backward(std::vector<std::pair<Var, Tensor>> seeds, const OnFinal& on_final = {});

  // backward_within is backward() for a tape that runs in the pull of a node of another tape (`outer`). leaves[i] stands for input i of that node.
  // An undefined or constant leaf passes nothing on. Cotangents of leaves and parameters are added one by one to the existing sums of the outer
  // pass, so they have the same bits as if all operations had been recorded on the outer tape.
  // leaf_within makes leaves[i] for the value x, given the leaves before it: inputs that are the same node share one leaf.
  Var leaf_within(const Cotangents& outer, const std::vector<Var>& before, const Tensor& x);
  void backward_within(Cotangents& outer, const std::vector<Var>& leaves, std::vector<std::pair<Var, Tensor>> seeds);

  // Declares that the pull of this node adds to the gradients of these parameters, although they are not its inputs.
  void will_add_to(NodeRef node, const std::vector<const Parameter*>& parameters);

  std::size_t size() const { return nodes_.size(); }
  const Shape& shape_of(NodeRef at) const { return nodes_[static_cast<std::size_t>(at.index)].shape; }
  std::uint64_t serial() const { return serial_; }
  std::string to_string() const;                   // one line per node: number, op, shape, inputs, module path

 private:
  friend class PauseTape;
  friend class Cotangents;
  Gradients run(std::vector<std::pair<Var, Tensor>> seeds, const OnFinal& on_final, std::unordered_map<const Parameter*, Tensor> so_far);
  struct Node {
    Pull pull;
    const char* op;
    Shape shape;
    std::vector<NodeRef> inputs;
    std::string path;
    bool kept = false;
  };
  std::vector<Node> nodes_;
  std::unordered_map<const Parameter*, NodeRef> leaves_;
  // By node: the parameters whose gradients are final after its pull.
  std::unordered_map<std::int64_t, std::vector<const Parameter*>> last_additions() const;

  std::unordered_map<std::int64_t, const Parameter*> leaf_parameters_;
  std::unordered_map<const Parameter*, std::int64_t> first_hidden_use_;
  std::uint64_t serial_;
  Tape* outer_;
  bool spent_ = false;
};

// Stops recording on this thread during its lifetime.
class PauseTape {
 public:
  PauseTape();
  ~PauseTape();
  PauseTape(const PauseTape&) = delete;
  PauseTape& operator=(const PauseTape&) = delete;

 private:
  Tape* outer_;
};

// Names the part of the model that runs now ("blocks.3"), for error messages and the printed tape.
class ModulePath {
 public:
  explicit ModulePath(const std::string& part);
  ~ModulePath();
  ModulePath(const ModulePath&) = delete;
  ModulePath& operator=(const ModulePath&) = delete;
  static const std::string& current();

 private:
  std::size_t outer_length_;
};

}  // namespace fm
