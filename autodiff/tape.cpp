#include "autodiff/tape.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "autodiff/var.h"
#include "tensor/ops/elementwise.h"
#include "tensor/profile.h"

namespace fm {
namespace {

thread_local Tape* current_tape = nullptr;
thread_local std::string module_path;
thread_local ParametersUsed* parameters_used = nullptr;
std::atomic<std::uint64_t> next_serial{1};

void accumulate(Tensor& sum, const Tensor& g) {
  if (!sum.defined()) sum = g;
  else if (sum.is_unique() && sum.is_contiguous()) add_into(sum, g);
  else sum = sum + g;
}

// `place` is filled only if an input of the pull is also a parameter that the pull uses.
void give(Tensor& place, Tensor sum) {
  if (place.defined()) accumulate(place, sum);
  else place = std::move(sum);
}

}  // namespace

const Tensor& Gradients::operator[](const Var& value) const {
  const auto refuse = [&](const std::string& why) {
    throw AutodiffError("a gradient was requested of a value of shape " + to_string(value.shape()) + " that " + why);
  };
  if (!value.on_tape()) refuse("is a constant: make it a leaf by Tape::variable");
  if (value.node().tape != tape_) refuse("was recorded on another tape");
  const auto parameter = leaf_parameters_.find(value.node().index);
  if (parameter != leaf_parameters_.end()) return (*this)[*parameter->second];
  const auto index = static_cast<std::size_t>(value.node().index);
  if (let_go_[index]) refuse(std::string("is the result of ") + let_go_[index] + ", not a leaf: call Tape::keep with it before backward");
  return nodes_[index];
}

const Tensor& Gradients::operator[](const Parameter& p) const {
  static const Tensor none;
  const auto it = parameters_.find(&p);
  return it == parameters_.end() ? none : it->second;
}

void Gradients::add(const Parameter& p, const Tensor& g) { accumulate(parameters_[&p], g); }

void Cotangents::add(std::size_t input, const Tensor& g) {
  const NodeRef at = inputs_[input];
  if (at.on_tape()) accumulate(nodes_[static_cast<std::size_t>(at.index)], g);
}

void Cotangents::add_slice(std::size_t input, int dim, std::int64_t begin, const Tensor& g) {
  const NodeRef at = inputs_[input];
  if (!at.on_tape()) return;
  Tensor& sum = nodes_[static_cast<std::size_t>(at.index)];
  const bool first = !sum.defined();
  if (first) sum = Tensor::zeros(tape_.shape_of(at), g.dtype(), g.device());
  else if (!sum.is_unique() || !sum.is_contiguous()) sum = sum.clone();
  Tensor part = sum.slice(dim, begin, begin + g.dim(dim));
  if (first) part.copy_from(g);
  else add_into(part, g);
}

Tensor* Cotangents::existing(std::size_t input) {
  const NodeRef at = inputs_[input];
  if (!at.on_tape()) return nullptr;
  Tensor& sum = nodes_[static_cast<std::size_t>(at.index)];
  return sum.defined() && sum.is_unique() && sum.is_contiguous() ? &sum : nullptr;
}

Tensor Cotangents::take(std::size_t input) {
  return wants(input) ? std::exchange(nodes_[static_cast<std::size_t>(inputs_[input].index)], Tensor()) : Tensor();
}

void Cotangents::put(std::size_t input, Tensor sum) {
  if (wants(input)) give(nodes_[static_cast<std::size_t>(inputs_[input].index)], std::move(sum));
}

Tensor* Cotangents::sum_of(const Parameter& p) {
  const auto leaf = tape_.leaves_.find(&p);
  return leaf != tape_.leaves_.end() ? &nodes_[static_cast<std::size_t>(leaf->second.index)] : &all_.parameters_[&p];
}

Tensor Cotangents::take(const Parameter& p) {
  const bool any = tape_.leaves_.contains(&p) || all_.parameters_.contains(&p);
  return any ? std::exchange(*sum_of(p), Tensor()) : Tensor();
}
void Cotangents::put(const Parameter& p, Tensor sum) { give(*sum_of(p), std::move(sum)); }

Tape::Tape() : serial_(next_serial++), outer_(current_tape) { current_tape = this; }
Tape::~Tape() { current_tape = outer_; }
Tape* Tape::current() { return current_tape; }

Var Tape::variable(const Tensor& x) { return {x, record("leaf", x.shape(), {}, nullptr)}; }

Var Tape::variable(const Parameter& p) {
  const auto it = leaves_.find(&p);
  if (it != leaves_.end()) return {p.value, it->second};
  const NodeRef node = record("parameter", p.value.shape(), {}, nullptr);
  leaves_[&p] = node;
  leaf_parameters_[node.index] = &p;
  return {p.value, node};
}

void Tape::keep(const Var& value) {
  if (!value.on_tape() || value.node().tape != serial_) throw AutodiffError("keep: the value is not on this tape");
  if (spent_) throw AutodiffError("keep: backward has run on this tape already; call keep before it");
  nodes_[static_cast<std::size_t>(value.node().index)].kept = true;
}

NodeRef Tape::record(const char* op, const Shape& shape, std::vector<NodeRef> inputs, Pull pull) {
  for (const NodeRef& in : inputs)
    if (in.on_tape() && in.tape != serial_)
      throw AutodiffError(std::string(op) + ": an input was recorded on another tape (that tape ended, or an inner one began); in " +
                          (module_path.empty() ? "no module" : module_path));
  nodes_.push_back({std::move(pull), op, shape, std::move(inputs), module_path, false});
  return {serial_, static_cast<std::int64_t>(nodes_.size()) - 1};
}

void Tape::will_add_to(NodeRef node, const std::vector<const Parameter*>& parameters) {
  for (const Parameter* p : parameters) first_hidden_use_.try_emplace(p, node.index);
}

std::unordered_map<std::int64_t, std::vector<const Parameter*>> Tape::last_additions() const {
  std::unordered_map<const Parameter*, std::int64_t> last = first_hidden_use_;
  for (const auto& [index, p] : leaf_parameters_) {
    const auto [at, fresh] = last.try_emplace(p, index);
    if (!fresh) at->second = std::min(at->second, index);
  }
  std::unordered_map<std::int64_t, std::vector<const Parameter*>> by_node;
  for (const auto& [p, index] : last) by_node[index].push_back(p);
  return by_node;
}

Gradients Tape::backward(std::vector<std::pair<Var, Tensor>> seeds, const OnFinal& on_final) { return run(std::move(seeds), on_final, {}); }

Var Tape::leaf_within(const Cotangents& outer, const std::vector<Var>& before, const Tensor& x) {
  const std::size_t input = before.size();
  if (!x.defined() || !outer.wants(input)) return x;
  for (std::size_t i = 0; i < input; ++i)
    if (before[i].on_tape() && outer.node(i).index == outer.node(input).index) return before[i];
  return variable(x);
}

void Tape::backward_within(Cotangents& outer, const std::vector<Var>& leaves, std::vector<std::pair<Var, Tensor>> seeds) {
  std::vector<std::pair<Var, Tensor>> all;
  for (std::size_t i = 0; i < leaves.size(); ++i)
    if (leaves[i].on_tape())
      if (Tensor sum = outer.take(i); sum.defined()) all.emplace_back(leaves[i], std::move(sum));
  for (const auto& [p, leaf] : leaves_)
    if (Tensor sum = outer.take(*p); sum.defined()) all.emplace_back(Var(p->value, leaf), std::move(sum));
  std::unordered_map<const Parameter*, Tensor> hidden;
  for (const auto& [p, node] : first_hidden_use_)
    if (Tensor sum = outer.take(*p); sum.defined()) hidden.emplace(p, std::move(sum));
  for (auto& seed : seeds) all.push_back(std::move(seed));
  seeds.clear();
  Gradients out = run(std::move(all), {}, std::move(hidden));
  for (std::size_t i = 0; i < leaves.size(); ++i) {
    if (!leaves[i].on_tape()) continue;
    if (Tensor& sum = out.nodes_[static_cast<std::size_t>(leaves[i].node().index)]; sum.defined()) outer.put(i, std::exchange(sum, Tensor()));
  }
  for (auto& [p, sum] : out.parameters_)
    if (sum.defined()) outer.put(*p, std::exchange(sum, Tensor()));
}

Gradients Tape::run(std::vector<std::pair<Var, Tensor>> seeds, const OnFinal& on_final, std::unordered_map<const Parameter*, Tensor> so_far) {
  if (spent_) throw AutodiffError("backward: it has run on this tape already; record the computation again");
  spent_ = true;
  const PauseTape pause;
  const ProfilePhase phase("backward");
  Gradients out;
  out.tape_ = serial_;
  out.nodes_.resize(nodes_.size());
  out.let_go_.resize(nodes_.size(), nullptr);
  out.parameters_ = std::move(so_far);
  for (auto& [var, g] : seeds) {
    if (!var.on_tape()) continue;
    if (var.node().tape != serial_) throw AutodiffError("backward: the loss was recorded on another tape");
    if (g.shape() != var.shape()) throw ShapeError("backward: a cotangent of shape " + fm::to_string(g.shape()) + " does not fit a value of shape " + fm::to_string(var.shape()));
    accumulate(out.nodes_[static_cast<std::size_t>(var.node().index)], g);
    g = Tensor();                                            // so that the sum may be added to in place unless the caller holds the tensor too
  }
  const auto final_at = on_final ? last_additions() : std::unordered_map<std::int64_t, std::vector<const Parameter*>>();
  const auto tell_final = [&](std::int64_t i) {
    const auto found = final_at.find(i);
    if (found == final_at.end()) return;
    for (const Parameter* p : found->second) {
      if (const auto leaf = leaves_.find(p); leaf != leaves_.end()) {
        Tensor& g = out.nodes_[static_cast<std::size_t>(leaf->second.index)];
        if (g.defined()) out.add(*p, std::move(g));
        g = Tensor();
      }
      if (const auto g = out.parameters_.find(p); g != out.parameters_.end() && g->second.defined()) on_final(*p, g->second);
    }
  };
  for (std::size_t i = nodes_.size(); i-- > 0;) {
    Node& node = nodes_[i];
    if (node.pull && !node.kept) out.let_go_[i] = node.op;
    if (node.pull && out.nodes_[i].defined()) {
      Tensor gy = out.nodes_[i];
      if (!node.kept) out.nodes_[i] = Tensor();
      Cotangents cotangents(*this, out, out.nodes_, node.inputs, gy);
      const ModulePath path(node.path);
      node.pull(gy, cotangents);
    }
    node.pull = nullptr;
    if (on_final) tell_final(static_cast<std::int64_t>(i));
  }
  for (const auto& [index, parameter] : leaf_parameters_) {
    Tensor& g = out.nodes_[static_cast<std::size_t>(index)];
    if (g.defined()) out.add(*parameter, std::move(g));
    g = Tensor();
  }
  out.leaf_parameters_ = std::move(leaf_parameters_);
  return out;
}

std::string Tape::to_string() const {
  std::string s;
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    const Node& n = nodes_[i];
    s += "%" + std::to_string(i) + " = " + n.op + fm::to_string(n.shape) + " (";
    for (std::size_t k = 0; k < n.inputs.size(); ++k)
      s += (k ? ", " : "") + (n.inputs[k].on_tape() ? "%" + std::to_string(n.inputs[k].index) : std::string("const"));
    s += ")" + (n.path.empty() ? "" : "  " + n.path) + "\n";
  }
  return s;
}

ParametersUsed::ParametersUsed() : outer_(parameters_used) { parameters_used = this; }
ParametersUsed::~ParametersUsed() {
  parameters_used = outer_;
  if (outer_) outer_->list_.insert(outer_->list_.end(), list_.begin(), list_.end());
}
void ParametersUsed::note(const Parameter& p) {
  if (parameters_used) parameters_used->list_.push_back(&p);
}

PauseTape::PauseTape() : outer_(current_tape) { current_tape = nullptr; }
PauseTape::~PauseTape() { current_tape = outer_; }

ModulePath::ModulePath(const std::string& part) : outer_length_(module_path.size()) {
  if (part.empty()) return;
  if (!module_path.empty()) module_path += '.';
  module_path += part;
}
ModulePath::~ModulePath() { module_path.resize(outer_length_); }
const std::string& ModulePath::current() { return module_path; }

}  // namespace fm
