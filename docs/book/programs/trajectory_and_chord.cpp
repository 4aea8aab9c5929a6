// Chapter 1: trajectories of the exact flow from noise to eight Gaussians, and the chord that one call of the average velocity takes.
//   trajectory_and_chord [FOLDER]        FOLDER gets trajectory_and_chord.csv and .svg
#include <vector>

#include "data/points.h"
#include "data/report/svg_plane.h"
#include "docs/book/programs/figure.h"
#include "flowmap/gaussian.h"
#include "flowmap/path.h"
#include "flowmap/sampler.h"
#include "tensor/random/fill.h"

using namespace fm;

namespace {

constexpr int steps = 40;                                             // of a plotted trajectory

Tensor times(const Tensor& z, double t) { return Tensor::full({z.dim(0)}, t, z.dtype()); }

// Prints the distance to the exact samples for Euler steps on v and for jumps by u.
void print_accuracy(const GaussianMixture& data, const VelocityNet& v, const FlowMapNet& u) {
  const Tensor noise = random_normal({200, 2}, {.seed = 2}, 0, DType::f64), exact = data.map(noise, times(noise, 0), times(noise, 1));
  fmt::print("\nroot mean square distance to the exact sample, 200 samples\n");
  const auto euler = [&](int calls) { return distance(sample_ode(v, noise, {}, plain_grid(calls)), exact); };
  const auto jumps = [&](int calls) { return distance(sample_flow_map(u, noise, {}, plain_grid(calls)), exact); };
  for (const int calls : {1, 2, 4}) fmt::print("calls = {:2}: Euler steps on v {:.4f}, jumps by u {:.4f}\n", calls, euler(calls), jumps(calls));
  for (const int calls : {16, 64}) fmt::print("calls = {:2}: Euler steps on v {:.4f}\n", calls, euler(calls));
}

// The trajectory from each noise, and the point of its chord at the same time: path,t,x,y,chord_x,chord_y.
std::string csv_of(const std::vector<Tensor>& states, const Tensor& noise, const Tensor& u) {
  std::string csv = "path,t,x,y,chord_x,chord_y\n";
  for (std::int64_t path = 0; path < noise.dim(0); ++path)
    for (std::size_t k = 0; k < states.size(); ++k) {
      const double t = 1 - static_cast<double>(k) / steps;
      const auto z = states[k].select(0, path).to_vector<double>(), chord = (noise - (1 - t) * u).select(0, path).to_vector<double>();
      csv += fmt::format("{},{:.3f},{:.5f},{:.5f},{:.5f},{:.5f}\n", path, t, z[0], z[1], chord[0], chord[1]);
    }
  return csv;
}

}  // namespace

int main(int argc, char** argv) {
  return run_chapter(argc, argv, [](const std::string& folder) {
    const GaussianMixture data = eight_gaussians(DType::f64);
    const VelocityNet v = data.v();                                   // in closed form
    const FlowMapNet u = average_velocity(v, 100);                    // the mean of v along the trajectory, by 100 Runge-Kutta steps
    const Tensor noise = random_normal({8, 2}, {.seed = 5}, 0, DType::f64), start = times(noise, 1), end = times(noise, 0);

    const Tensor velocity = evaluate(v, noise, start, {}), average = evaluate(u, noise, end, start, {});      // one call each
    const Tensor exact = data.map(noise, end, start);
    const auto point = [](const Tensor& x, std::int64_t row) {
      const auto p = x.select(0, row).to_vector<double>();
      const auto rounded = [](double value) { return std::round(value * 1000) / 1000 + 0.0; };        // no -0.000
      return fmt::format("({:6.3f}, {:6.3f})", rounded(p[0]), rounded(p[1]));
    };
    fmt::print("{:16}  {:16}  {:16}  {}\n", "noise e", "e - v(e, 1)", "e - u(e, 0, 1)", "exact sample");
    for (std::int64_t i = 0; i < noise.dim(0); ++i)
      fmt::print("{}  {}  {}  {}\n", point(noise, i), point(noise - velocity, i), point(noise - average, i), point(exact, i));
    print_accuracy(data, v, u);

    const FlowMapNet short_jump = average_velocity(v, 5);             // for one of the 40 pieces of a plotted trajectory
    std::vector<Tensor> states{noise};
    for (int k = 0; k < steps; ++k) {
      const Tensor t = times(noise, 1 - static_cast<double>(k) / steps), s = times(noise, 1 - static_cast<double>(k + 1) / steps);
      states.push_back(moved(states.back(), t - s, evaluate(short_jump, states.back(), s, t, {})));
    }
    if (folder.empty()) return;
    const Tensor points = Points({.name = "8gaussians"}, Split::test).rows(consecutive(0, 400));
    write_figure(folder, "trajectory_and_chord", csv_of(states, noise, average),
                 svg_paths({{.title = "Trajectories, and the chord of each"}, point_group("data", points), flow_paths(states, noise - average)}));
  });
}
