// Chapter 7: what follows from the struct that defines silu: kernels for each instruction set, tangent, pullback, second derivative, checks.
//   one_operation [FOLDER]        FOLDER gets one_operation.csv and .svg
#include <algorithm>
#include <ctime>
#include <functional>

#include "autodiff/check.h"
#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/linear.h"
#include "docs/book/programs/figure.h"
#include "tensor/kernels/cpu/isa.h"
#include "tensor/random/fill.h"

using namespace fm;

namespace {

void print_struct() {                                                 // the struct on single numbers of each type T
  const float f = Silu::value(1.5f);
  const double value = Silu::value(1.5), slope = Silu::slope(1.5);
  const Dual<double> d = Silu::value(Dual<double>(1.5, 1.0)), second = Silu::slope(Dual<double>(1.5, 1.0));
  fmt::print("the struct at x = 1.5\nT = float: value {:.6f}\nT = double: value {:.6f}, slope {:.6f}\n", f, value, slope);
  fmt::print("T = Dual<double>: value {:.6f}, its tangent {:.6f}, tangent of the slope {:.6f}\n\n", d.v, d.d, second.d);
}

double nanoseconds(std::int64_t numbers, const std::function<void()>& f) {      // processor time per number in the fastest of 100 runs
  double best = 1e9;
  for (int run = 0; run < 100; ++run) {
    const std::clock_t start = std::clock();
    f();
    best = std::min(best, 1e9 * static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC / static_cast<double>(numbers));
  }
  return best;
}

void print_kernels() {                                                // the same loop, compiled for three instruction sets
  const Tensor x = random_normal({1 << 16}, {.seed = 1}) * 3.0;
  const std::vector<float> in = x.to_vector<float>();
  std::vector<float> out(in.size());
  const double library = nanoseconds(x.numel(), [&] { for (std::size_t i = 0; i < in.size(); ++i) out[i] = in[i] / (1 + std::exp(-in[i])); });
  const Tensor exact = silu(x.to(DType::f64));
  const cpu::Isa best = cpu::active_isa();
  bool good = true;
  fmt::print("machine, a loop over the C library's expf: {:.2f} ns a number\n", library);
  for (const cpu::Isa isa : {cpu::Isa::base, cpu::Isa::avx2, cpu::Isa::avx512}) {
    if (!cpu::isa_supported(isa)) { fmt::print("machine, {}: not in this processor\n", cpu::isa_name(isa)); continue; }
    cpu::set_active_isa(isa);
    const double error = max(abs(silu(x).to(DType::f64) / exact - 1.0), 0).item();
    good = good && error < 1e-6;
    const double time = nanoseconds(x.numel(), [&] { silu(x); });
    fmt::print("machine, {}: {:.2f} ns a number, error {:.1e}{}\n", cpu::isa_name(isa), time, error, isa == best ? " (runs here)" : "");
  }
  cpu::set_active_isa(best);
  fmt::print("f32 is within 1e-6 of f64 on all of them: {}\n\n", good ? "yes" : "no");
}

struct Derivatives { Tensor value, tangent, pull, second; };          // of silu at x, for a direction and a cotangent of ones

Derivatives by_rules(const Tensor& x) {
  Tape tape;
  const Var leaf = tape.variable(x);
  const auto [y, dy] = jvp_taped([](const Var& v) { return silu(v); }, at(leaf), along(1.0));       // dy is recorded
  const Tensor value = y.value(), tangent = dy.value(), second = backward(sum(dy))[leaf];
  Tape another;
  const Var again = another.variable(x);
  return {value, tangent, backward(sum(silu(again)))[again], second};
}

}  // namespace

int main(int argc, char** argv) {
  return run_chapter(argc, argv, [](const std::string& folder) {
    print_struct();
    print_kernels();

    const double h = 1e-4;
    const Tensor x = (Tensor::arange(49).to(DType::f64) - 24.0) * 0.25;
    const Derivatives d = by_rules(x);
    const Tensor slope = (silu(x + h) - silu(x - h)) / (2 * h), bend = (silu(x + h) - 2.0 * silu(x) + silu(x - h)) / (h * h);
    std::string csv = "x,value,tangent,pull,difference,second,second_difference\n";
    fmt::print("{:>5} {:>9} {:>9} {:>9} {:>11} {:>9} {:>11}\n", "x", "value", "tangent", "pull", "difference", "second", "difference");
    for (std::int64_t i = 0; i < x.numel(); ++i) {
      const auto of = [&](const Tensor& t) { return t.select(0, i).item(); };
      csv += fmt::format("{},{:.6f},{:.6f},{:.6f},{:.6f},{:.6f},{:.5f}\n", of(x), of(d.value), of(d.tangent), of(d.pull), of(slope), of(d.second), of(bend));
      if (i % 8 == 0) fmt::print("{:5.1f} {:9.5f} {:9.5f} {:9.5f} {:11.5f} {:9.5f} {:11.5f}\n", of(x), of(d.value), of(d.tangent), of(d.pull), of(slope), of(d.second), of(bend));
    }

    bool passed = true;                                               // a failed check throws
    UnaryOps::for_each([&]<class Op>(Op) {
      for (const CheckReport& r : check_all([](const std::vector<Var>& v) { return unary<Op>(v[0]); }, {sample_uniform({4, 5}, 0.3, 2, 1)}, {.name = op_name(Op{})}))
        passed = passed && r.passed();
    });
    fmt::print("\npush, pull, taped tangent and first rows of every operation in the list agree with differences: {}\n", passed ? "yes" : "no");
    if (folder.empty()) return;
    Plot plot{.title = "silu and its derivatives, all from one struct", .x_label = "x", .y_label = "", .y_low = -0.5, .y_high = 2.5};
    for (const auto& [column, name] : {std::pair{"value", "value"}, {"tangent", "tangent (dx = 1)"}, {"second", "second derivative"},
                                       {"difference", "difference of values"}, {"second_difference", "second difference"}}) {
      plot.curves.push_back(csv_curve(csv, "x", column, name));
      plot.curves.back().dashed = plot.curves.back().markers = plot.curves.size() > 3;
    }
    write_figure(folder, "one_operation", csv, svg_plot(plot));
  });
}
