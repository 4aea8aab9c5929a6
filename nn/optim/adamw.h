// AdamW over the named parameters of a model, with clipping by the global norm and moving averages (EMA) of the weights. The equations of the
// update are in tensor/kernels/optimizer.h. Clipping and averages need no further pass over memory.
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
  bool decays = true;                    // false: no weight decay
};

template <class M> std::vector<NamedParameter> named_parameters(M& module) {
  std::vector<NamedParameter> list;
  for_each_parameter(module, [&](const std::string& name, Parameter& p) { list.push_back({name, &p}); });
  return list;
}

struct AdamWConfig {
  double beta1 = 0.9, beta2 = 0.95, eps = 1e-8;
  double weight_decay = 0;               // decoupled: each update multiplies parameters with `decays` by 1 - lr * weight_decay
  double clip = 1;                       // largest global gradient norm; 0 = no clipping

  template <class V> void visit(V&& v) {
    v("beta1", beta1, "decay of the first moment", range(0, 1));
    v("beta2", beta2, "decay of the second moment", range(0, 1));
    v("eps", eps, "epsilon that is added to the square root of the second moment", above(0));
    v("weight_decay", weight_decay, "decoupled weight decay: each update multiplies the weights by 1 - learning rate * weight_decay", at_least(0));
    v("clip", clip, "largest norm of the gradient over all parameters; larger gradients are scaled down to it; 0: no limit", at_least(0));
  }
};

struct StepRequest {
  double lr;                             // finite, >= 0
  double gradient_scale = 1;             // 1 / k when the gradients are a sum over k micro-batches; finite, > 0
};

struct StepStats {
  Late gradient_norm = 0;                // after gradient_scale, before clipping
  Tensor squares = {};                   // sum of squares of each parameter's gradient, on the gradients' device: for first_not_finite()
};

class AdamW {
 public:
  // Parameters must be f32 or f64 (DTypeError) and contiguous (ShapeError). Their names must differ and their memory must not overlap (Error).
  // ConfigError unless 0 <= beta < 1 and eps > 0, also after rounding to the parameters' type, and weight_decay and clip are finite and >= 0.
  explicit AdamW(std::vector<NamedParameter> parameters, const AdamWConfig& config = {});

  // Adds a moving average: `copy` are the parameters of a second model with the same names and shapes. Each step sets e <- d e + (1 - d) p, for
  // frozen parameters too. With a ramp the decay d starts low (nn/optim/schedule.h). ShapeError if the models differ.
  void add_average(const std::vector<NamedParameter>& copy, double decay, bool ramp = false);

  // Makes each rank keep only the moments and averages of the parameters that it owns (nn/optim/shards.h). `step` then takes the gradients of these
  // parameters (GradientBuckets with the same owners), and all ranks must call the same functions in the same order. `ranks` must outlive this object.
  void shard(Communicator& ranks);
  bool sharded() const { return ranks_ != nullptr; }
  const std::vector<int>& owners() const { return owners_; }            // by parameter
  int owner_of(const std::string& state_name) const;                    // owner of a tensor of state() or of an average; -1: every rank has it
  void release_averages();               // releases the averages that other ranks own: their tensors become undefined
  void gather_averages(int rank);        // copies all averages to this rank (-1: to every rank), until the next release

  // Makes one update. ConfigError if a number of the request is out of range; Error if no parameter has a gradient. A parameter without gradient
  // stays unchanged, but its averages are updated. DivergedError if the norm of the gradients is not finite, or if it is so large after clipping that
  // the second moment would overflow f32. The error names the update and the first tensor that is not finite. No error changes weights, moments or averages.
  // On a GPU, instead of a DivergedError, the reported norm is infinite or NaN, because the host does not wait for the device: the update is
  // counted, but changes no weight, moment or average.
  StepStats step(const Gradients& gradients, const StepRequest& request);

  // Multiplies the learning rate of all later updates by `scale` (1 at first): what a training's rewinds leave of it. Not part of state().
  void scale_rate(double scale) { rate_scale_ = scale; }

  // Prepares the replay of an update that a Graph has recorded: counts the update, and writes its learning rate and decays where the graph reads them.
  void repeat(const StepRequest& request);

  // Returns the norm over all gradients. Tensors are summed in the order of the parameters, so the bits do not depend on the number of threads.
  double gradient_norm(const Gradients& gradients) const;
  // Returns the name of the first parameter whose gradient was not finite in the update that gave `squares`; empty if all were finite. Waits for the
  // device.
  std::string first_not_finite(const Tensor& squares) const;

  std::int64_t updates() const { return updates_; }
  const AdamWConfig& config() const { return config_; }

  // state() returns "m.<name>", "v.<name>" and "step.<name>" for each parameter that has had a gradient, and "updates". The tensors share memory with
  // the optimizer. Tensors that another rank owns have only shape and type, so the list is the same for any number of ranks. load_state copies the
  // tensors. If some do not fit, load_state throws a FileError that lists them all, and changes nothing.
  NamedTensors state() const;
  void load_state(const NamedTensors& state);

 private:
  struct Slot {
    NamedParameter named;
    Tensor m, v;                         // undefined until the first gradient
    std::int64_t steps = 0;
    bool moved = false;                  // changed by the last update
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
  double rate_scale_ = 1;
  Communicator* ranks_ = nullptr;        // null: not sharded
  std::vector<int> owners_;
};

// into += more, parameter by parameter. For micro-batches, in their order. `more` is empty afterwards.
void accumulate(Gradients& into, Gradients&& more);

}  // namespace fm
