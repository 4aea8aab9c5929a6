// A user's own network and objective, trained with checkpoints: one call of the network takes noise to a point on a circle.
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

struct Net {                             // u(z, s, t): z (B, 2), times (B) -> average velocity over [s, t] (B, 2)
  struct { bool mean_flow = true; } config;                // true: u(z, s, t); false: v(z, t)
  Linear in{4, 64}, hidden{64, 64}, out{64, 2};
  template <class V> void visit(V&& v) {
    v("in", in);
    v("hidden", hidden);
    v("out", out);
  }
  Var operator()(const Var& z, const Var& s, const Var& t, const Labels&) const {
    return out(silu(hidden(silu(in(concat(std::vector<Var>{z, column(s, 2), column(t, 2)}, 1))))));
  }
  Var operator()(const Var& z, const Var& t, const Labels& y) const { return (*this)(z, t, t, y); }
};

// u fits w - (t - s) du/dt with a difference in place of the derivative, (u(z, s, t) - u(z - h w, s, t - h)) / h. A Tensor has no history, so the target
// gets no gradient. All random numbers are drawn in `draw`.
Objective by_difference() {
  const PairConfig pairs{.diagonal_share = 0.5};
  return {.draw = [=](const Batch& batch, const Nets&, const TrainingStep&) { return Drawn{draw_path_batch(batch, pairs, {}), {}}; },
          .loss = [](const Nets& nets, const Drawn& drawn) {
            const PathBatch& p = drawn.p;
            const Tensor w = p.eps - p.z0, h = Tensor::full(p.t.shape(), 0.01);
            const Var u = nets.net(p.z, p.s, p.t, p.y);
            const Tensor before = evaluate(nets.net, moved(p.z, h, w), p.s, p.t - h, p.y);
            const Tensor target = w - column((p.t - p.s) / h, 2) * (u.value() - before);
            return report(measure(u - target, {}), p.s, p.t, p.off_diagonal);
          },
          .not_recorded = pairs.varies("pairs")};
}

int main(int argc, char** argv) {
  if (argc < 2) return std::fprintf(stderr, "own_network OUT [STEP]\n"), 2;
  const std::int64_t kill_at = argc > 2 ? std::atoll(argv[2]) : -1;
  const auto net = std::make_shared<Net>();
  reset_parameters(*net, seed);
  LoopConfig loop{.steps = 1000, .batch = 256, .rate = {.peak = 2e-2, .decay = "cosine", .decay_end = 1000}, .ema = 0.99, .log_every = 50, .ckpt_every = 250};
  const auto circle = [&](const StepPart& part) {          // a point depends only on its sample number: also in a resumed step and on two ranks
    const Tensor angle = random_uniform_rows(samples_of(part, loop.batch), {1}, {seed, 1}) * (2 * std::numbers::pi);
    return Batch{cos(angle - Tensor::from(std::vector<float>{0, std::numbers::pi_v<float> / 2}, {1, 2})), {}, draws_of(part, seed)};
  };

  FlowStage flow = flow_stage("circle", loop, {.objective = by_difference(), .network = Network(net), .batch = circle});
  flow.stage.fields = list_fields(loop);                   // are written to config.toml and the checkpoints
  flow.stage.after_step = [&](std::int64_t step) {
    if (step == kill_at) std::raise(SIGKILL);
  };
  SingleRank alone;
  RunFiles files;
  train(flow.stage, loop, seed, {.out = argv[1]}, alone, files);

  const auto xy = sample_flow_map(flow.average.u(), random_normal({16, 2}, {seed, 4}), {}, plain_grid(1)).to_vector<float>();
  for (std::size_t i = 0; i < xy.size(); i += 2) std::printf("%.9g %.9g\n", xy[i], xy[i + 1]);
}
