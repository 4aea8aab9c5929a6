// Every objective of the list whose steps can be recorded: recorded steps end with the same bits as unrecorded ones.
#include <doctest/doctest.h>

#include "tensor/device.h"
#include "tests/flowmap/small_training.h"
#include "tests/support/temp_folder.h"

using namespace fm;
using namespace fm::test;

namespace {

struct Warnings : LoopObserver {
  void warning(const std::string& line) override { all += line + "\n"; }
  std::string all;
};

struct Trained {
  std::vector<std::vector<float>> values;
  std::string warnings;
};

Trained trained(const std::string& objective, bool recorded) {
  const DefaultDevice on(Device::cuda(0));
  LoopConfig loop = small_loop;
  loop.steps = 4;
  FlowParts parts = parts_for(objective_named(objective, true));
  const auto on_host = parts.batch;
  parts.batch = [on_host](const StepPart& rows) {
    Batch b;
    {
      const DefaultDevice here{Device{}};
      b = on_host(rows);
    }
    for (Tensor* x : {&b.z0, &b.y, &b.eps})
      if (x->defined()) *x = x->to(Device::cuda(0));
    return b;
  };
  FlowStage flow = flow_stage("map", loop, parts);
  const TempFolder folder;
  SingleRank alone;
  Warnings observer;
  train(flow.stage, loop, 3, {.out = folder.path(), .cuda_graph = recorded}, alone, observer);
  Trained out{{}, observer.all};
  for (const NamedTensors* part : {&flow.stage.model, &flow.stage.ema, &flow.stage.state})
    for (const auto& [name, tensor] : *part) out.values.push_back(tensor.to_vector<float>());
  return out;
}

}  // namespace

TEST_CASE("recorded steps give the same numbers as direct steps, for every objective that can be recorded") {
  std::int64_t recorded = 0;
  for (const std::string& name : objective_names()) {
    CAPTURE(name);
    if (const std::string why = objective_named(name, true).not_recorded; !why.empty()) continue;
    const Trained plain = trained(name, false), replayed = trained(name, true);
    CHECK(replayed.warnings == "");
    CHECK(plain.values == replayed.values);
    ++recorded;
  }
  CHECK(recorded > 5);
}
