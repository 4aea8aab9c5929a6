// Steady steps on the CPU request no memory from the system: a MeanFlow with its exact derivative on a small DiT^DH, trained by the real loop (loss, backward,
// AdamW, averaged weights). The test counts the blocks that the allocator of tensors requests from the system because it keeps none of that size
// (tensor/memory/requests.h). Not counted: the C++ library's small allocations (nodes of tapes, lists). Steps of a GPU: tests/cuda/steps.cpp.
#include <doctest/doctest.h>

#include "flowmap/objective/mean_flow.h"
#include "nn/models/dit_dh.h"
#include "nn/training/loop.h"
#include "tensor/collectives/communicator.h"
#include "tensor/memory/allocator.h"
#include "tensor/memory/requests.h"
#include "tensor/random/fill.h"
#include "tests/support/temp_folder.h"

using namespace fm;

namespace {

constexpr std::int64_t steps = 8, rows = 8, classes = 3;
constexpr std::int64_t warm = 3;         // steps that may request memory: the last blocks of new sizes are for numbers of steps and for averages

// The number of blocks that each step requested. After `release_after` steps the kept blocks go back to the system.
struct Asked : LoopObserver {
  std::vector<std::int64_t> blocks;
  std::int64_t before = 0, release_after = -1;

  void steps_begin(std::int64_t) override { before = memory_requests(); }
  void step_done(std::int64_t step, const StepReport& report) override {
    CHECK(report.loss > 0);
    blocks.push_back(memory_requests() - before);
    if (step == release_after) release_cached_memory();
    before = memory_requests();
  }
};

std::vector<std::int64_t> asked_by_steps(std::int64_t micro_batch, std::int64_t release_after = -1) {
  const TempFolder folder;
  DitDh net({.input_size = 3, .channels = 4, .width = 16, .depth = 2, .heads = 2, .head_width = 24, .head_depth = 1, .head_heads = 2,
             .classes = classes, .mean_flow = true},
            7);
  DitDh average = clone(net);
  // Each step has the same number of rows with s < t. Otherwise new sizes would occur now and then.
  const MeanFlowConfig config{.pairs = {.diagonal_share = 0.5, .exact_share = true}, .labels = {.probability = 0.3, .null_label = classes}};
  const FlowMapNet u = [&net](const Var& z, const Var& s, const Var& t, const Labels& y) { return net(z, s, t, y); };

  Stage stage = make_stage("mft", net, &average);
  stage.loss = [&](const StepPart& part) {
    const Draws draws{5, static_cast<std::uint32_t>(part.step), consecutive(part.step * rows + part.first, part.count)};  // the step number fits in 32 bits
    const Batch batch{draws.normal({4, 3, 3}, DType::f32, Purpose::sampling), Tensor::full({part.count}, part.step % classes).to(DType::i64), draws};
    const ObjectiveLoss out = loss_on(config, {.net = u}, batch);
    return StepLoss{out.loss, {{"raw_mse", out.metrics.at("raw_mse")}}};
  };
  const LoopConfig loop{.steps = steps, .batch = rows, .micro_batch = micro_batch, .rate = {.peak = 1e-3}, .adamw = {.clip = 1.0}, .log_every = 2,
                        .ckpt_every = steps};
  Asked asked;
  asked.release_after = release_after;
  SingleRank alone;
  release_cached_memory();               // frees blocks that the allocator kept since earlier tests
  CHECK(train(stage, loop, 1, {.out = folder.path()}, alone, asked) == Outcome::finished);
  REQUIRE(asked.blocks.size() == steps);
  return asked.blocks;
}

}  // namespace

TEST_CASE("a MeanFlow step after warm-up requests no memory from the system, with whole batches and with micro-batches") {
  for (const std::int64_t micro_batch : {0, 4}) {
    const std::vector<std::int64_t> blocks = asked_by_steps(micro_batch);
    CHECK(blocks[0] > 0);
    for (std::size_t step = warm; step < blocks.size(); ++step) CHECK_MESSAGE(blocks[step] == 0, "step " << step + 1 << ", micro_batch " << micro_batch);
  }
}

TEST_CASE("after cached memory is released, steps request memory again, so the counter works") {
  const std::vector<std::int64_t> blocks = asked_by_steps(0, 5);
  CHECK(blocks[4] == 0);
  CHECK(blocks[5] > 0);
  CHECK(blocks[7] == 0);
}
