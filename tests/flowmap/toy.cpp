// The smallest complete case with classes: points with labels, an MLP with a label table, MeanFlow with label dropout, one-call samples.
#include <doctest/doctest.h>

#include <cmath>

#include "data/points.h"
#include "flowmap/metrics/energy.h"
#include "flowmap/objective/mean_flow.h"
#include "flowmap/sampler.h"
#include "nn/models/flow_mlp.h"
#include "nn/optim/adamw.h"
#include "tensor/ops/elementwise.h"
#include "tests/support/near.h"
#include "tests/support/tensors.h"

using namespace fm;
using namespace fm::test;

TEST_CASE("with a label, one call takes the noise to the label's mode; without a label, to all modes") {
  const Points data({}, Split::train);
  FlowMlpConfig config;
  config.mean_flow = true, config.classes = 8, config.width = 64;
  const auto model = std::make_shared<FlowMlp>(config, 1);
  AdamW optimizer(named_parameters(*model), {.clip = 1});
  MeanFlowConfig objective;
  objective.pairs.diagonal_share = 0.5, objective.pairs.time.upper = 1, objective.labels = {0.3, 8};
  for (std::uint32_t step = 0; step < 1200; ++step) {
    const Samples samples = consecutive(step * std::int64_t{128}, 128);
    Tape tape;
    optimizer.step(backward(loss_on(objective, {.net = model}, {data.rows(samples), data.labels(samples), {1, step, samples}}).loss), {.lr = 4e-3 * (1 - step / 1200.0)});
  }
  const Tensor noise = random_normal({300, 2}, {5, 5});
  double error = 0;
  for (std::int64_t k = 0; k < 8; ++k) {
    const auto [x, y] = eight_gaussians_centres()[static_cast<std::size_t>(k)];
    const Tensor made = sample_flow_map(model, noise, Tensor::full({300}, static_cast<double>(k), DType::i64), plain_grid(1));
    const Tensor exact = (noise * eight_gaussians_deviation).to(DType::f64) + Tensor::from<double>({x, y}, {2});      // the map of one Gaussian
    error += mean_square_distance(made, exact) / 8;
  }
  CHECK(error < 0.02);                   // before training the error is 3.7
  const Samples many = consecutive(0, 2000);
  const Tensor any = sample_flow_map(model, random_normal_rows(many, {2}, {6, 6}), {}, plain_grid(4)), wanted = Points({}, Split::test).rows(many);
  CHECK(energy_distance(any, wanted) < 0.045);
}
