// Chapter 4: one pass of a network gives u, du/dt and the gradient of the loss; finite differences check both derivatives.
//   two_derivatives [FOLDER]        FOLDER gets two_derivatives.csv and .svg
#include "autodiff/jvp.h"
#include "autodiff/rules/elementwise.h"
#include "docs/book/programs/figure.h"
#include "flowmap/path.h"
#include "nn/layers/linear.h"
#include "tensor/random/fill.h"

using namespace fm;

namespace {

constexpr std::int64_t rows = 16;
constexpr DType f64 = DType::f64;                                     // so that differences are exact to eight digits

struct Net {                                                          // u(z, s, t) in the plane
  Linear in{4, 12}, hidden{12, 12}, out{12, 2};
  template <class V> void visit(V&& v) {
    v("in", in);
    v("hidden", hidden);
    v("out", out);
  }
  Var operator()(const Var& z, const Var& s, const Var& t) const {
    return out(tanh(hidden(tanh(in(concat(std::vector<Var>{z, column(s, 2), column(t, 2)}, 1))))));
  }
};

struct Example {
  Net net;
  Tensor z = random_normal({rows, 2}, {.seed = 2}, 0, f64), w = random_normal({rows, 2}, {.seed = 3}, 0, f64);      // a training has w = eps - z0
  Tensor s = random_uniform({rows}, {.seed = 4}, 0, f64) * 0.5, t = s + 0.5;

  Example() {
    reset_parameters(net, 1);
    for_each_parameter(net, [](const std::string&, Parameter& p) { p.value = p.value.to(f64); });
  }
  Tensor target(const Tensor& dudt) const { return w - column(t - s, 2) * dudt; }
  Tensor dudt() const { return jvp(net, at(z, s, t), along(w, zero, 1.0)).second; }
  double loss(const Tensor& fixed_target) const { return mean(square(net(z, s, t).value() - fixed_target)).item(); }

  // (L(weight + h) - L(weight - h)) / 2h for one weight of the hidden layer. If `fixed_target` is undefined, both sides compute their own target.
  double difference(std::int64_t i, const Tensor& fixed_target) {
    const Tensor weight = net.hidden.weight.value.reshape({-1}).slice(0, i, i + 1);      // a view: writing into it changes the network
    const double value = weight.item(), h = 1e-5;
    const auto at_value = [&](double x) { return weight.fill(x), loss(fixed_target.defined() ? fixed_target : target(dudt())); };
    const double slope = (at_value(value + h) - at_value(value - h)) / (2 * h);
    return weight.fill(value), slope;
  }
};

}  // namespace

int main(int argc, char** argv) {
  return run_chapter(argc, argv, [](const std::string& folder) {
    Example x;
    std::size_t plain, constant, taped;
    { Tape tape; x.net(x.z, x.s, x.t); plain = tape.size(); }

    Tensor dudt, target, stopped, through;                            // stopped, through: gradients of the hidden layer's weight
    {
      Tape tape;
      const auto [u, du] = jvp(x.net, at(x.z, x.s, x.t), along(x.w, zero, 1.0));          // Var u, Tensor du
      constant = tape.size();
      dudt = du, target = x.target(du);
      stopped = backward(mean(square(u - target)))[x.net.hidden.weight];
    }
    {
      Tape tape;
      const auto [u, du] = jvp_taped(x.net, at(x.z, x.s, x.t), along(x.w, zero, 1.0));    // both are Vars
      taped = tape.size();
      through = backward(mean(square(u - (x.w - column(x.t - x.s, 2) * du))))[x.net.hidden.weight];
    }
    const double h = 1e-5;
    const auto on_line = [&](double dt) { return x.net(x.z + dt * x.w, x.s, x.t + dt).value(); };
    fmt::print("nodes on the tape: u alone {}, jvp {}, jvp_taped {}\n", plain, constant, taped);
    fmt::print("du/dt: {:.4f} root mean square; equal to a difference, to 1e-8: {}\n", std::sqrt(sum_squares(dudt) / rows),
               distance((on_line(h) - on_line(-h)) / (2 * h), dudt) < 1e-8 ? "yes" : "no");

    std::string csv = "weight,jvp,target_held,jvp_taped,target_moves\n";
    std::vector<double> held, moving;
    const auto a = stopped.to_vector<double>(), b = through.to_vector<double>();
    for (std::size_t i = 0; i < a.size(); ++i) {
      held.push_back(x.difference(static_cast<std::int64_t>(i), target)), moving.push_back(x.difference(static_cast<std::int64_t>(i), {}));
      if (i < 24) csv += fmt::format("{},{:.8f},{:.8f},{:.8f},{:.8f}\n", i, a[i], held[i], b[i], moving[i]);
    }
    const auto gap = [&](const Tensor& gradient, const std::vector<double>& other) { return std::sqrt(sum_squares(gradient - Tensor::from(other, gradient.shape()))); };
    fmt::print("norm of the gradient: {:.4f} with jvp, {:.4f} with jvp_taped\n", gap(stopped, std::vector<double>(a.size())),
               gap(through, std::vector<double>(a.size())));
    fmt::print("jvp, against differences with the target held: equal to 1e-8: {}\n", gap(stopped, held) < 1e-8 ? "yes" : "no");
    fmt::print("jvp_taped, against differences with the target moving: equal to 1e-8: {}\n", gap(through, moving) < 1e-8 ? "yes" : "no");
    fmt::print("jvp and jvp_taped differ by {:.4f}\n", gap(stopped, b));
    if (folder.empty()) return;
    Plot plot{.title = "The gradient with a stop-gradient, and without", .x_label = "weight of the hidden layer", .y_label = "gradient of the loss", .y_low = -0.1, .y_high = 0.25};
    for (const auto& [column, name] : {std::pair{"jvp", "tape, target constant"}, {"target_held", "differences, target held"},
                                       {"jvp_taped", "tape, through the target"}, {"target_moves", "differences, target moving"}}) {
      plot.curves.push_back(csv_curve(csv, "weight", column, name));
      plot.curves.back().dashed = plot.curves.back().markers = plot.curves.size() % 2 == 0;
    }
    write_figure(folder, "two_derivatives", csv, svg_plot(plot));
  });
}
