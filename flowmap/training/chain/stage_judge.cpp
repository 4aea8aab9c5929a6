// The judge: cross-entropy on shifted and mirrored training images.
#include "autodiff/rules/linear.h"
#include "autodiff/rules/softmax.h"
#include "data/crops.h"
#include "flowmap/training/chain/evaluation.h"
#include "flowmap/training/chain/training_run.h"
#include "nn/training/ranks.h"
#include "tensor/ops/elementwise.h"

namespace fm {
namespace {

constexpr RandomKey augmentation(std::uint64_t seed) { return {seed, 0x4A554447}; }

// Measures the judge's accuracy on the test split, and writes the file that evaluations read.
void finish_judge(const Judge& average, TrainingRun& run) {
  const Dataset test = open_dataset(run.recipe().data, Split::test);
  const PauseTape pause;
  double right = 0;
  for (std::int64_t i = 0; i < test.count; i += 500) {
    std::vector<std::int64_t> rows;
    for (std::int64_t j = i; j < std::min(test.count, i + 500); ++j) rows.push_back(j);
    right += accuracy(average(image_rows(test, rows).to(default_device())).value(), label_rows(test, rows)).value() * static_cast<double>(rows.size());
  }
  run.context().log.info("judge: {:.2f} % of {} test images right", 100 * right / static_cast<double>(test.count), test.count);
  const StageSpec& stage = stage_named(stage_name::judge);
  save_safetensors(run.root() / stage.name / stage.file, state_dict(average),
                   {{"data", run.recipe().data}, {"test_accuracy", fmt::format("{:.4f}", right / static_cast<double>(test.count))}});
}

}  // namespace

Outcome TrainingRun::train_judge() {
  refuse_init_from(stage_name::judge);
  const JudgeStage& config = recipe_.judge;
  const std::uint64_t seed = stage_seed(stage_name::judge);
  Loader loader = picture_loader(seed);
  Judge model(config.model);
  reset_parameters(model, seed);
  Judge average = clone(model);

  BatchAhead<SampleBatch> batches([&](std::int64_t first, std::int64_t n, std::int64_t next) {
    SampleBatch batch = loader.take(first, n, next);
    batch.x = random_shifts(batch.x, consecutive(first, n), augmentation(seed), 0, config.shift, 0.5);
    return batch;
  });
  Stage stage = make_stage(stage_name::judge, model, &average);
  stage.loss = [&](const StepPart& part) {
    const SampleBatch batch = batches.take(part.step * config.loop.batch + part.first, part.count, part.next);
    const Var logits = model(batch.x);
    return StepLoss{mean(cross_entropy(logits, batch.labels)), {{"accuracy", accuracy(logits.value(), batch.labels)}}};
  };
  const Outcome outcome = train_loop(stage, config.loop, seed);
  if (outcome == Outcome::stopped) return outcome;
  context_.ranks.only_first([&] { finish_judge(average, *this); });
  return outcome;
}

}  // namespace fm
