#include "flowmap/training/plane_pictures.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "data/report/svg_plane.h"
#include "flowmap/path.h"
#include "flowmap/sampler.h"
#include "flowmap/training/generator.h"
#include "tensor/error.h"
#include "tensor/ops/copy.h"
#include "tensor/ops/index.h"

namespace fm {
namespace {

constexpr int ode_steps = 50;                    // Heun steps of a trajectory; each takes two calls
constexpr std::int64_t arrows = 13, cells = 48;  // arrows and cells along a side of a plot

// Returns the square around the test points, enlarged on each side by `share` of its side. The square contains at least [-least, least]^2.
PlaneFrame square_around(const Tensor& test, double share, double least) {
  double low[] = {INFINITY, INFINITY}, high[] = {-INFINITY, -INFINITY};
  const std::vector<double> values = test.to_vector<double>();
  for (std::size_t i = 0; i < values.size(); ++i)
    if (std::isfinite(values[i])) low[i % 2] = std::min(low[i % 2], values[i]), high[i % 2] = std::max(high[i % 2], values[i]);
  for (int d : {0, 1}) {
    if (!(low[d] <= high[d])) low[d] = -1, high[d] = 1;
    if (least > 0) low[d] = std::min(low[d], -least), high[d] = std::max(high[d], least);
  }
  const double half = std::max({0.5 * (high[0] - low[0]), 0.5 * (high[1] - low[1]), 1e-6}) * (1 + 2 * share);
  const double x = 0.5 * (low[0] + high[0]), y = 0.5 * (low[1] + high[1]);
  return {.title = "", .x_label = "z[0]", .y_label = "z[1]", .x_low = x - half, .x_high = x + half, .y_low = y - half, .y_high = y + half};
}

// Returns a grid of places for arrows, with a margin so that the outermost arrows stay in the frame.
Tensor arrow_places(PlaneFrame frame) {
  constexpr double n = arrows;
  const double margin = 0.5 * (frame.x_high - frame.x_low) * (1 - n / (n + 1.4));
  frame.x_low += margin, frame.x_high -= margin, frame.y_low += margin, frame.y_high -= margin;
  return cell_centres(frame, arrows, arrows);
}

PlaneFrame titled(PlaneFrame frame, std::string title) {
  frame.title = std::move(title);
  return frame;
}

std::string calls_text(int calls) { return calls == 1 ? "1 call" : fmt::format("{} calls", calls); }

Tensor times(double t, const Tensor& z) { return Tensor::full({z.dim(0)}, t, z.dtype(), z.device()); }

// The label for which fields are plotted: that of the first test point.
std::int64_t shown_label(const PlaneRun& run) { return run.labels.slice(0, 0, 1).to_vector<std::int64_t>()[0]; }
Labels one_label(const PlaneRun& run, std::int64_t rows) {
  return run.labels.defined() ? Tensor::from(std::vector<std::int64_t>(static_cast<std::size_t>(rows), shown_label(run)), {rows}) : Labels();
}
std::string label_text(const PlaneRun& run) { return run.labels.defined() ? fmt::format(" The plot is for label {}.", shown_label(run)) : ""; }

Tensor one_call(const PlaneMap& map, const Tensor& noise, const Labels& y) { return flow_map_generator(map.u, 1, map.jumps)(noise, y); }

}  // namespace

Tensor ExactFlow::map(const Tensor& noise, const Labels& y, double s) const {
  const DefaultDevice host{Device{}};
  const Tensor z = noise.to(Device{}).to(DType::f64), to = times(s, z), from = times(1, z);
  if (!y.defined()) return mixture_.map(z, to, from).to(noise.dtype()).to(noise.device());
  std::vector<Tensor> means, deviations;
  for (const GaussianMixture::Component& c : mixture_.components) {
    means.push_back(c.mean.to(Device{}).to(DType::f64).unsqueeze(0));
    deviations.push_back(c.deviation.to(Device{}).to(DType::f64).unsqueeze(0));
  }
  for (const std::int64_t label : y.to_vector<std::int64_t>())
    if (label < 0 || label >= std::ssize(means))
      throw ConfigError(fmt::format("label {}: the exact flow has the labels 0 to {}; leave the exact flow out", label, std::ssize(means) - 1));
  const Tensor index = y.to(Device{});
  const GaussianFlow rows{gather(concat(means, 0), index), gather(concat(deviations, 0), index)};      // one Gaussian for each row
  return rows.map(z, to, from).to(noise.dtype()).to(noise.device());
}

PlaneFrame data_frame(const Tensor& test) { return square_around(test, 0.06, 0); }
PlaneFrame noise_frame(const Tensor& test) { return square_around(test, 0, 3); }

Figure sample_figure(const Tensor& test, const Tensor& samples, const PlaneGenerator& generator, const PlaneScore& score) {
  const std::string who = fmt::format("{}, {}", generator.name, calls_text(generator.calls));
  std::string caption = who + ": ";
  if (const double bad = score.value("not_finite"); bad > 0) caption += fmt::format("{:.0f} of {} samples are not finite", bad, samples.dim(0));
  else caption += fmt::format("energy distance {:.4f}", score.value("energy_distance"));
  if (const double error = score.value("map_error"); std::isfinite(error)) caption += fmt::format(", map error {:.3g}", error);
  return {svg_scatter({titled(data_frame(test), who), {point_group("test points", test), point_group("samples", samples)}}), caption + "."};
}

PlanePaths plane_trajectories(const PlaneRun& run, const PlaneMap& map, const Tensor& noise, const Labels& y) {
  const auto ode = [&](const VelocityNet& v) { return trajectory(v, noise, y, plain_grid(ode_steps), Solver::heun); };
  if (run.teacher) return {fmt::format("the teacher's ODE in {} Heun steps", ode_steps), ode(run.teacher)};
  if (!run.exact) return {fmt::format("the ODE of the map's own velocity u(z, t, t) in {} Heun steps", ode_steps), ode(diagonal(map.u))};
  PlanePaths exact{"the exact flow", {}};
  for (const double t : plain_grid(ode_steps)) exact.states.push_back(t == 1 ? noise : ExactFlow(*run.exact).map(noise, y, t));
  return exact;
}

Figure trajectory_figure(const PlaneRun& run, const PlaneMap& map, const Tensor& noise, const Labels& y) {
  const PlanePaths flow = plane_trajectories(run, map, noise, y);
  const Tensor shown = first_rows(run.test, std::min<std::int64_t>(2000, run.test.dim(0)));
  const PlaneFrame frame = square_around(concat(std::vector<Tensor>{shown.to(Device{}).to(DType::f32), noise.to(Device{})}, 0), 0.04, 0);
  const PathPlot plot{titled(frame, map.name + ": one call and the flow"), point_group("test points", shown), flow_paths(flow.states, one_call(map, noise, y))};
  return {svg_paths(plot), fmt::format("Lines: {}. Dashed: one call of {} from the same noise. The map is right where its cross lies on the line's end.",
                                       flow.flow, map.name)};
}

Figure field_figure(const PlaneRun& run, const PlaneMap& map, double s, double t) {
  const PlaneFrame frame = titled(noise_frame(run.test), fmt::format("{}: u(z, {:g}, {:g})", map.name, s, t));
  const Tensor z = arrow_places(frame);
  const Tensor u = evaluate(map.u, z, times(s, z), times(t, z), one_label(run, z.dim(0)));
  const std::string meaning = s == t ? fmt::format("The velocity at t = {:g}.", t) : fmt::format("The average velocity from t = {:g} back to s = {:g}.", t, s);
  return {svg_arrows(arrow_plot(frame, "u", z, u)), meaning + " Samples move against the arrows." + label_text(run)};
}

Tensor exact_ends(const PlaneRun& run) {
  const Tensor noise = cell_centres(noise_frame(run.test), cells, cells);
  return ExactFlow(*run.exact).map(noise, one_label(run, noise.dim(0)));
}

HeatPlot error_plot(const PlaneRun& run, const PlaneMap& map, const Tensor& exact) {
  HeatPlot plot{.frame = titled(noise_frame(run.test), map.name + ": error of one call, by noise"), .columns = cells, .rows = cells,
                .values = {}, .quantity = "squared distance to the exact sample", .log_scale = true};
  const Tensor noise = cell_centres(plot.frame, cells, cells);
  const Labels y = one_label(run, noise.dim(0));
  const std::vector<double> got = one_call(map, noise, y).to_vector<double>(), wanted = exact.to_vector<double>();
  for (std::size_t i = 0; i < got.size(); i += 2) plot.values.push_back(std::pow(got[i] - wanted[i], 2) + std::pow(got[i + 1] - wanted[i + 1], 2));
  return plot;
}

Figure error_figure(const PlaneRun& run, const PlaneMap& map, const Tensor& exact) {
  const char* borders = run.labels.defined() ? "" : " The exact map jumps, or nearly so, between noise for one mode and noise for the next.";
  return {svg_heat(error_plot(run, map, exact)), std::string("The error of one call from the noise at each place.") + borders + label_text(run)};
}

}  // namespace fm
