// A MeanFlow in the plane: noise becomes one of eight Gaussians in ONE call of a small network. README.md beside this file explains the program.
//   mean_flow_2d [STEPS]
//   c++ -std=c++20 mean_flow_2d.cpp -o mean_flow_2d $(pkg-config --cflags --libs flowmap)      (CMake: README.md)
#include <cstdio>
#include <cstdlib>
#include <flowmap/flowmap.h>

using namespace fm;

int main(int argc, char** argv) {
  const long steps = argc > 1 ? std::atol(argv[1]) : 8000, rows = 256;
  const Points train({.name = "8gaussians"}, Split::train), test({.name = "8gaussians"}, Split::test);

  FlowMlpConfig config;
  config.mean_flow = true;                                          // u(z, s, t), two times, instead of a velocity v(z, t)
  const auto model = std::make_shared<FlowMlp>(config, 1), average = std::make_shared<FlowMlp>(clone(*model));
  AdamW optimizer(named_parameters(*model), {.beta2 = 0.999, .clip = 1});
  optimizer.add_average(named_parameters(*average), 0.999, true);   // samples come from the averaged weights
  const LearningRate rate{.peak = 2e-3, .decay = "cosine", .warmup_steps = 100, .decay_end = steps};

  MeanFlowConfig objective;                                         // |u - sg(w - (t - s) du/dt)|^2, w = noise - data
  objective.pairs.diagonal_share = 0.5;
  objective.pairs.time.upper = 1;
  for (long step = 0; step < steps; ++step) {
    const Samples samples = consecutive(step * rows, rows);
    const Batch batch{train.rows(samples), {}, {.seed = 1, .step = static_cast<std::uint32_t>(step), .samples = samples}};
    Tape tape;
    const ObjectiveLoss loss = loss_on(objective, {.net = model}, batch);
    optimizer.step(backward(loss.loss), {.lr = learning_rate(rate, step)});
    if (step % 1000 == 0) std::printf("step %ld: loss %.4f\n", step, loss.loss.value().item());
  }

  const Samples samples = consecutive(0, 4000);
  const Tensor data = test.rows(samples), noise = random_normal_rows(samples, {2}, {.seed = 7});
  for (const int calls : {1, 2, 4})
    std::printf("calls %d: energy distance %.4f\n", calls, energy_distance(sample_flow_map(average, noise, {}, plain_grid(calls)), data));
  std::printf("map error %.4f\n", map_error(average, eight_gaussians(), noise));
}
