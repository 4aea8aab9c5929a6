// Chapter 5: the cost of a MeanFlow step in which a share q of the rows needs du/dt. Counts arithmetic and times steps.
//   rows_first [FOLDER]        FOLDER gets rows_first.csv and .svg
#include <algorithm>
#include <ctime>
#include <map>

#include "docs/book/programs/figure.h"
#include "flowmap/objective/mean_flow.h"
#include "nn/models/flow_mlp.h"
#include "tensor/profile.h"

using namespace fm;

namespace {

constexpr std::int64_t rows = 256;

struct Step {                                                         // one loss and its gradient
  MeanFlowConfig objective;
  FlowMapNet net;
  Batch batch;

  Step(const FlowMapNet& network, const std::string& derivative, double q)
      : net(network), batch{random_normal({rows, 2}, {.seed = 1}), {}, {.seed = 1, .step = 0, .samples = consecutive(0, rows)}} {
    objective.derivative.kind = derivative;
    objective.pairs.diagonal_share = 1 - q;                           // rows with s = t; the other rows come first
    objective.pairs.exact_share = true;
  }
  void operator()() const {
    Tape tape;
    backward(loss_on(objective, {.net = net}, batch).loss);
  }
};

// Operations of a step in each phase: forward, tangent, backward.
std::map<std::string, double> flops(const Step& step) {
  Profile profile(ModulePath::current());
  step();
  std::map<std::string, double> sums;
  for (const auto& [key, cost] : profile.costs()) sums[key.phase] += cost.flops;
  return sums;
}

double seconds(const Step& step) {                                    // processor time, which other programs affect little
  const std::clock_t start = std::clock();
  step();
  return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
}

}  // namespace

int main(int argc, char** argv) {
  return run_chapter(argc, argv, [](const std::string& folder) {
    FlowMlpConfig config;
    config.mean_flow = true, config.width = 512, config.depth = 4;
    const FlowMapNet net = std::make_shared<FlowMlp>(config, 1);
    const double pass = flops({net, "jvp", 0}).at("forward");         // one pass of all rows

    struct Row { double q; Step jvp, difference; std::vector<double> jvp_times = {}, difference_times = {}; };
    std::vector<Row> table;
    for (const double q : {0.0, 0.25, 0.5, 1.0}) table.push_back({q, {net, "jvp", q}, {net, "central", q}});
    std::string csv = "q,forward,tangent,backward,jvp,difference\n";
    fmt::print("passes over the batch, counted in multiply-adds\n{:>5} {:>9} {:>9} {:>9} {:>9} {:>12}\n", "q", "forward", "tangent", "backward", "jvp", "difference");
    for (const Row& row : table) {
      auto a = flops(row.jvp), b = flops(row.difference);
      const double jvp = (a["forward"] + a["tangent"] + a["backward"]) / pass, difference = (b["forward"] + b["backward"]) / pass;
      fmt::print("{:5.2f} {:9.3f} {:9.3f} {:9.3f} {:9.3f} {:12.3f}\n", row.q, a["forward"] / pass, a["tangent"] / pass, a["backward"] / pass, jvp, difference);
      csv += fmt::format("{},{:.6f},{:.6f},{:.6f},{:.6f},{:.6f}\n", row.q, a["forward"] / pass, a["tangent"] / pass, a["backward"] / pass, jvp, difference);
    }

    for (int round = 0; round < 15; ++round)                          // in turn, so that a busy moment affects all steps alike
      for (Row& row : table) row.jvp_times.push_back(seconds(row.jvp)), row.difference_times.push_back(seconds(row.difference));
    const auto fastest = [](const std::vector<double>& times) { return *std::min_element(times.begin(), times.end()); };
    fmt::print("\nprocessor time of the fastest of 15 steps, in units of a third of the step with q = 0\n");
    const double one = fastest(table[0].jvp_times) / 3;
    for (const Row& row : table)
      fmt::print("time, q = {:.2f}: jvp {:.2f} passes, difference {:.2f} passes\n", row.q, fastest(row.jvp_times) / one, fastest(row.difference_times) / one);
    if (folder.empty()) return;
    Plot plot{.title = "Cost of a step, in passes over the batch", .x_label = "q, share of rows with s < t", .y_label = "passes", .y_low = 2.5, .y_high = 6};
    plot.curves = {csv_curve(csv, "q", "jvp", "exact derivative (jvp)"), csv_curve(csv, "q", "difference", "central difference")};
    for (Curve& curve : plot.curves) curve.markers = true;
    write_figure(folder, "rows_first", csv, svg_plot(plot));
  });
}
