// Chapter 6: the error of a central difference against its step, in f64, f32 and bf16, beside the error of the exact derivative.
//   exact_or_differences [FOLDER]        FOLDER gets exact_or_differences.csv and .svg
#include <array>

#include "docs/book/programs/figure.h"
#include "flowmap/derivative.h"
#include "nn/models/dit_dh.h"
#include "tensor/random/fill.h"

using namespace fm;

namespace {

constexpr std::int64_t rows = 8;

// A small DiT^DH of type "f64", "f32" or "bf16". All types have the same weights, none of them 0, as after some training.
std::shared_ptr<DitDh> network(const std::string& type) {
  DitDhConfig config;
  config.input_size = 4, config.channels = 8, config.classes = 10, config.mean_flow = true;
  config.width = 64, config.depth = 2, config.heads = 2, config.head_width = 64, config.head_depth = 1, config.head_heads = 2;
  config.precision = type == "bf16" ? "bf16" : "f32";                 // "f32" computes in the parameters' type, here f32 or f64
  const auto net = std::make_shared<DitDh>(config, 1);
  std::uint32_t number = 0;
  for_each_parameter(*net, [&](const std::string&, Parameter& p) {
    p.value = p.value + 0.05 * random_normal(p.value.shape(), RandomKey{7, number++});
    if (type == "f64") p.value = p.value.to(DType::f64);
  });
  return net;
}

FlowPoint point(DType dtype) {
  const Tensor s = random_uniform({rows}, {.seed = 3}) * 0.4;
  return {random_normal({rows, 8, 4, 4}, {.seed = 2}).to(dtype), s.to(dtype), (s + 0.3).to(dtype), Tensor::arange(rows, DType::i64), {}, {}};
}

Tensor derivative(const std::string& type, const DerivativeConfig& config) {
  const DType dtype = type == "f64" ? DType::f64 : DType::f32;
  const Tensor w = random_normal({rows, 8, 4, 4}, {.seed = 4}).to(dtype);
  return differentiate(network(type), point(dtype), w, config).dudt.to(DType::f64);
}

}  // namespace

int main(int argc, char** argv) {
  return run_chapter(argc, argv, [](const std::string& folder) {
    const Tensor exact = derivative("f64", {"jvp"});
    const auto error = [&](const std::string& type, const DerivativeConfig& config) {
      return distance(derivative(type, config), exact) / distance(exact, Tensor::zeros(exact.shape(), DType::f64));
    };
    const std::array<double, 3> jvp{error("f64", {"jvp"}), error("f32", {"jvp"}), error("bf16", {"jvp"})};
    std::string csv = "step,f64,f32,bf16,jvp_f32,jvp_bf16\n";
    fmt::print("error of du/dt, relative to the exact derivative in f64\n{:>16} {:>9} {:>9} {:>9}\n", "step", "f64", "f32", "bf16");
    for (const double step : {1e-4, 3e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.2}) {
      const DerivativeConfig config{"central", step, false};
      const double f64 = error("f64", config), f32 = error("f32", config), bf16 = error("bf16", config);
      fmt::print("{:16} {:9.1e} {:9.1e} {:9.1e}\n", step, f64, f32, bf16);
      csv += fmt::format("{},{:.4e},{:.4e},{:.4e},{:.4e},{:.4e}\n", step, f64, f32, bf16, jvp[1], jvp[2]);
    }
    fmt::print("{:>16} {:9.1e} {:9.1e} {:9.1e}\n", "exact (jvp)", jvp[0], jvp[1], jvp[2]);
    if (folder.empty()) return;
    Plot plot{.title = "Error of du/dt by the step of the difference", .x_label = "step", .y_label = "relative error", .log_x = true, .log_y = true, .y_low = 1e-7, .y_high = 1e5};
    for (const auto& [column, name] : {std::pair{"f64", "difference, f64"}, {"f32", "difference, f32"}, {"bf16", "difference, bf16"}})
      plot.curves.push_back(csv_curve(csv, "step", column, name)), plot.curves.back().markers = true;
    for (const auto& [column, name] : {std::pair{"jvp_f32", "exact (jvp), f32"}, {"jvp_bf16", "exact (jvp), bf16"}})
      plot.curves.push_back(csv_curve(csv, "step", column, name)), plot.curves.back().dashed = true;
    write_figure(folder, "exact_or_differences", csv, svg_plot(plot));
  });
}
