// The smallest training with everything that a loop uses: a network that learns to double its input, an average, a loss in two parts. For tests of the loop.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/linear.h"
#include "flowmap/training/run_files.h"
#include "nn/checkpoint_folder.h"
#include "nn/layers/mlp.h"
#include "nn/training/loop.h"
#include "tensor/io/atomic_file.h"
#include "tensor/random/fill.h"

namespace fm::test {

struct Rows {
  Tensor x;
  template <class F> void each_tensor(F&& f) { f(x); }
  std::int64_t form() const { return 3; }
};

// Learns to double its input.
struct Training {
  Mlp net{4, 8}, average;
  LoopConfig loop{.steps = 8, .batch = 6, .rate = {.peak = 1e-2}, .log_every = 4, .ckpt_every = 3};
  TrainOptions options;
  Stage stage;
  std::vector<StepPart> parts;

  explicit Training(std::filesystem::path out, std::uint64_t seed = 1) {
    reset_parameters(net, seed);
    average = clone(net);
    options.out = std::move(out);
    stage = make_stage("double", net, &average);
    stage.set_loss<Rows>(
        [this](const StepPart& part) {
          parts.push_back(part);
          return Rows{random_normal_rows(consecutive(part.step * loop.batch + part.first, part.count), {4}, {1, 1})};
        },
        [this](const Rows& rows) {
          const Var loss = mean(square(net(rows.x) - rows.x * 2.0));
          return StepLoss{loss, {{"twice", loss.value() * 2.0}}};
        });
  }
  Outcome run(LoopObserver& observer) {
    SingleRank alone;
    return run_on(alone, observer);
  }
  Outcome run_on(Communicator& ranks, LoopObserver& observer) { return train(stage, loop, 7, options, ranks, observer); }
  std::string checkpoint(std::int64_t step, const std::string& file) const { return read_file(options.checkpoints(stage) / step_name(step) / file); }
};

// RunFiles without lines on stderr.
struct QuietFiles : RunFiles {
  using RunFiles::RunFiles;
  void message(const std::string&) override {}
};

}  // namespace fm::test
