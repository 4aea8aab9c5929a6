// Chapter 12: a training is killed twice, once in the middle of writing a checkpoint, and ends with the bits of a training that was not killed. Then: resuming
// without the moments or with repeated random numbers, and two ranks against one.
//   killed_and_resumed [FOLDER]        FOLDER gets killed_and_resumed.csv and .svg
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "data/points.h"
#include "docs/book/programs/child_process.h"
#include "docs/book/programs/figure.h"
#include "docs/book/programs/step_folders.h"
#include "flowmap/objective/mean_flow.h"
#include "flowmap/training/stage.h"
#include "nn/models/flow_mlp.h"
#include "tensor/collectives/threads.h"
#include "tests/support/temp_folder.h"

using namespace fm;
namespace fs = std::filesystem;

namespace {

constexpr std::int64_t rows = 64, every = 20, steps = 60;              // a checkpoint every 20 steps
constexpr const char* parts[] = {"model", "ema", "optimizer"};

struct Training : LoopObserver {
  std::shared_ptr<FlowMlp> net;
  std::vector<std::vector<double>> weights;                           // after each step of this process
  std::int64_t kill_after = -1, limit_after = -1;                     // after these steps; -1: never
  std::int64_t counts_from = 0;                                       // this step gets the random numbers of step 0

  void run(const fs::path& out, Communicator& ranks, std::uint64_t initial = 1, const std::string& resume = "auto") {
    net = std::make_shared<FlowMlp>(FlowMlpConfig{.width = 64, .mean_flow = true}, initial);
    const LoopConfig loop{.steps = steps, .batch = rows, .rate = {.peak = 1e-2}, .ckpt_every = every, .keep = 3};
    const Points data({.name = "8gaussians"}, Split::train);
    FlowStage flow = flow_stage("map", loop, {.objective = make_objective(MeanFlowConfig{}), .network = Network(net), .batch = [&](StepPart part) {
      part.step -= counts_from;
      return Batch{data.rows(samples_of(part, rows)), {}, draws_of(part, 1)};                // a pure function of the numbers of step and rows
    }});
    train(flow.stage, loop, 1, {.out = out, .resume = resume}, ranks, *this);
  }
  void opening(const TrainingSetup& setup) override { remove_stale_temporaries(setup.options.checkpoints(setup.stage)); }
  void step_done(std::int64_t step, const StepReport&) override {
    std::vector<double>& all = weights.emplace_back();
    for_each_parameter(*net, [&](const std::string&, Parameter& p) { std::ranges::copy(p.value.to_vector<float>(), std::back_inserter(all)); });
    if (step == kill_after) raise(SIGKILL);
    if (step == limit_after) limit_files(8000);
  }
};

// |a - b| / |b| of the weights after this step.
double difference(const Training& a, const Training& b, std::int64_t step) {
  const auto after = [&](const Training& t) -> const std::vector<double>& { return t.weights[t.weights.size() - static_cast<std::size_t>(steps - step) - 1]; };
  double squares = 0, size = 0;
  for (std::size_t k = 0; k < after(a).size(); ++k) squares += std::pow(after(a)[k] - after(b)[k], 2), size += std::pow(after(b)[k], 2);
  return std::sqrt(squares / size);
}

bool same_bytes(const fs::path& a, const fs::path& b) {
  return std::ranges::all_of(parts, [&](const std::string& part) { return read_file(a / (part + ".safetensors")) == read_file(b / (part + ".safetensors")); });
}

void print_contents(const Checkpoint& checkpoint) {
  fmt::print("the checkpoint of step {}\n", checkpoint.step());
  for (const std::string part : parts) {
    std::int64_t numbers = 0;
    for (const auto& [name, tensor] : checkpoint.part(part)) numbers += tensor.numel();
    fmt::print("{:9} {:2} tensors, {:5} numbers\n", part, checkpoint.part(part).size(), numbers);
  }
  std::vector<std::string> keys;
  for (const auto& [key, value] : checkpoint.state().items()) keys.push_back(key);
  fmt::print("state.json: {}\n\n", fmt::join(keys, ", "));
}

}  // namespace

int main(int argc, char** argv) {
  return run_chapter(argc, argv, [](const std::string& folder) {
    const TempFolder runs;
    SingleRank alone;
    Training whole, first, second, resumed, no_moments, repeats, two[2];
    whole.run(runs / "whole", alone);
    const fs::path whole_checkpoints = runs / "whole/map/checkpoints", checkpoints = runs / "killed/map/checkpoints";
    const Checkpoint middle(whole_checkpoints / step_name(every));
    print_contents(middle);

    first.kill_after = 37, second.limit_after = 30;
    for (Training* training : {&first, &second}) {
      const std::string by = killed_by([&] { training->run(runs / "killed", alone); });
      fmt::print("process {}: killed by {}. In the folder: {}\n", training == &first ? 1 : 2, by, fmt::join(step_folders(checkpoints), " "));
    }
    resumed.run(runs / "killed", alone, 99);                          // other initial weights, which the checkpoint replaces
    fmt::print("process 3: makes {} steps. In the folder: {}\n", resumed.weights.size(), fmt::join(step_folders(checkpoints), " "));
    const bool same = same_bytes(checkpoints / step_name(steps), whole_checkpoints / step_name(steps));
    fmt::print("step 60, beside a training that was not killed: {}\n\n", same ? "the same bytes" : "other bytes");

    NamedTensors updates = middle.part("optimizer");
    std::erase_if(updates, [](const auto& entry) { return entry.first != "updates"; });
    CheckpointFolder without(runs / "without/map/checkpoints", 1, 0);
    save_checkpoint(without, every, {{"model", middle.part("model")}, {"ema", middle.part("ema")}, {"optimizer", updates}}, middle.state());
    no_moments.run(runs / "without", alone);
    repeats.counts_from = every;
    repeats.run(runs / "repeats", alone, 1, middle.folder().string());
    run_ranks(2, [&](Communicator& ranks) {                           // each rank is a thread of this process
      omp_set_num_threads(1);
      two[ranks.rank()].run(runs / "ranks", ranks);
    });

    std::string csv = "step,moments,repeats,ranks\n";
    fmt::print("distance of the weights from those of the undisturbed training, relative\nstep  resumed  without moments  numbers repeat  two ranks\n");
    for (std::int64_t step = every + 1; step <= steps; ++step) {
      const double a = difference(resumed, whole, step), b = difference(no_moments, whole, step);
      const double c = difference(repeats, whole, step), d = difference(two[0], whole, step);
      if (step == every + 1 || step % 20 == 0) fmt::print("{:4}  {:7}  {:15.4f}  {:14.4f}  {:9.1e}\n", step, a, b, c, d);
      csv += fmt::format("{},{:.5f},{:.5f},{:.2e}\n", step, b, c, d);
    }
    fmt::print("the two ranks' weights after step 60: {}\n", difference(two[0], two[1], steps) == 0 ? "equal" : "not equal");
    if (folder.empty()) return;
    Plot plot{.title = "Distance from the undisturbed training", .x_label = "step", .y_label = "relative distance of the weights", .log_y = true, .y_low = 1e-8, .y_high = 1e3};
    for (const auto& [column, name] : {std::pair{"moments", "resumed without the moments"}, {"repeats", "random numbers begin again"}, {"ranks", "two ranks"}})
      plot.curves.push_back(csv_curve(csv, "step", column, name));
    write_figure(folder, "killed_and_resumed", csv, svg_plot(plot));
  });
}
