// A Stage is a loss, a pure function of the step (and of the part of the batch, with micro-batches), and the tensors of
// a checkpoint. The loop (nn/training/loop.h) keeps no other state between steps, so N steps equal N/2 steps, a kill, and the rest, bit for
// bit.
#pragma once

#include <concepts>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "nn/config/visit.h"
#include "nn/module.h"
#include "nn/optim/adamw.h"
#include "nn/training/watch.h"
#include "tensor/late.h"

namespace fm {

// Which samples a step works on.
struct StepPart {
  std::int64_t step = 0;
  std::int64_t first = 0, count = 0;     // rows of the step's batch
  std::int64_t next = -1;                // the first row of the next part, counted from the first row of step 0
  std::int64_t total = 0;                // steps of the whole training, the same after a restart: for losses that follow a schedule
};

// A mean over some of the part's rows; `weight` is the share of those rows, so that parts add up to the batch.
struct StepMetric {
  std::string name;
  Late value;                            // read when it is shown
  double weight = 1;
};

struct StepLoss {
  Var loss;
  std::vector<StepMetric> metrics;       // shown and logged beside the loss
};

// All that a loss needs of one step: a struct that lists its tensors once. Whatever else the loss depends on (a number of rows, a branch) follows
// from form(): where that or a shape changes, a recorded step is recorded anew.
//
//   struct Points {
//     Tensor x, y;
//     template <class F> void each_tensor(F&& f) { f(x); f(y); }
//     std::int64_t form() const { return 0; }
//   };
template <class D> concept DrawnStep = requires(D& drawn, void (*f)(Tensor&)) {
  drawn.each_tensor(f);
  { std::as_const(drawn).form() } -> std::convertible_to<std::int64_t>;
};

// A DrawnStep whose type is known to its stage alone.
struct AnyDrawn {
  std::shared_ptr<void> value;
  std::vector<Tensor*> tensors;          // the tensors of `value`, in its order; they may be undefined
  std::int64_t form = 0;
};
template <DrawnStep D> AnyDrawn any_drawn(D drawn) {
  const auto value = std::make_shared<D>(std::move(drawn));
  AnyDrawn out{value, {}, std::as_const(*value).form()};
  value->each_tensor([&](Tensor& t) { out.tensors.push_back(&t); });
  return out;
}

struct Stage {
  std::string name;                                                    // the folder of the stage inside the run
  std::vector<NamedParameter> trained = {};
  std::vector<NamedParameter> averaged = {};                           // the EMA's model; may be empty
  NamedTensors model = {}, ema = {};                                   // the contents of a checkpoint for the two: parameters and tables
  std::function<StepLoss(const StepPart&)> loss = {};                  // called with a tape on
  std::function<AnyDrawn(const StepPart&)> drawn = {};                 // the two parts of `loss`, for recorded steps; both may be empty
  std::function<StepLoss(const AnyDrawn&)> loss_of = {};               // neither reads from the device nor sends to it
  std::string not_recorded = {};                                       // why they are empty
  std::function<void()> prepare = {};                                  // loads the needs of the first step, before a stop could lose anything; may be empty
  std::function<void(std::int64_t step)> after_step = {};              // may be empty
  std::function<void(std::int64_t step, const std::filesystem::path& png)> preview = {};   // writes a sample grid; may be empty
  std::string part = {};                                               // of the config, such as "fm"; empty: as the name
  std::vector<Field> fields = {};                                      // the config that made it; empty: TrainOptions::fields
  std::vector<std::pair<std::string, std::string>> made_from = {};     // checksums of the weights it learns from: {"encoder", "1a2b3c4d"}
  std::string remark = {};                                             // reported when training begins; may be empty
  WatchConfig watch = {};
  LoopWatch::Remedies remedies = {};                                   // remedies when a number explodes; empty: the learning rate or clipping
  NamedTensors state = {};                                             // further tensors of a checkpoint (shared, overwritten in place)

  // Sets the loss in two parts, so that a step can be recorded: `draw` makes a D of the part on the host, `of` the loss of that D on the device.
  // All random draws belong in `draw`: a recorded step would repeat draws made in `of`.
  template <DrawnStep D> void set_loss(std::function<D(const StepPart&)> draw, std::function<StepLoss(const D&)> of) {
    loss = [draw, of](const StepPart& rows) { return of(draw(rows)); };
    drawn = [draw](const StepPart& rows) { return any_drawn<D>(draw(rows)); };
    loss_of = [of](const AnyDrawn& any) { return of(*static_cast<const D*>(any.value.get())); };
  }
};

// A stage that trains `model`, with `average` (null: none) following it. Both must stay where they are.
template <class M> Stage make_stage(std::string name, M& model, M* average) {
  Stage stage{.name = std::move(name), .trained = named_parameters(model), .model = state_dict(model)};
  if (average != nullptr) {
    stage.averaged = named_parameters(*average);
    stage.ema = state_dict(*average);
  }
  return stage;
}

}  // namespace fm
