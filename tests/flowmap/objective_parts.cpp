// Every objective of the list in a training: two ranks, and micro-batches, give the weights of one rank with the whole batch.
#include <doctest/doctest.h>

#include "flowmap/training/stage.h"
#include "tensor/collectives/threads.h"
#include "tests/flowmap/small_training.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tensors.h"

using namespace fm;
using namespace fm::test;

namespace {

// The weights after a training in micro-batches on `size` ranks.
NamedTensors trained(const std::string& objective, std::int64_t micro_batch, int size) {
  LoopConfig loop = small_loop;
  loop.micro_batch = micro_batch;
  loop.rate.peak = 2e-3;                       // AdamW turns a rounding error of a gradient near 0 into a share of the rate
  NamedTensors out;
  const TempFolder folder;
  run_ranks(size, [&](Communicator& ranks) {
    FlowStage flow = flow_stage("map", loop, parts_for(objective_named(objective)));
    LoopObserver observer;
    train(flow.stage, loop, 3, {.out = folder.path()}, ranks, observer);
    if (!ranks.first()) return;
    for (const NamedTensors* part : {&flow.stage.model, &flow.stage.ema, &flow.stage.state})
      for (const auto& [name, tensor] : *part) out.emplace_back(name, tensor.clone());
  });
  return out;
}

double difference(const NamedTensors& a, const NamedTensors& b) {
  REQUIRE(a.size() == b.size());
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) worst = std::max(worst, max_difference(a[i].second, b[i].second));
  return worst;
}

}  // namespace

TEST_CASE("every objective trains to the same weights with micro-batches and on two ranks") {
  for (const std::string& name : objective_names()) {
    CAPTURE(name);
    const NamedTensors whole = trained(name, 0, 1);
    CHECK(difference(whole, trained(name, 4, 1)) < 1e-6);
    CHECK(difference(whole, trained(name, 4, 2)) < 1e-6);
    CHECK(difference(whole, trained(name, 0, 2)) < 1e-6);
  }
}
