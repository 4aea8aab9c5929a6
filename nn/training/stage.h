// A Stage is a loss and the tensors of a checkpoint. The loss is a pure function of the step (and with micro-batches of the part of the batch). The loop
// (nn/training/loop.h) keeps no other state between steps, so a training that is killed and resumed has the same bits as one without interruption.
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

// The samples that one call of the loss works on: all or a part of a step's batch.
struct StepPart {
  std::int64_t step = 0;
  std::int64_t first = 0, count = 0;     // rows of the step's batch
  std::int64_t next = -1;                // first row of the next part, counted over all steps; for prefetching
  std::int64_t total = 0;                // number of steps of the whole training, for losses with a schedule; the same after a restart
};

// A mean over some rows of the part. `weight` is the share of these rows in the part, so that means of parts combine to means of the batch.
struct StepMetric {
  std::string name;
  Late value;                            // read when it is reported
  double weight = 1;
};

struct StepLoss {
  Var loss;
  std::vector<StepMetric> metrics;       // reported and logged with the loss
};

// The draws of one step: a struct with all inputs of the loss, which lists its tensors once. Everything else that the loss depends on (a number of rows, a
// branch) must follow from form(). If form() or a shape changes, a recorded step is recorded again.
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

// A DrawnStep without its type. Only the stage that made it converts it back.
struct AnyDrawn {
  std::shared_ptr<void> value;
  std::vector<Tensor*> tensors;          // the tensors of `value`, in the order of each_tensor; they may be undefined
  std::int64_t form = 0;
};
template <DrawnStep D> AnyDrawn any_drawn(D drawn) {
  const auto value = std::make_shared<D>(std::move(drawn));
  AnyDrawn out{value, {}, std::as_const(*value).form()};
  value->each_tensor([&](Tensor& t) { out.tensors.push_back(&t); });
  return out;
}

// Numbers that some steps measure at the averaged weights, such as distances of their samples to data: columns of metrics.csv.
struct StageScores {
  std::vector<std::string> names = {};                                 // the same on all ranks; empty: the stage has no scores
  std::vector<std::string> higher = {};                                // those of the names for which a higher number is better
  std::function<std::vector<double>(std::int64_t step)> measure = {};  // called on the first rank; one number for each name, NaN: undefined
};

struct Stage {
  std::string name;                                                    // the name of its folder in the run's folder
  std::vector<NamedParameter> trained = {};
  std::vector<NamedParameter> averaged = {};                           // the parameters of the EMA; may be empty
  NamedTensors model = {}, ema = {};                                   // both models as stored in checkpoints: parameters and tables
  std::function<StepLoss(const StepPart&)> loss = {};                  // called while a tape records
  std::function<AnyDrawn(const StepPart&)> drawn = {};                 // `drawn` and `loss_of` are the two parts of `loss`, for recorded steps; both may be empty
  std::function<StepLoss(const AnyDrawn&)> loss_of = {};               // must not copy between host and device
  std::string not_recorded = {};                                       // the reason why `drawn` and `loss_of` are empty
  std::function<void()> prepare = {};                                  // loads data for the first step, before training begins; may be empty
  std::function<void(std::int64_t step)> after_step = {};              // may be empty
  std::function<void(std::int64_t step, const std::filesystem::path& png)> preview = {};   // writes a sample grid; may be empty
  StageScores scores = {};                                             // measured every LoopConfig::score_every steps
  std::string part = {};                                               // the stage's section of the config, such as "fm"; empty: the name
  std::vector<Field> fields = {};                                      // the config that checkpoints store; empty: TrainOptions::fields
  std::vector<std::pair<std::string, std::string>> made_from = {};     // checksums of the weights on which the stage depends: {"encoder", "1a2b3c4d"}
  std::string remark = {};                                             // reported when training begins; may be empty
  WatchConfig watch = {};
  LoopWatch::Remedies remedies = {};                                   // returns remedies for a number that explodes; empty: those of LoopWatch
  NamedTensors state = {};                                             // further tensors of a checkpoint; loading overwrites them in place
  std::vector<std::pair<std::string, AdamW*>> optimizers = {};         // optimizers that after_step uses, with the names of their parts of a checkpoint; a rewind halves their rates too
  std::function<std::vector<StepMetric>()> metrics_after_step = {};    // metrics of the work in after_step, reported with those of the loss; may be empty

  // Sets the loss in two parts, so that a step can be recorded. `draw` makes the D of a part on the host; `of` computes the loss from that D on the device.
  // All random draws belong in `draw`: a recorded step would repeat draws made in `of`.
  template <DrawnStep D> void set_loss(std::function<D(const StepPart&)> draw, std::function<StepLoss(const D&)> of) {
    loss = [draw, of](const StepPart& rows) { return of(draw(rows)); };
    drawn = [draw](const StepPart& rows) { return any_drawn<D>(draw(rows)); };
    loss_of = [of](const AnyDrawn& any) { return of(*static_cast<const D*>(any.value.get())); };
  }
};

// Returns a stage that trains `model`. `average` becomes its moving average (null: none). Neither may be moved while the stage exists.
template <class M> Stage make_stage(std::string name, M& model, M* average) {
  Stage stage{.name = std::move(name), .trained = named_parameters(model), .model = state_dict(model)};
  if (average != nullptr) {
    stage.averaged = named_parameters(*average);
    stage.ema = state_dict(*average);
  }
  return stage;
}

}  // namespace fm
