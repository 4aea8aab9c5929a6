// A network and a loss of one's own, trained with checkpoints: a flow from noise to points on a circle.
//
//   own_network OUT [STEP]      trains in OUT/circle, or resumes there; then prints samples. With STEP the process kills itself after that step.
//
// A training that is killed resumes from its newest checkpoint and ends with the same bits. OUT/circle also gets metrics.csv and report.html.
//   c++ -std=c++20 own_network.cpp -o own_network $(pkg-config --cflags --libs flowmap)        (CMake: README.md beside this file)
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <flowmap/flowmap.h>
#include <numbers>

using namespace fm;

constexpr std::uint64_t seed = 1;

struct Net {                             // z (B, 2), t (B, 1) -> velocity (B, 2)
  Linear in{2, 64}, time{1, 64}, hidden{64, 64}, out{64, 2};
  template <class V> void visit(V&& v) {
    v("in", in);
    v("time", time);
    v("hidden", hidden);
    v("out", out);
  }
  Var operator()(const Tensor& z, const Tensor& t) const { return out(silu(hidden(silu(in(z) + time(t))))); }
};

struct PathPoints {                      // all that the loss needs of one step
  Tensor z, t, velocity;
  template <class F> void each_tensor(F&& f) { f(z), f(t), f(velocity); }
  std::int64_t form() const { return 0; }
};

// Points on the lines from data to noise. All numbers follow from the samples' own, so a resumed step and a step on two ranks draw the same.
PathPoints draw(const StepPart& part, std::int64_t batch) {
  const Samples samples = consecutive(part.step * batch + part.first, part.count);
  const Tensor angle = random_uniform_rows(samples, {1}, {seed, 1}) * (2 * std::numbers::pi);
  const Tensor data = cos(angle - Tensor::from(std::vector<float>{0, std::numbers::pi_v<float> / 2}, {1, 2}));
  const Tensor noise = random_normal_rows(samples, {2}, {seed, 2});
  const Tensor t = random_uniform_rows(samples, {1}, {seed, 3});
  return {data + t * (noise - data), t, noise - data};
}

// Follows the velocity from noise (t = 1) to data (t = 0).
Tensor sample(const Net& net, std::int64_t n, int steps = 50) {
  Tensor z = random_normal({n, 2}, {seed, 4});
  for (int i = steps; i > 0; --i) z = z - net(z, Tensor::full({n, 1}, static_cast<double>(i) / steps)).value() * (1.0 / steps);
  return z;
}

int main(int argc, char** argv) {
  if (argc < 2) return std::fprintf(stderr, "own_network OUT [STEP]\n"), 2;
  const std::int64_t kill_at = argc > 2 ? std::atoll(argv[2]) : -1;
  Net net;
  reset_parameters(net, seed);
  Net average = clone(net);
  LoopConfig loop{.steps = 1000, .batch = 256, .rate = {.peak = 3e-3}, .ema = 0.99, .log_every = 50, .ckpt_every = 250};

  Stage stage = make_stage("circle", net, &average);
  stage.fields = list_fields(loop);      // into config.toml and the checkpoints
  stage.set_loss<PathPoints>([&](const StepPart& part) { return draw(part, loop.batch); },
                         [&](const PathPoints& p) { return StepLoss{mean(square(net(p.z, p.t) - p.velocity)), {}}; });
  stage.after_step = [&](std::int64_t step) {
    if (step == kill_at) std::raise(SIGKILL);
  };
  SingleRank alone;
  RunFiles files;
  train(stage, loop, seed, {.out = argv[1]}, alone, files);

  const auto xy = sample(average, 16).to_vector<float>();
  for (std::size_t i = 0; i < xy.size(); i += 2) std::printf("%.9g %.9g\n", xy[i], xy[i + 1]);
}
