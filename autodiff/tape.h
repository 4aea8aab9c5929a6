// The tape: a flat list of the computed operations in execution order (a Wengert list). That order is topological, so reverse mode is
// one loop from the end: no graph search, no recursion, no .grad fields to zero.
//
// A Tape records from its construction to its destruction on the thread that made it. Without a tape nothing is recorded: that is inference.
// PauseTape is the only other control: teacher, EMA and guidance networks run paused.
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
  // Adds in place if a cotangent exists already and is not shared.
  void add(const Parameter& p, const Tensor& g);
  std::unordered_map<const Parameter*, Tensor>& parameters() { return parameters_; }

 private:
  friend class Tape;
  friend class Cotangents;
  std::vector<Tensor> nodes_;
  std::vector<const char*> let_go_;                // by node: null for available gradients, else the operation whose result it is
  std::unordered_map<std::int64_t, const Parameter*> leaf_parameters_;
  std::unordered_map<const Parameter*, Tensor> parameters_;
  std::uint64_t tape_ = 0;
};

// Handed to a node's pull: where the cotangents of its inputs go.
class Cotangents {
 public:
  Cotangents(const Tape& tape, Gradients& all, std::vector<Tensor>& nodes, const std::vector<NodeRef>& inputs, Tensor& own)
      : tape_(tape), all_(all), nodes_(nodes), inputs_(inputs), own_(own) {}
  bool wants(std::size_t input) const { return inputs_[input].on_tape(); }    // false: no one needs it, skip the work
  bool has(std::size_t input) const { return wants(input) && nodes_[static_cast<std::size_t>(inputs_[input].index)].defined(); }
  void add(std::size_t input, const Tensor& g);
  // Adds g to the part [begin, begin + g.dim(dim)) of the input's cotangent. The parts of one input fill one buffer, made of zeros by the first.
  void add_slice(std::size_t input, int dim, std::int64_t begin, const Tensor& g);
  Tensor* existing(std::size_t input);         // the sum so far when it may be added to in place, else null

  // For a pull that runs its own tape (Tape::backward_within): takes the sums so far, which that tape continues, and puts them
  // back. Undefined if nothing was added yet.
  NodeRef node(std::size_t input) const { return inputs_[input]; }
  Tensor take(std::size_t input);
  void put(std::size_t input, Tensor sum);
  Tensor take(const Parameter& p);
  void put(const Parameter& p, Tensor sum);
  Tensor take_own() { return std::move(own_); }      // the pull's gy, with the pass's hold on it: gy itself is undefined from then on

 private:
  Tensor* sum_of(const Parameter& p);                // its cotangent: at its leaf, or beside the tape if it has no leaf there
  const Tape& tape_;
  Gradients& all_;
  std::vector<Tensor>& nodes_;
  const std::vector<NodeRef>& inputs_;
  Tensor& own_;
};

using Pull = std::function<void(const Tensor& gy, Cotangents& g)>;

// Called during a backward pass as soon as this parameter's gradient is final, while the rest of the pass is still to
// come. The argument is the gradient that Gradients holds; the callback may take it away and put another tensor there.
using OnFinal = std::function<void(const Parameter& p, Tensor& g)>;

// Collects the parameters used during its lifetime where nothing is recorded: for operations that compute again in the backward pass.
class ParametersUsed {
 public:
  ParametersUsed();
  ~ParametersUsed();
  ParametersUsed(const ParametersUsed&) = delete;
  ParametersUsed& operator=(const ParametersUsed&) = delete;
  const std::vector<const Parameter*>& list() const { return list_; }
  static void note(const Parameter& p);            // no effect if none lives

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

  // backward() will give the gradient of this computed value too. AutodiffError unless it is on this tape and backward has yet to run.
  void keep(const Var& value);

  NodeRef record(const char* op, const Shape& shape, std::vector<NodeRef> inputs, Pull pull);

  // Reverse mode from one or several outputs with given cotangents; consumes the recording (saved tensors are released as it passes them).
  Gradients backward(std::vector<std::pair<Var, Tensor>> seeds, const OnFinal& on_final = {});

  // The same in the pull of a node of another tape. leaves[i] represents that node's input i (undefined or a constant: nothing is passed on;
  // inputs of one node have one leaf). Cotangents of leaves and parameters are added to the outer pass's existing sums, one by one, as
  // if all operations had been recorded on the outer tape: the same bits, not only the same sums.
  // `leaf_within` makes leaves[i], given those before it.
  Var leaf_within(const Cotangents& outer, const std::vector<Var>& before, const Tensor& x);
  void backward_within(Cotangents& outer, const std::vector<Var>& leaves, std::vector<std::pair<Var, Tensor>> seeds);

  // The pull of this node will add to the gradients of these parameters, which it has not as inputs.
  void will_add_to(NodeRef node, const std::vector<const Parameter*>& parameters);

  std::size_t size() const { return nodes_.size(); }
  const Shape& shape_of(NodeRef at) const { return nodes_[static_cast<std::size_t>(at.index)].shape; }
  std::uint64_t serial() const { return serial_; }
  std::string to_string() const;                   // one line a node: number, op, shape, inputs, module path

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
  // By node: the parameters whose gradients are final once the pass has reached it.
  std::unordered_map<std::int64_t, std::vector<const Parameter*>> last_additions() const;

  std::unordered_map<std::int64_t, const Parameter*> leaf_parameters_;
  std::unordered_map<const Parameter*, std::int64_t> first_hidden_use_;
  std::uint64_t serial_;
  Tape* outer_;
  bool spent_ = false;
};

// No recording on this thread while it lives.
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
