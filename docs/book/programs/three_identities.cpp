// Chapter 2: the targets of the three identities for the exact flow map and for a map that is right only for s = t.
//   three_identities [FOLDER]        FOLDER gets three_identities.csv and .svg
#include <algorithm>
#include <array>

#include "autodiff/jvp.h"
#include "data/points.h"
#include "docs/book/programs/figure.h"
#include "flowmap/gaussian.h"
#include "flowmap/path.h"
#include "tensor/random/fill.h"

using namespace fm;

namespace {

constexpr std::int64_t rows = 64;
constexpr double t_value = 0.8;                                       // jumps begin here

Tensor times(double t) { return Tensor::full({rows}, t, DType::f64); }

// u = v(z, t) - (t - s) D u,   D u: along the trajectory, dz/dt = v, dt/dt = 1, s fixed.
Tensor eulerian(const FlowMapNet& u, const VelocityNet& v, const Tensor& z, const Tensor& s, const Tensor& t) {
  const Tensor w = evaluate(v, z, t, {});
  const Tensor du = jvp([&](const Var& a, const Var& b, const Var& c) { return u(a, b, c, {}); }, at(z, s, t), along(w, zero, 1.0)).second;
  return w - column(t - s, 2) * du;
}

// u = v(f, s) + (t - s) du/ds,   f = z - (t - s) u: where the jump ends.
Tensor lagrangian(const FlowMapNet& u, const VelocityNet& v, const Tensor& z, const Tensor& s, const Tensor& t) {
  const auto [at_s, du] = jvp([&](const Var& b) { return u(z, b, t, {}); }, at(s), along(1.0));
  return evaluate(v, moved(z, t - s, at_s.value()), s, {}) + column(t - s, 2) * du;
}

// u = (u(z, m, t) + u(f, s, m)) / 2,   m half way, f = z - (t - m) u(z, m, t).
Tensor semigroup(const FlowMapNet& u, const Tensor& z, const Tensor& s, const Tensor& t) {
  const Tensor m = (s + t) / 2, first = evaluate(u, z, m, t, {});
  return (first + evaluate(u, moved(z, t - m, first), s, m, {})) / 2;
}

// The place on the line from a to b that is nearest to u: 0 at a, 1 at b.
double share_of_the_way(const Tensor& a, const Tensor& b, const Tensor& u) { return sum((u - a) * (b - a)).item() / sum_squares(b - a); }

// The right sides of the three identities.
std::array<Tensor, 3> targets(const FlowMapNet& u, const VelocityNet& v, const Tensor& z, const Tensor& s, const Tensor& t) {
  return {eulerian(u, v, z, s, t), lagrangian(u, v, z, s, t), semigroup(u, z, s, t)};
}

}  // namespace

int main(int argc, char** argv) {
  return run_chapter(argc, argv, [](const std::string& folder) {
    const VelocityNet v = eight_gaussians(DType::f64).v();
    const FlowMapNet exact = average_velocity(v, 100);
    const FlowMapNet wrong = [&](const Var& x, const Var&, const Var& time, const Labels&) { return v(x, time, {}); };      // ignores s
    const Tensor data = Points({.name = "8gaussians"}, Split::test).rows(consecutive(0, rows)).to(DType::f64);
    const Tensor t = times(t_value), z = interpolate(data, random_normal({rows, 2}, {.seed = 3}, 0, DType::f64), t);

    const auto residuals = [&](const FlowMapNet& map, double gap) {   // distances of the map and its three targets from the exact u
      const Tensor end = times(t_value - gap), truth = evaluate(exact, z, end, t, {});
      const auto [e, l, m] = targets(map, v, z, end, t);
      return std::array<double, 4>{distance(evaluate(map, z, end, t, {}), truth), distance(e, truth), distance(l, truth), distance(m, truth)};
    };
    const auto right = residuals(exact, 0.4);
    fmt::print("the exact map, t = 0.8, s = 0.4: every target is u, to 1e-6: {}\n", *std::max_element(right.begin(), right.end()) < 1e-6 ? "yes" : "no");

    std::string csv = "gap,map,eulerian,lagrangian,semigroup\n";
    fmt::print("\nthe map u(z, s, t) := v(z, t), t = 0.8: distance to the exact u\n{:>5}  {:>10}  {:>10}  {:>10}  {:>10}\n", "t - s", "the map", "Eulerian",
               "Lagrangian", "semigroup");
    for (const double gap : {0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4}) {
      const auto [map_itself, e, l, m] = residuals(wrong, gap);
      fmt::print("{:5.3f}  {:10.5f}  {:10.5f}  {:10.5f}  {:10.5f}\n", gap, map_itself, e, l, m);
      csv += fmt::format("{},{:.7f},{:.7f},{:.7f},{:.7f}\n", gap, map_itself, e, l, m);
    }
    const Tensor s = times(t_value - 0.005), u = evaluate(exact, z, s, t, {}), map = evaluate(wrong, z, s, t, {});
    const auto [a, b, c] = targets(wrong, v, z, s, t);
    fmt::print("\nt - s = 0.005: the exact u lies at this share of the way from the map to the target\n");
    fmt::print("Eulerian {:.2f}, Lagrangian {:.2f}, semigroup {:.2f}\n", share_of_the_way(map, a, u), share_of_the_way(map, b, u), share_of_the_way(map, c, u));
    if (folder.empty()) return;
    Plot plot{.title = "A map that is right for s = t alone, and what each identity makes of it", .x_label = "t - s", .y_label = "distance to the exact u",
              .log_x = true, .log_y = true, .y_low = 0.002, .y_high = 30};
    for (const auto& [column, name] : {std::pair{"map", "the map"}, {"eulerian", "Eulerian target"}, {"lagrangian", "Lagrangian target"}, {"semigroup", "semigroup target"}})
      plot.curves.push_back(csv_curve(csv, "gap", column, name)), plot.curves.back().markers = true;
    write_figure(folder, "three_identities", csv, svg_plot(plot));
  });
}
