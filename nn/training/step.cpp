#include "nn/training/step.h"

#include <fmt/format.h>

#include <utility>

#include "autodiff/rules/elementwise.h"

namespace fm {

LoopStep::LoopStep(Stage& stage, const LoopConfig& loop, AdamW& optimizer, const TrainOptions& options, Communicator& ranks, LoopObserver& observer)
    : stage_(stage),
      loop_(loop),
      optimizer_(optimizer),
      options_(options),
      ranks_(ranks),
      observer_(observer),
      rows_(rows_of_rank(loop.batch, loop.micro_batch, ranks_.rank(), ranks_.size())) {
  if (!alone()) buckets_ = std::make_unique<GradientBuckets>(ranks_, stage.trained, optimizer_.owners());
}

void LoopStep::prepare_recording() {
  if (!default_device().is_cuda() || !alone()) throw ConfigError(options_.names.cuda_graph + ": works only with one rank on a CUDA device; leave it out");
  const std::string why = !stage_.not_recorded.empty() ? stage_.not_recorded
                          : !stage_.drawn              ? "its loss is not given in two parts (Stage::set_loss)"
                          : rows_.size() > 1           ? "micro-batches cannot be recorded: leave micro_batch out"
                                                       : "";
  if (why.empty()) recorded_ = std::make_unique<RecordedStep>(stage_, optimizer_);
  else observer_.warning(fmt::format("{}: {}: steps are not recorded: {}", stage_.name, options_.names.cuda_graph, why));
}

void LoopStep::scale_rate(double scale) {
  rate_scale_ = scale;
  for (const auto& [name, optimizer] : stage_.optimizers) optimizer->scale_rate(scale);
}

StepNumbers LoopStep::run(std::int64_t step) {
  StepNumbers numbers = recorded_ ? recorded_->run(part_of(step, 0), rate_scale_ * learning_rate(loop_.rate, step)) : computed(step);
  if (stage_.after_step) stage_.after_step(step + 1);
  if (stage_.metrics_after_step) numbers.parts.push_back({0, 1, stage_.metrics_after_step()});
  return numbers;
}

// The communicator holds a reference to the trace: if the step throws, pending operations still report to it.
StepNumbers LoopStep::run_traced(std::int64_t step) {
  trace_ = std::make_shared<Trace>();
  ranks_.observe([trace = trace_](const Communicator::Span& s) {
    trace->span(Trace::Row::communicate, fmt::format("{} {:.2f} MiB", s.op, static_cast<double>(s.bytes) / (1 << 20)), s.begin, s.end);
  });
  StepNumbers numbers = run(step);
  ranks_.observe({});
  trace_->write(options_.trace, ranks_.rank());
  trace_.reset();
  observer_.message(fmt::format("{}: the timeline of step {} is in {}", stage_.name, step + 1, options_.trace.string()));
  return numbers;
}

StepNumbers LoopStep::computed(std::int64_t step) {
  Gradients total;
  StepNumbers numbers{.step = step + 1};
  for (std::size_t i = 0; i < rows_.size(); ++i) {
    const double share = static_cast<double>(rows_[i].count) / static_cast<double>(loop_.batch);
    Tape tape;
    const StepLoss part = forward(step, i);
    Late loss = part.loss.value();
    if (!alone()) loss = double(loss);                     // read before collectives begin, which would not end if a rank is lost
    else if (loss.known()) check_finite(stage_.name, double(loss), step + 1);
    numbers.parts.push_back({loss, share, part.metrics});
    const Var weighted = share == 1 ? part.loss : part.loss * share;
    if (buckets_ && i + 1 == rows_.size()) {
      total = summed_over_ranks(weighted, i > 0 ? &total : nullptr);
      continue;
    }
    const Trace::Scope scope(trace_.get(), "backward");
    Gradients g = backward(weighted);
    if (i == 0) total = std::move(g);
    else accumulate(total, std::move(g));
  }
  if (!alone()) {
    agreed_ = agree(ranks_, numbers.loss(), observer_.stop_reason(), observer_.save_requested());
    check_finite(stage_.name, agreed_.loss, step + 1);
  }
  const Trace::Scope scope(trace_.get(), "optimizer");
  numbers.lr = rate_scale_ * learning_rate(loop_.rate, step);
  StepStats stats = optimizer_.step(total, {.lr = numbers.lr});
  numbers.gradient_norm = stats.gradient_norm, numbers.squares = stats.squares;
  return numbers;
}

StepPart LoopStep::part_of(std::int64_t step, std::size_t part) const {
  const RowRange& rows = rows_[part];
  const bool last = part + 1 == rows_.size();
  return {step, rows.first, rows.count, (step + last) * loop_.batch + rows_[last ? 0 : part + 1].first, loop_.steps};
}

StepLoss LoopStep::forward(std::int64_t step, std::size_t part) const {
  const Trace::Scope scope(trace_.get(), "forward");
  return stage_.loss(part_of(step, part));
}

// Runs the backward pass, which sends gradients as they become final, and waits for the sums.
Gradients LoopStep::summed_over_ranks(const Var& loss, Gradients* earlier) {
  buckets_->begin(earlier);
  Gradients g = [&] {
    const Trace::Scope scope(trace_.get(), "backward");
    return backward(loss, buckets_->hook());
  }();
  const Trace::Scope scope(trace_.get(), "wait for gradients");
  buckets_->finish(g);
  return g;
}

}  // namespace fm
