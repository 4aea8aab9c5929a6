// Chapter 3: numbers with and without a history; what a tape records, and the memory that it keeps.
//   tensor_and_var [FOLDER]        FOLDER gets tensor_and_var.csv and .svg
#include <map>

#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/linear.h"
#include "docs/book/programs/figure.h"
#include "nn/layers/linear.h"
#include "tensor/memory/allocator.h"
#include "tensor/random/fill.h"

using namespace fm;

namespace {

constexpr std::int64_t rows = 256, width = 64, depth = 12;

struct Net {                                                          // 12 times: linear, tanh
  std::vector<Linear> layers;
  Net() {
    for (int i = 0; i < depth; ++i) layers.emplace_back(width, width, false);
    reset_parameters(*this, 1);
  }
  template <class V> void visit(V&& v) { v("layers", layers); }
};

double live_kib() { return static_cast<double>(memory_stats().live) / 1024; }

// Runs the network and appends the live memory above `base`, in KiB, after each layer.
Var forward(const Net& net, const Tensor& x, double base, std::vector<double>& kib) {
  Var h = x;
  for (const Linear& layer : net.layers) {
    h = tanh(layer(h));
    kib.push_back(live_kib() - base);
  }
  return h;
}

void show_views() {
  const Tensor a = Tensor::arange(6).reshape({2, 3}), second_row = a.slice(0, 1, 2), turned = a.transpose(0, 1);
  second_row.fill(7);                                                 // a view: the same memory
  fmt::print("a after filling its second row through a view:");
  for (const float x : a.to_vector<float>()) fmt::print(" {}", x);
  fmt::print("\nstrides of a: {} {}, of its transpose: {} {}\n\n", a.strides()[0], a.strides()[1], turned.strides()[0], turned.strides()[1]);
}

void show_tape() {
  const Parameter w{Tensor::from<double>({1, 2, 3, 4}, {2, 2})};
  const Tensor x = Tensor::from<double>({1, -1}, {1, 2});
  const Var without = sum(square(linear(x, w)));
  Tape tape;
  const Var y = linear(x, w), loss = sum(square(y));
  const Tensor constant = y.value() * 2.0;                            // computed from a Tensor: not recorded
  fmt::print("loss {}, on a tape: {}; computed before the tape: {}, on a tape: {}\nthe tape:\n{}", loss.value().item(), loss.on_tape(), without.value().item(),
             without.on_tape(), tape.to_string());
  fmt::print("gradient of w:");
  for (const double g : backward(loss)[w].to_vector<double>()) fmt::print(" {}", g);
  fmt::print("\n\n");
}

}  // namespace

int main(int argc, char** argv) {
  return run_chapter(argc, argv, [](const std::string& folder) {
    show_views();
    show_tape();

    const Net net;
    const Tensor x = random_normal({rows, width}, {.seed = 1});
    std::vector<double> recorded, plain;
    std::map<const Parameter*, double> backward_kib;                  // measured when the gradient of a layer's weight is complete
    const double base = live_kib();
    forward(net, x, base, plain);
    {
      Tape tape;
      const Var loss = mean(square(forward(net, x, base, recorded)));
      backward(loss, [&](const Parameter& p, Tensor&) { backward_kib[&p] = live_kib() - base; });
    }
    std::string csv = "layer,without_tape,with_tape,backward\n";
    for (std::size_t i = 0; i < plain.size(); ++i)
      csv += fmt::format("{},{:.1f},{:.1f},{:.1f}\n", i + 1, plain[i], recorded[i], backward_kib.at(&net.layers[i].weight));
    fmt::print("memory of {} layers, above that of the weights and the input, in KiB; one activation has {}\n", depth, rows * width * 4 / 1024);
    fmt::print("after the last layer: {:.0f} without a tape, {:.0f} with a tape\n", plain.back(), recorded.back());
    fmt::print("in the backward pass, at the first layer: {:.0f}, of which gradients of weights {}\n", backward_kib.at(&net.layers[0].weight),
               depth * width * width * 4 / 1024);
    if (folder.empty()) return;
    Plot plot{.title = "Memory by layer", .x_label = "layer", .y_label = "KiB above weights and input", .y_low = 0, .y_high = 1300};
    plot.curves = {csv_curve(csv, "layer", "without_tape", "forward, without a tape"), csv_curve(csv, "layer", "with_tape", "forward, with a tape"),
                   csv_curve(csv, "layer", "backward", "backward (from right to left)")};
    for (Curve& curve : plot.curves) curve.markers = true;
    write_figure(folder, "tensor_and_var", csv, svg_plot(plot));
  });
}
