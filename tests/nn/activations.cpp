// activation_bytes against the memory that the tape of a training step keeps.
#include <doctest/doctest.h>

#include "flowmap/objective/flow_matching.h"
#include "flowmap/objective/mean_flow.h"
#include "nn/backbones/dit.h"
#include "nn/backbones/dit_dh.h"
#include "nn/backbones/flow_mlp.h"
#include "tensor/memory/allocator.h"
#include "tests/support/near.h"

using namespace fm;
using fm::test::near;

namespace {

Batch batch_of(const Shape& sample, bool labels, std::int64_t rows) {
  const Samples samples = consecutive(0, rows);
  return {random_normal_rows(samples, sample, {1, 1}), labels ? Tensor::zeros({rows}, DType::i64) : Tensor(), Draws{1, 0, samples}};
}

std::int64_t live() { return static_cast<std::int64_t>(memory_stats().live); }

struct StepMemory {
  std::int64_t kept, peak, parameters;
};

template <class Model, class Config> StepMemory measured(const Config& c, const Shape& sample, std::int64_t rows) {
  const Model model(c, 1);
  const Batch batch = batch_of(sample, c.classes > 0, rows);
  LabelDropout labels;
  labels.null_label = c.classes;
  StepMemory m{0, 0, parameter_count(model)};
  const std::int64_t before = live();
  {
    Tape tape;
    Var loss;
    if (c.mean_flow) {
      MeanFlowConfig config;
      config.labels = labels;
      loss = loss_on(config, {.net = [&](const Var& z, const Var& s, const Var& t, const Labels& y) { return model(z, s, t, y); }}, batch).loss;
    } else {
      FlowMatchingConfig config;
      config.labels = labels;
      loss = loss_on(config, {.net = [&](const Var& z, const Var&, const Var& t, const Labels& y) { return model(z, t, y); }}, batch).loss;
    }
    m.kept = live() - before;
    reset_memory_peak();
    backward(loss);
    m.peak = static_cast<std::int64_t>(memory_stats().peak) - before;
  }
  return m;
}

}  // namespace

TEST_CASE("DiT^DH: the predicted memory of the tape is within 5 %, and the predicted peak is an upper bound") {
  DitDhConfig narrow;
  narrow.input_size = 8, narrow.channels = 48, narrow.width = 96, narrow.depth = 4, narrow.heads = 4, narrow.head_width = 160,
  narrow.head_heads = 4, narrow.classes = 10;
  DitDhConfig wide = narrow;                        // equal widths of backbone and head, patches of 2, a larger MLP
  wide.channels = 16, wide.patch_size = 2, wide.head_width = 96, wide.head_depth = 3, wide.mlp_ratio = 6, wide.rope = false;
  DitDhConfig sequence = wide;                      // a sequence of length 128 in 64 tokens
  sequence.axes = 1, sequence.input_size = 128, sequence.channels = 24, sequence.rope = true;
  for (DitDhConfig c : {narrow, wide, sequence})
    for (const bool mean_flow : {false, true})
      for (const bool recompute : {false, true})
        for (const char* precision : {"f32", "bf16"}) {
          c.mean_flow = mean_flow, c.recompute = recompute, c.precision = precision;
          const StepMemory m = measured<DitDh>(c, c.input_shape(), 8);
          const ActivationBytes a = activation_bytes(c, 8);
          CAPTURE(c.width);
          CAPTURE(mean_flow);
          CAPTURE(recompute);
          CAPTURE(precision);
          CHECK(near(static_cast<double>(a.kept), static_cast<double>(m.kept), 0.05));
          const std::int64_t bound = a.kept + (recompute ? a.one_block : 0) + 4 * m.parameters;       // the parameters' gradients included
          CHECK(m.peak <= bound);
        }
}

TEST_CASE("DiT: the predicted memory of the tape is within 0.1 %, and the predicted peak is an upper bound") {
  DitConfig narrow;
  narrow.input_size = 16, narrow.width = 96, narrow.depth = 4, narrow.heads = 4, narrow.classes = 10;
  DitConfig single = narrow;                        // one position in a token, a larger MLP, more channels
  single.input_size = 8, single.channels = 48, single.patch_size = 1, single.mlp_ratio = 6;
  for (DitConfig c : {narrow, single})
    for (const bool mean_flow : {false, true})
      for (const bool recompute : {false, true})
        for (const char* precision : {"f32", "bf16"}) {
          c.mean_flow = mean_flow, c.recompute = recompute, c.precision = precision;
          const StepMemory m = measured<Dit>(c, {c.channels, c.input_size, c.input_size}, 8);
          const ActivationBytes a = activation_bytes(c, 8);
          CAPTURE(c.patch_size);
          CAPTURE(mean_flow);
          CAPTURE(recompute);
          CAPTURE(precision);
          CHECK(near(static_cast<double>(a.kept), static_cast<double>(m.kept), 1e-3));
          const std::int64_t in_mlp = 2 * 8 * c.tokens() * c.hidden_width() * 4;             // gradients of the first block that the backward pass reaches
          CHECK(m.peak <= a.kept + (recompute ? a.one_block : in_mlp) + 4 * m.parameters);   // the parameters' gradients included
        }
}

TEST_CASE("MLP: the predicted memory of the tape is within 5 %, and the predicted peak is an upper bound") {
  for (const bool mean_flow : {false, true})
    for (const std::int64_t classes : {0, 8}) {
      FlowMlpConfig c;
      c.dim = 12, c.depth = 4, c.mean_flow = mean_flow, c.classes = classes;
      CAPTURE(mean_flow);
      CAPTURE(classes);
      const StepMemory m = measured<FlowMlp>(c, {12}, 256);
      CHECK(near(static_cast<double>(activation_bytes(c, 256).kept), static_cast<double>(m.kept), 0.05));
      CHECK(m.peak <= activation_bytes(c, 256).kept + 4 * m.parameters + 4 * 256 * 2 * c.width);      // gradients of parameters and of one layer
    }
}
