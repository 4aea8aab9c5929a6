#include "nn/optim/adamw.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <numeric>
#include <unordered_map>
#include <unordered_set>

#include "nn/optim/schedule.h"
#include "nn/optim/shards.h"
#include "tensor/error.h"
#include "tensor/graph.h"
#include "tensor/kernels/dispatch.h"
#include "tensor/memory/allocator.h"
#include "tensor/narrow.h"
#include "tensor/ops/overlap.h"
#include "tensor/ops/reduce.h"
#include "tensor/profile.h"

namespace fm {
namespace {

void check_parameter(const NamedParameter& named) {
  const Tensor& value = named.parameter->value;
  if (!value.defined()) throw Error(fmt::format("AdamW: parameter {} has no value", named.name));
  if (value.dtype() != DType::f32 && value.dtype() != DType::f64)
    throw DTypeError(fmt::format("AdamW: parameter {} is {}, only f32 and f64 can be trained", named.name, name_of(value.dtype())));
  if (!value.is_contiguous()) throw ShapeError(fmt::format("AdamW: parameter {} is not contiguous; clone() it", named.name));
}

void check_gradient(const NamedParameter& named, const Tensor& g) {
  const Tensor& value = named.parameter->value;
  if (g.shape() != value.shape())
    throw ShapeError(
        fmt::format("AdamW: the gradient has shape {}, but parameter {} has shape {}", to_string(g.shape()), named.name, to_string(value.shape())));
  if (!is_floating(g.dtype())) throw DTypeError(fmt::format("AdamW: the gradient of {} is {}, but must be a floating-point type", named.name, name_of(g.dtype())));
}

template <class T> kernels::AdamWKernel<T> kernel(Device device) {
  if constexpr (std::is_same_v<T, double>) return optimizer_kernels(device).adamw_f64;
  else return optimizer_kernels(device).adamw_f32;
}

template <class T> kernels::AdamWScalars<T> scalars(const AdamWConfig& c) {
  return {.rate1 = T(1 - c.beta1), .beta2 = T(c.beta2), .rate2 = T(1 - c.beta2), .eps = T(c.eps)};
}

kernels::AdamWStep numbers_of(const AdamWConfig& c, std::int64_t step, double lr, bool decays) {
  const double k = static_cast<double>(step);
  return {.keep = decays ? 1 - lr * c.weight_decay : 1,
          .step_size = lr / (1 - std::pow(c.beta1, k)),
          .root_correction = 1 / std::sqrt(1 - std::pow(c.beta2, k))};
}

// Refuses numbers that would multiply every weight by infinity, NaN or the wrong sign.
void check_request(const StepRequest& r) {
  if (!(std::isfinite(r.lr) && r.lr >= 0))
    throw ConfigError(fmt::format("AdamW: learning rate {} must be finite and >= 0; nothing was changed", r.lr));
  if (!(std::isfinite(r.gradient_scale) && r.gradient_scale > 0))
    throw ConfigError(fmt::format("AdamW: gradient_scale {} must be finite and > 0, for example 1 / k for a sum over k micro-batches; nothing was changed",
                                  r.gradient_scale));
}

void check_config(const AdamWConfig& c) {
  if (!(c.beta1 >= 0 && c.beta1 < 1 && c.beta2 >= 0 && c.beta2 < 1 && c.eps > 0 && std::isfinite(c.eps)))
    throw ConfigError(fmt::format("AdamW: beta1 = {}, beta2 = {}, eps = {}: betas must be >= 0 and < 1, and eps > 0", c.beta1, c.beta2, c.eps));
  if (!(std::isfinite(c.weight_decay) && c.weight_decay >= 0))
    throw ConfigError(fmt::format("AdamW: weight_decay = {} must be finite and >= 0", c.weight_decay));
  if (!(std::isfinite(c.clip) && c.clip >= 0))
    throw ConfigError(fmt::format("AdamW: clip = {} must be finite and >= 0; 0 is no limit", c.clip));
}

// Refuses numbers that are in range as double but not in f32: beta2 = 1 - 1e-9 rounds to 1, and the second moment would never decay.
void check_rounded(const AdamWConfig& c) {
  if (!(static_cast<float>(c.beta1) < 1 && static_cast<float>(c.beta2) < 1 && static_cast<float>(c.eps) >= std::numeric_limits<float>::min() &&
        std::isfinite(static_cast<float>(c.eps))))
    throw ConfigError(fmt::format("AdamW: beta1 = {}, beta2 = {}, eps = {}: in f32, the type of the parameters, a beta rounds to 1 or eps is not a normal number",
                                  c.beta1, c.beta2, c.eps));
}

// Updates write to parameters and averages, so no two of them may share memory. After sorting by address, overlapping ones are neighbors.
void check_apart(std::vector<std::pair<std::string, Tensor>> tensors) {
  std::erase_if(tensors, [](const auto& t) { return !t.second.defined() || t.second.numel() == 0; });
  std::sort(tensors.begin(), tensors.end(), [](const auto& a, const auto& b) { return std::less<>()(a.second.raw(), b.second.raw()); });
  for (std::size_t i = 1; i < tensors.size(); ++i)
    if (shares_addresses(tensors[i - 1].second, tensors[i].second))
      throw Error(fmt::format("AdamW: {} and {} share memory: an update would change both; clone() one, or leave it out", tensors[i - 1].first, tensors[i].first));
}

double norm_of(const Tensor& squares) {
  const std::vector<double> sums = squares.to_vector<double>();
  return std::sqrt(std::accumulate(sums.begin(), sums.end(), 0.0));
}

constexpr std::int64_t step_numbers = sizeof(kernels::AdamWStep) / sizeof(double);

}  // namespace

AdamW::AdamW(std::vector<NamedParameter> parameters, const AdamWConfig& config) : config_(config) {
  check_config(config);
  std::unordered_set<std::string> seen;
  std::vector<std::pair<std::string, Tensor>> values;
  for (NamedParameter& named : parameters) {
    check_parameter(named);
    if (named.parameter->value.dtype() == DType::f32) check_rounded(config);
    if (!seen.insert(named.name).second) throw Error(fmt::format("AdamW: two parameters are named {}", named.name));
    values.emplace_back(named.name, named.parameter->value);
    slots_.push_back({std::move(named), {}, {}, 0, false});
  }
  check_apart(std::move(values));
}

void AdamW::add_average(const std::vector<NamedParameter>& copy, double decay, bool ramp) {
  if (!(decay >= 0 && decay <= 1)) throw ConfigError(fmt::format("AdamW: the decay {} of an average must be from 0 to 1", decay));
  if (copy.size() != slots_.size())
    throw ShapeError(fmt::format("AdamW: the average has {} parameters, the model {}", copy.size(), slots_.size()));
  Average average{{}, decay, ramp};
  for (std::size_t i = 0; i < copy.size(); ++i) {
    const NamedParameter& own = slots_[i].named;
    check_parameter(copy[i]);
    const Tensor &e = copy[i].parameter->value, &p = own.parameter->value;
    if (copy[i].name != own.name || e.shape() != p.shape() || e.dtype() != p.dtype())
      throw ShapeError(fmt::format("AdamW: the average has {} {} where the model has {} {}", copy[i].name, to_string(e.shape()), own.name,
                                   to_string(p.shape())));
    if (e.shares_memory_with(p)) throw Error(fmt::format("AdamW: the average of {} is the parameter itself; clone() the model", own.name));
    average.copy.push_back(copy[i].parameter);
  }
  std::vector<std::pair<std::string, Tensor>> values;
  for (std::size_t i = 0; i < copy.size(); ++i) {
    values.emplace_back(slots_[i].named.name, slots_[i].named.parameter->value);
    values.emplace_back("the average of " + copy[i].name, copy[i].parameter->value);
    for (const Average& a : averages_) values.emplace_back("another average of " + copy[i].name, a.copy[i]->value);
  }
  check_apart(std::move(values));
  averages_.push_back(std::move(average));
}

void AdamW::shard(Communicator& ranks) {
  if (ranks.size() == 1) return;
  ranks_ = &ranks;
  std::vector<std::int64_t> sizes;
  for (const Slot& slot : slots_) sizes.push_back(slot.named.parameter->value.numel());
  owners_ = balanced_owners(sizes, ranks.size());
  for (std::size_t i = 0; i < slots_.size(); ++i)
    if (!owns(i)) slots_[i].m = slots_[i].v = Tensor();
}

int AdamW::owner_of(const std::string& state_name) const {
  if (!ranks_) return -1;
  for (const char* prefix : {"m.", "v.", ""})
    for (std::size_t i = 0; i < slots_.size() && state_name.starts_with(prefix); ++i)
      if (slots_[i].named.name == state_name.substr(std::strlen(prefix))) return owners_[i];
  return -1;
}

void AdamW::release_averages() {
  for (const Average& a : averages_)
    for (std::size_t i = 0; i < slots_.size(); ++i)
      if (!owns(i)) a.copy[i]->value = Tensor();
}

void AdamW::gather_averages(int rank) {
  if (!ranks_) return;
  for (const Average& a : averages_)
    for (std::size_t i = 0; i < slots_.size(); ++i) {
      Tensor& e = a.copy[i]->value;
      const Tensor& p = slots_[i].named.parameter->value;
      const bool wanted = rank < 0 || rank == ranks_->rank();
      if (!e.defined() && wanted) e = Tensor::empty(p.shape(), p.dtype(), p.device());
      if (rank < 0) ranks_->broadcast(e, owners_[i]);
      else if (owners_[i] != rank && wanted) ranks_->receive(e, owners_[i]);
      else if (owns(i) && !wanted) ranks_->send(e, rank);
    }
}

void AdamW::share_parameters() {
  std::vector<Tensor> values;
  std::vector<int> owners;
  for (std::size_t i = 0; i < slots_.size(); ++i)
    if (slots_[i].named.parameter->trainable) values.push_back(slots_[i].named.parameter->value), owners.push_back(owners_[i]);
  share_from_owners(*ranks_, values, owners);
}

Device AdamW::device() const { return slots_.empty() ? Device{} : slots_[0].named.parameter->value.device(); }

// If sharded, each tensor's sum comes from its owner, and the sums are added in the same order as without sharding.
Tensor AdamW::squares(const Gradients& gradients) const {
  const ProfiledOp scope("norm of gradients");
  std::vector<Tensor> all;
  for (const Slot& slot : slots_) all.push_back(gradients[*slot.named.parameter]);
  for (const Tensor& g : all)
    if (g.defined()) count_traffic({&g});
  const Tensor own = squares_of(all).to(device());           // without any gradient, squares_of returns a tensor on the CPU
  if (!ranks_) return own;
  const std::vector<double> sums = sum_over_ranks(*ranks_, own.to_vector<double>());
  return Tensor::from(sums, own.shape()).to(own.device());
}

double AdamW::gradient_norm(const Gradients& gradients) const {
  return norm_of(squares(gradients));
}

std::string AdamW::first_not_finite(const Tensor& squares) const {
  const std::vector<double> sums = squares.to_vector<double>();
  for (std::size_t i = 0; i < slots_.size(); ++i)
    if (!std::isfinite(sums[i])) return slots_[i].named.name;
  return "";
}

void AdamW::throw_diverged(const Gradients& gradients, double norm) const {
  for (const Slot& slot : slots_) {
    const Tensor& g = gradients[*slot.named.parameter];
    if (g.defined() && !all_finite(g))
      throw DivergedError(fmt::format("update {}: the gradient of {} is not finite", updates_ + 1, slot.named.name));
  }
  throw DivergedError(fmt::format("update {}: the gradients are finite, but their norm{} is too large for the second moment, whose squares reach {:.1e}; {}",
                                  updates_ + 1, std::isfinite(norm) ? fmt::format(", {:.3g},", norm) : "", kernels::largest_square,
                                  config_.clip > 0 ? "lower the learning rate or resume from a checkpoint" : "set clip"));
}

// Returns an AdamWClip on the device of the gradients.
Tensor AdamW::clip(const Tensor& sums, double scale) const {
  const Tensor out = Tensor::empty({2}, DType::f64, sums.device());
  optimizer_kernels(sums.device()).clip(sums.data<double>(), sums.numel(), scale, config_.clip, reinterpret_cast<kernels::AdamWClip*>(out.raw()));
  return out;
}

// If sharded, no check: a rank may own no parameter that has a gradient.
void AdamW::check_any(const Gradients& gradients) const {
  if (ranks_) return;
  for (const Slot& slot : slots_)
    if (gradients[*slot.named.parameter].defined()) return;
  throw Error(fmt::format("AdamW: none of the {} parameters{} has a gradient: the loss was computed with another model (a copy of it, say), or "
                          "all of them are frozen",
                          slots_.size(), slots_.empty() ? "" : fmt::format(" ({}, ...)", slots_[0].named.name)));
}

// Counts the next update and sends its numbers to the device.
void AdamW::count(const StepRequest& request) {
  std::vector<double> numbers;
  for (const Average& a : averages_) numbers.push_back(1 - average_decay(a.decay, a.ramp, updates_));
  for (Slot& slot : slots_) {
    if (slot.moved) ++slot.steps;
    const kernels::AdamWStep now = slot.moved ? numbers_of(config_, slot.steps, rate_scale_ * request.lr, slot.named.decays) : kernels::AdamWStep{};
    numbers.insert(numbers.end(), {now.keep, now.step_size, now.root_correction});
  }
  const auto n = static_cast<std::int64_t>(numbers.size());
  if (!numbers_.defined() || numbers_.numel() != n)
    numbers_ = Tensor::empty({n}, DType::f64, device());
  numbers_.copy_from(Tensor::view_of({}, numbers.data(), {n}, DType::f64));
  ++updates_;
}

void AdamW::repeat(const StepRequest& request) {
  check_request(request);
  count(request);
}

StepStats AdamW::step(const Gradients& gradients, const StepRequest& request) {
  const ProfilePhase phase("optimizer");
  const OpName scope("optimizer");
  check_request(request);
  for (const Slot& slot : slots_) {
    const Tensor& g = gradients[*slot.named.parameter];
    if (g.defined()) check_gradient(slot.named, g);
  }
  check_any(gradients);
  const Tensor sums = squares(gradients), clipping = clip(sums, request.gradient_scale);
  const StepStats stats{clipping.slice(0, 0, 1), sums};
  if (stats.gradient_norm.known() && !std::isfinite(double(stats.gradient_norm))) throw_diverged(gradients, request.gradient_scale * norm_of(sums));
  for (std::size_t i = 0; i < slots_.size(); ++i) slots_[i].moved = owns(i) && gradients[*slots_[i].named.parameter].defined();
  if (!Graph::recording(clipping.device())) count(request);
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    if (!owns(i)) continue;
    const Tensor& g = gradients[*slots_[i].named.parameter];
    if (slots_[i].named.parameter->value.dtype() == DType::f64) update<double>(i, g, clipping);
    else update<float>(i, g, clipping);
  }
  if (ranks_) share_parameters();
  return stats;
}

template <class T> void AdamW::update(std::size_t i, Tensor g, const Tensor& clip) {
  Slot& slot = slots_[i];
  const Tensor& p = slot.named.parameter->value;
  std::vector<T*> averages;
  for (const Average& a : averages_) averages.push_back(a.copy[i]->value.data<T>());
  const auto first = static_cast<std::int64_t>(averages.size());
  const double* numbers = numbers_.data<double>();
  kernels::AdamWTensors<T> t{.p = p.data<T>(), .averages = averages.data(), .average_rates = numbers, .n = p.numel()};
  t.average_count = narrow<int>(first);
  t.clip = reinterpret_cast<const kernels::AdamWClip*>(clip.raw());
  if (!g.defined()) {
    kernel<T>(p.device())(t, {});
    return;
  }
  if (!slot.m.defined()) {
    slot.m = Tensor::zeros(p.shape(), p.dtype(), p.device());
    slot.v = Tensor::zeros(p.shape(), p.dtype(), p.device());
  }
  g = g.to(p.dtype()).contiguous();
  t.g = g.data<T>();
  t.m = slot.m.data<T>();
  t.v = slot.v.data<T>();
  t.step = reinterpret_cast<const kernels::AdamWStep*>(numbers + first + static_cast<std::int64_t>(i) * step_numbers);
  count_traffic({&g, &p, &p, &slot.m, &slot.m, &slot.v, &slot.v});
  kernel<T>(p.device())(t, scalars<T>(config_));
}

NamedTensors AdamW::state() const {
  NamedTensors out{{"updates", Tensor::scalar(static_cast<double>(updates_), DType::i64, Device{})}};
  std::vector<double> steps;                               // steps of each parameter that has had a gradient, else 0
  for (const Slot& slot : slots_) steps.push_back(slot.m.defined() ? static_cast<double>(slot.steps) : 0);
  if (ranks_) steps = sum_over_ranks(*ranks_, steps);
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    const Slot& slot = slots_[i];
    if (steps[i] == 0) continue;
    const Tensor& p = slot.named.parameter->value;
    const Tensor elsewhere = slot.m.defined() ? Tensor() : Tensor::scalar(0, p.dtype(), Device{}).expand(p.shape());
    out.emplace_back("m." + slot.named.name, slot.m.defined() ? slot.m : elsewhere);
    out.emplace_back("v." + slot.named.name, slot.v.defined() ? slot.v : elsewhere);
    out.emplace_back("step." + slot.named.name, Tensor::scalar(steps[i], DType::i64, Device{}));
  }
  return out;
}

void AdamW::load_state(const NamedTensors& state) {
  std::unordered_map<std::string, Tensor> left(state.begin(), state.end());
  std::string problems;
  const auto problem = [&](const std::string& what) { problems += (problems.empty() ? "" : ", ") + what; };
  const auto take = [&](const std::string& name, const Shape& shape, DType dtype) {
    const auto it = left.find(name);
    if (it == left.end()) {
      problem(name + " is missing");
      return Tensor();
    }
    const Tensor t = it->second;
    left.erase(it);
    if (t.shape() != shape || t.dtype() != dtype)
      problem(fmt::format("{} is {} {} instead of {} {}", name, name_of(t.dtype()), to_string(t.shape()), name_of(dtype),
                          to_string(shape)));
    return t;
  };
  const auto count_of = [&](const std::string& name, const Tensor& t) {
    const std::int64_t n = t.to_vector<std::int64_t>()[0];
    if (n < 0) problem(fmt::format("{} is {}, but must not be negative", name, n));
    return n;
  };
  std::vector<Slot> loaded;
  const Tensor updates = take("updates", {}, DType::i64);
  const std::int64_t done = updates.defined() && updates.numel() == 1 ? count_of("updates", updates) : 0;
  for (const Slot& slot : slots_) {
    loaded.push_back({slot.named, {}, {}, 0, false});
    const std::string& name = slot.named.name;
    if (!left.contains("m." + name) && !left.contains("v." + name) && !left.contains("step." + name)) continue;
    const Tensor& p = slot.named.parameter->value;
    loaded.back().m = take("m." + name, p.shape(), p.dtype());
    loaded.back().v = take("v." + name, p.shape(), p.dtype());
    const Tensor steps = take("step." + name, {}, DType::i64);
    if (steps.defined() && steps.numel() == 1) loaded.back().steps = count_of("step." + name, steps);
  }
  std::vector<std::string> unknown;
  for (const auto& [name, t] : left) unknown.push_back(name);
  std::sort(unknown.begin(), unknown.end());
  for (const std::string& name : unknown) problem(name + " is unknown");
  if (!problems.empty()) throw FileError("the state of the optimizer does not fit the model: " + problems);
  for (std::size_t i = 0; i < loaded.size(); ++i) {
    Slot& slot = loaded[i];
    if (!slot.m.defined()) continue;
    const Device device = slot.named.parameter->value.device();
    slot.m = owns(i) ? slot.m.clone().to(device) : Tensor();  // a copy: the tensor may be a view into a file
    slot.v = owns(i) ? slot.v.clone().to(device) : Tensor();
  }
  slots_ = std::move(loaded);
  updates_ = done;
}

void accumulate(Gradients& into, Gradients&& more) {
  for (auto& [parameter, g] : more.parameters()) {
    const Tensor part = std::move(g);
    g = Tensor();
    if (part.defined()) into.add(*parameter, part);
  }
  more.parameters().clear();
}

}  // namespace fm
