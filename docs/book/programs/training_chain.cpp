// Chapter 11: a weak teacher, CMT, MFD and MFT on eight Gaussians. Prints the error after each stage, and plots the adaptive loss beside the raw error.
//   training_chain [FOLDER]        FOLDER gets training_chain.csv and .svg
#include <utility>

#include "data/points.h"
#include "docs/book/programs/figure.h"
#include "flowmap/gaussian.h"
#include "flowmap/metrics/energy.h"
#include "flowmap/objective/list.h"
#include "flowmap/sampler.h"
#include "flowmap/training/backbones.h"
#include "flowmap/training/stage.h"
#include "tensor/random/fill.h"
#include "tests/support/temp_folder.h"

using namespace fm;

namespace {

constexpr std::int64_t window = 100;                                  // steps whose mean is one point of a curve

struct Means : LoopObserver {                                         // means of raw error and loss over each window
  std::vector<std::pair<double, double>> raw_and_loss;
  double raw = 0, loss = 0;
  void row(std::int64_t step, const LoopNumbers& numbers) override {
    for (const auto& [name, value] : numbers) (name == "raw_mse" ? raw : loss) += name == "raw_mse" || name == "loss" ? value / window : 0;
    if (step % window == 0) raw_and_loss.emplace_back(std::exchange(raw, 0), std::exchange(loss, 0));
  }
};

struct Chain {
  NetworkConfig kind;
  Points data{{.name = "8gaussians"}, Split::train};
  TempFolder folder;
  SingleRank alone;
  Tensor noise = random_normal({2000, 2}, {.seed = 7}), test = Points({.name = "8gaussians"}, Split::test).rows(consecutive(0, 2000)), taught;
  Tensor exact = eight_gaussians().map(noise, Tensor::zeros({2000}), Tensor::ones({2000}), 100);

  // Trains `parts` and returns the network with the averaged weights.
  Network train_stage(const std::string& name, std::int64_t rows, std::int64_t steps, double rate, FlowParts parts, LoopObserver& observer) {
    const LoopConfig loop{.steps = steps, .batch = rows, .rate = {.peak = rate, .decay = "cosine", .warmup_steps = 50, .decay_end = steps},
                          .adamw = {.beta2 = 0.999}, .ema = 0.99, .log_every = 1, .ckpt_every = steps};
    parts.batch = [&](const StepPart& part) { return Batch{data.rows(samples_of(part, rows)), {}, draws_of(part, 1)}; };
    parts.shape = {2};
    FlowStage flow = flow_stage(name, loop, parts);
    train(flow.stage, loop, 1, {.out = folder / "run"}, alone, observer);
    return flow.average;
  }

  Network map_from(const Network& start) const {                      // u(z, s, t); a teacher's weights make it u(z, s, t) = v(z, t)
    const Network map = kind.make(true, 2);
    kind.start(map, {"start", start.state(), -1, nullptr});
    return map;
  }

  void print(const std::string& name, int calls, const Tensor& x) const {
    fmt::print("{:22} {:>5} {:>12.3f} {:>10.3f} {:>10.4f}\n", name, calls, std::sqrt(mean_square_distance(x, taught)), std::sqrt(mean_square_distance(x, exact)),
               energy_distance(x, test));
  }
  void print_map(const std::string& name, const Network& map) const {
    for (const int calls : {1, 2}) print(name, calls, sample_flow_map(map.u(), noise, {}, plain_grid(calls)));
  }
};

std::string csv_of(const Means& means) {                              // column latents: the loss of a row of 196,608 numbers with this raw error
  std::string csv = "step,raw,loss,latents\n";
  for (std::size_t i = 0; i < means.raw_and_loss.size(); ++i) {
    const auto [raw, loss] = means.raw_and_loss[i];
    csv += fmt::format("{},{:.5f},{:.5f},{:.7f}\n", static_cast<std::int64_t>(i + 1) * window, raw, loss, raw * 196608 / (raw * 196608 + 0.01));
  }
  return csv;
}

}  // namespace

int main(int argc, char** argv) {
  return run_chapter(argc, argv, [](const std::string& folder) {
    Chain chain;
    chain.kind.name = "mlp";
    LoopObserver quiet;
    Means mfd_means, mft_means;

    FlowMatchingConfig flow_matching;
    flow_matching.time.upper = 1;
    const Network teacher = chain.train_stage("fm", 256, 400, 2e-3, {make_objective(flow_matching), chain.kind.make(false, 1)}, quiet);
    chain.taught = sample_ode(teacher.v(), chain.noise, {}, plain_grid(100), Solver::heun);
    fmt::print("{:22} {:>5} {:>12} {:>10} {:>10}\n{:22} {:>5} {:>12} {:>10} {:>10}\n", "", "", "distance to", "distance", "energy", "after", "calls", "the teacher",
               "to exact", "distance");
    for (const int calls : {1, 50}) chain.print("teacher, 400 steps", calls, sample_ode(teacher.v(), chain.noise, {}, plain_grid(calls)));
    chain.print_map("its weights as a map", chain.map_from(teacher));

    CmtConfig cmt;
    cmt.points = 17, cmt.pairs = 16;
    Network map = chain.train_stage("cmt", 16, 300, 1e-3, {.objective = make_objective(cmt), .network = chain.map_from(teacher), .batch = {}, .teacher = teacher.v()}, quiet);
    chain.print_map("CMT, 300 steps", map);

    MeanFlowConfig mean_flow;
    mean_flow.pairs.diagonal_share = 0.5, mean_flow.pairs.time.upper = 1, mean_flow.metric.kind = "adaptive";
    map = chain.train_stage("mfd", 256, 1200, 2e-3, {.objective = make_objective(mean_flow), .network = chain.map_from(map), .batch = {}, .velocity = fm::teacher(teacher.v())},
                            mfd_means);
    chain.print_map("MFD, 1200 steps", map);

    mean_flow.metric.kind = "l2";
    map = chain.train_stage("mft", 256, 1200, 2e-3, {.objective = make_objective(mean_flow), .network = chain.map_from(map), .batch = {}, .velocity = one_point()}, mft_means);
    chain.print_map("MFT, 1200 steps", map);

    const auto print_means = [](const std::string& name, const Means& means) {
      const auto& [first, last] = std::pair(means.raw_and_loss.front(), means.raw_and_loss.back());
      fmt::print("{}: raw error {:.4f} to {:.4f}, loss {:.3f} to {:.3f}\n", name, first.first, last.first, first.second, last.second);
    };
    fmt::print("\nmeans of the first and of the last 100 steps\n");
    print_means("MFD, adaptive metric", mfd_means), print_means("MFT, mean square", mft_means);
    if (folder.empty()) return;
    const std::string csv = csv_of(mfd_means);
    Plot plot{.title = "MFD: raw error and adaptive loss", .x_label = "step", .y_label = "mean over 100 steps", .log_y = true, .y_low = 1e-3, .y_high = 10};
    for (const auto& [column, name] : {std::pair{"raw", "raw error"}, {"loss", "loss, rows of 2 numbers"}, {"latents", "loss, rows of 196,608 numbers"}})
      plot.curves.push_back(csv_curve(csv, "step", column, name));
    write_figure(folder, "training_chain", csv, svg_plot(plot));
  });
}
