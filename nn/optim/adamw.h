// AdamW over the named parameters of a model, with clipping by the global norm and moving averages (EMA) of the weights. The update's
// equations are in tensor/kernels/optimizer.h; clipping and averages cost no further pass over memory.
//
//   Model model, ema = clone(model);
//   AdamW optimizer(named_parameters(model), {.clip = 1.0});
//   optimizer.add_average(named_parameters(ema), 0.9995);
//   const StepStats stats = optimizer.step(backward(loss), {.lr = 1e-4});
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "autodiff/var.h"
#include "nn/config/visit.h"
#include "nn/module.h"
#include "tensor/collectives/communicator.h"
#include "tensor/io/safetensors.h"
#include "tensor/late.h"

namespace fm {

struct NamedParameter {
  std::string name;
  Parameter* parameter;                  // must keep its address while the optimizer lives: do not move the model
  bool decays = true;                    // false: weight decay passes it by
};

template <class M> std::vector<NamedParameter> named_parameters(M& module) {
  std::vector<NamedParameter> list;
  for_each_parameter(module, [&](const std::string& name, Parameter& p) { list.push_back({name, &p}); });
  return list;
}

struct AdamWConfig {
  double beta1 = 0.9, beta2 = 0.95, eps = 1e-8;
  double weight_decay = 0;               // of every parameter that decays, decoupled, times the learning rate
  double clip = 1;                       // largest global gradient norm; 0 = no clipping

  template <class V> void visit(V&& v) {
    v("beta1", beta1, "decay of the first moment", range(0, 1));
    v("beta2", beta2, "decay of the second moment", range(0, 1));
    v("eps", eps, "epsilon that is added to the root of the second moment", above(0));
    v("weight_decay", weight_decay, "decoupled weight decay", at_least(0));
    v("clip", clip, "largest norm of the whole gradient; 0: no limit", at_least(0));
  }
};

struct StepRequest {
  double lr;                             // finite, >= 0
  double gradient_scale = 1;             // 1 / k when the gradients are a sum over k micro-batches; finite, > 0
};

struct StepStats {
  Late gradient_norm = 0;                // after gradient_scale, before clipping
  Tensor squares = {};                   // of each parameter's gradient, where they lie: for first_not_finite()
};

class AdamW {
 public:
  // Parameters f32 or f64, contiguous (DTypeError, ShapeError), names distinct, no two in one place of memory: each would be moved for the
  // other too. ConfigError unless 0 <= beta < 1 and eps > 0, also when rounded to the parameters' type, and weight_decay, clip finite, >= 0.
  explicit AdamW(std::vector<NamedParameter> parameters, const AdamWConfig& config = {});

  // A second model of the same names and shapes that follows the first: e <- d e + (1 - d) p at each step, frozen parameters included.
  // With a ramp the decay starts low (nn/optim/schedule.h). ShapeError if the models differ.
  void add_average(const std::vector<NamedParameter>& copy, double decay, bool ramp = false);

  // From now on each rank keeps the moments and averages of its own parameters only (nn/optim/shards.h), and `step` takes gradients of those
  // (GradientBuckets with these owners). All ranks call the same functions then, in the same order. `ranks` must outlive this object.
  void shard(Communicator& ranks);
  bool sharded() const { return ranks_ != nullptr; }
  const std::vector<int>& owners() const { return owners_; }            // by parameter
  int owner_of(const std::string& state_name) const;                    // of a tensor of state(), or of an average; -1: all ranks have it
  void release_averages();               // releases averages that other ranks own; the values of those parameters are then undefined
  void gather_averages(int rank);        // until the next release this rank (-1: every rank) has all averages

  // One update. ConfigError for numbers of the request that are out of range, with nothing changed. A parameter without gradient stays unchanged,
  // but its averages are updated; Error if no parameter has a gradient. DivergedError if the norm of the gradients is not finite, or if it is still so large after clipping that the second
  // moment would overflow f32: it names the update and the first tensor, and nothing was changed. On a GPU no weight, moment or
  // average changes either, the norm is reported as infinite or NaN, and the update is counted: the device is not waited for.
  StepStats step(const Gradients& gradients, const StepRequest& request);

  // For an update that a Graph has recorded and is about to replay: counts it, and writes its numbers where the recorded work reads them.
  void repeat(const StepRequest& request);

  // The norm of all gradients together: sums per tensor in the order of the names, so the same for any number of threads.
  double gradient_norm(const Gradients& gradients) const;
  // The name of the first parameter whose gradient was not finite in the update that gave `squares`; empty if none. Waits for the device.
  std::string first_not_finite(const Tensor& squares) const;

  std::int64_t updates() const { return updates_; }
  const AdamWConfig& config() const { return config_; }

  // "m.<name>", "v.<name>", "step.<name>" for each parameter that has had a gradient, and "updates". The tensors share memory with the
  // optimizer. Tensors of another rank have only shape and type, so the list is the same for any number of ranks. load_state copies. It throws FileError with one message that lists all misfits, with nothing changed.
  NamedTensors state() const;
  void load_state(const NamedTensors& state);

 private:
  struct Slot {
    NamedParameter named;
    Tensor m, v;                         // undefined until the first gradient
    std::int64_t steps = 0;
    bool moved = false;                  // by the last update
  };
  struct Average {
    std::vector<Parameter*> copy;
    double decay;
    bool ramp;
  };
  Tensor clip(const Tensor& sums, double scale) const;
  Device device() const;
  Tensor squares(const Gradients& gradients) const;
  void check_any(const Gradients& gradients) const;
  [[noreturn]] void throw_diverged(const Gradients& gradients, double norm) const;
  void count(const StepRequest& request);
  template <class T> void update(std::size_t i, Tensor gradient, const Tensor& clip);
  bool owns(std::size_t i) const { return !ranks_ || owners_[i] == ranks_->rank(); }
  void share_parameters();

  AdamWConfig config_;
  std::vector<Slot> slots_;
  std::vector<Average> averages_;
  Tensor numbers_;                       // f64: 1 - decay of each average, then an AdamWStep for each parameter
  std::int64_t updates_ = 0;
  Communicator* ranks_ = nullptr;        // null: all is here
  std::vector<int> owners_;
};

// into += more, parameter by parameter: for micro-batches, called in their order. `more` is used up.
void accumulate(Gradients& into, Gradients&& more);

}  // namespace fm
