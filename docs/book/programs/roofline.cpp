// Chapter 8: the roofline of one core, and where products, attention and simple loops of the project lie under it.
//   roofline [FOLDER]        FOLDER gets roofline.csv and .svg
#include <algorithm>
#include <ctime>
#include <functional>

#include "autodiff/var.h"
#include "docs/book/programs/figure.h"
#include "tensor/kernels/cpu/peak.h"
#include "tensor/ops/attention.h"
#include "tensor/ops/matmul.h"
#include "tensor/ops/softmax.h"
#include "tensor/profile.h"
#include "tensor/random/fill.h"

using namespace fm;

namespace {

struct Work {
  std::string group, name;
  std::function<void()> run;
  double flops = 0, bytes = 0;                                        // of one run; each operand and result counts its bytes once
  std::int64_t runs = 1;                                              // number of runs that are timed together
  double seconds = 1e9;                                               // of the fastest run

  double intensity() const { return flops / bytes; }
  double rate() const { return flops / seconds; }
};

Tensor normal(const Shape& shape) { return random_normal(shape, {.seed = 1}); }

// Runs the work once to count its operations and bytes. The profile counts the arithmetic of products alone, so a loop passes its count as own_flops.
Work work(const std::string& group, const std::string& name, std::function<void()> run, double own_flops = 0) {
  Work w{group, name, std::move(run), own_flops};
  Profile profile(ModulePath::current());
  w.run();
  for (const auto& [key, cost] : profile.costs()) w.flops += cost.flops, w.bytes += cost.bytes;
  w.runs = std::max<std::int64_t>(1, static_cast<std::int64_t>(5e7 / w.flops));
  return w;
}

Work adds(std::int64_t n) {                                           // y += a x: each element has two operations, two reads, one write
  const Tensor x = normal({n}), y = normal({n});
  return work("y += a x", fmt::format("y += a x, {} numbers", n), [x, y = y]() mutable { add_into(y, x, 0.5); }, 2.0 * static_cast<double>(n));
}

Work layer(std::int64_t rows) {
  const Tensor x = normal({rows, 4096}), weight = normal({4096, 4096});
  return work("layer", fmt::format("layer of 4096 x 4096, batch {}", rows), [=] { linear(x, weight, {}); });
}

Work square(std::int64_t n) {
  const Tensor a = normal({n, n}), b = normal({n, n});
  return work("square", fmt::format("product of {0} x {0} matrices", n), [=] { matmul(a, b); });
}

// Attention of 8 heads of 64 channels. `in_parts` computes the scores, their softmax and the mean of the values by separate operations.
Work attention_of(std::int64_t tokens, bool in_parts) {
  const Shape shape{1, 8, tokens, 64};
  const Tensor q = normal(shape), k = normal(shape), v = normal(shape);
  if (!in_parts) return work("attention", fmt::format("attention, {} tokens", tokens), [=] { attention(q, k, v); });
  return work("in parts", fmt::format("attention in parts, {} tokens", tokens), [=] { matmul(softmax(matmul(q, k.transpose(2, 3)) * 0.125), v); });
}

void time_in_turn(std::vector<Work>& all, int rounds) {               // in turn, so that a busy moment affects all work alike
  for (int round = 0; round < rounds; ++round)
    for (Work& w : all) {
      const std::clock_t start = std::clock();                        // processor time, which other programs affect little
      for (std::int64_t i = 0; i < w.runs; ++i) w.run();
      w.seconds = std::min(w.seconds, static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC / static_cast<double>(w.runs));
    }
}

std::string svg(const std::vector<Work>& all, double peak, double bandwidth) {
  Plot plot{.title = "Under the roof of one core", .x_label = "intensity, FLOP / byte", .y_label = "GFLOP/s", .log_x = true, .log_y = true};
  plot.curves.push_back({.name = "roof", .x = {0.1, peak / bandwidth, 5000}, .y = {1e-10 * bandwidth, 1e-9 * peak, 1e-9 * peak}});
  for (const Work& w : all) {
    if (plot.curves.back().name != w.group) plot.curves.push_back({.name = w.group, .x = {}, .y = {}, .dashed = true, .markers = true});
    plot.curves.back().x.push_back(w.intensity()), plot.curves.back().y.push_back(1e-9 * w.rate());
  }
  return svg_plot(plot);
}

}  // namespace

int main(int argc, char** argv) {
  return run_chapter(argc, argv, [](const std::string& folder) {
    std::vector<Work> all{adds(1 << 12), adds(1 << 24)};
    for (const std::int64_t rows : {1, 4, 16, 64}) all.push_back(layer(rows));
    for (const std::int64_t n : {16, 32, 64, 128, 256, 512, 1024}) all.push_back(square(n));
    for (const bool in_parts : {false, true})
      for (const std::int64_t tokens : {64, 256, 1024}) all.push_back(attention_of(tokens, in_parts));
    const std::size_t measured = all.size();
    const double flops = cpu::peak_kernels().f32();                   // multiply-adds on registers: the flat part of the roof
    all.push_back({"peak", "", [] { cpu::peak_kernels().f32(); }, flops, 1, 5});
    time_in_turn(all, 5);
    const double peak = all[measured].rate(), bandwidth = all[1].bytes / all[1].seconds;
    all.pop_back();

    fmt::print("{:<36} {:>9} {:>9} {:>11}\n", "counted", "MFLOP", "MB", "FLOP / byte");
    for (const Work& w : all) fmt::print("{:<36} {:9.2f} {:9.2f} {:11.2f}\n", w.name, 1e-6 * w.flops, 1e-6 * w.bytes, w.intensity());
    fmt::print("\ntime: multiply-adds {:.0f} GFLOP/s, memory {:.1f} GB/s, both limits meet at {:.1f} FLOP / byte\n", 1e-9 * peak, 1e-9 * bandwidth, peak / bandwidth);
    std::string csv = "flops,bytes,intensity,time_gflops,time_roof,group,name\n";
    for (const Work& w : all) {
      const double roof = std::min(peak, bandwidth * w.intensity());
      fmt::print("time, {:<36} {:6.1f} GFLOP/s, {:4.0f} % of the roof\n", w.name + ":", 1e-9 * w.rate(), 100 * w.rate() / roof);
      csv += fmt::format("{:.0f},{:.0f},{:.4f},{:.2f},{:.2f},", w.flops, w.bytes, w.intensity(), 1e-9 * w.rate(), 1e-9 * roof) + csv_line({w.group, w.name});
    }
    if (!folder.empty()) write_figure(folder, "roofline", csv, svg(all, peak, bandwidth));
  });
}
