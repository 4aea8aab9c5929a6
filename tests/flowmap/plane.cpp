// Results of a run in the plane: scores of generators that are known to be right or wrong, and the numbers in its plots.
#include "flowmap/training/plane.h"

#include <doctest/doctest.h>

#include <cmath>
#include <regex>

#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/linear.h"
#include "data/points.h"
#include "data/report/svg_plane.h"
#include "flowmap/metrics/energy.h"
#include "flowmap/sampler.h"
#include "flowmap/training/plane_pictures.h"
#include "tensor/error.h"
#include "tensor/random/fill.h"
#include "tests/support/error_of.h"
#include "tests/support/markup.h"
#include "tests/support/mentions.h"
#include "tests/support/near.h"

using namespace fm;
using namespace fm::test;

namespace {

PlaneGenerator one_call(std::string name, FlowMapNet u) {
  return {std::move(name), 1, [u = std::move(u)](const Tensor& noise, const Labels& y) { return sample_flow_map(u, noise, y, plain_grid(1)); }};
}

// The exact map, by integrating the mixture's velocity with tensor operations. Reports compute it in another way.
FlowMapNet right_map(int steps = 30) { return average_velocity(eight_gaussians(DType::f32).v(), steps); }
FlowMapNet no_map() {
  return [](const Var& z, const Var&, const Var&, const Labels&) { return z * 0.0; };
}

PlaneRun run_of(std::int64_t samples, std::int64_t points) {
  PlaneRun run;
  run.test = Points({}, Split::test).rows(consecutive(0, points));
  run.exact = known_mixture("points:8gaussians");
  run.samples = samples;
  return run;
}

const PlaneScore& row(const std::vector<PlaneScore>& scores, const std::string& name) {
  for (const PlaneScore& score : scores)
    if (score.name == name) return score;
  throw Error("no score of " + name);
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// The positions of dots of one color, in pixels.
std::vector<std::array<double, 2>> dots(const std::string& svg, const std::string& colour) {
  std::vector<std::array<double, 2>> out;
  std::smatch path;
  REQUIRE(std::regex_search(svg, path, std::regex("<path d=\"([^\"]*)\" fill=\"none\" stroke=\"" + colour)));
  const std::string text = path[1];
  const std::regex dot("M([-0-9.]+) ([-0-9.]+)h0");
  for (std::sregex_iterator at(text.begin(), text.end(), dot), end; at != end; ++at) out.push_back({std::stod((*at)[1]), std::stod((*at)[2])});
  return out;
}

// Points (n, 2) with each column scaled and shifted.
Tensor stretched(const Tensor& points) {
  const Tensor out = points.clone();
  float* v = out.data<float>();
  for (std::int64_t i = 0; i < out.dim(0); ++i) v[2 * i] = 50 * v[2 * i] + 300, v[2 * i + 1] = 0.2f * v[2 * i + 1] - 4;
  return out;
}

}  // namespace

TEST_CASE("in a latent space with statistics, networks model scaled data; scores and samples are in the data's units") {
  PlaneRun run = run_of(2000, 4000);
  run.test = stretched(run.test);
  for (GaussianMixture::Component& c : run.exact->components) {
    const std::vector<double> m = c.mean.to_vector<double>(), d = c.deviation.to_vector<double>();
    c.mean = Tensor::from<double>({50 * m[0] + 300, 0.2 * m[1] - 4}, {2});
    c.deviation = Tensor::from<double>({50 * d[0], 0.2 * d[1]}, {2});
  }
  run.space = identity_space({2}, statistics_of(run.test));
  // The exact network for the scaled data: the mixture, scaled by the formula of the statistics.
  GaussianMixture seen = eight_gaussians(DType::f32);
  const std::vector<double> mean = run.space.statistics().mean.to_vector<double>(), variance = run.space.statistics().variance.to_vector<double>();
  for (std::size_t i = 0; i < seen.components.size(); ++i) {
    const std::vector<double> m = run.exact->components[i].mean.to_vector<double>(), d = run.exact->components[i].deviation.to_vector<double>();
    std::vector<double> at, deviation;
    for (std::size_t k : {0u, 1u}) at.push_back((m[k] - mean[k]) / std::sqrt(variance[k])), deviation.push_back(d[k] / std::sqrt(variance[k]));
    seen.components[i].mean = Tensor::from(at, {2}).to(DType::f32), seen.components[i].deviation = Tensor::from(deviation, {2}).to(DType::f32);
  }
  const FlowMapNet right = average_velocity(seen.v(), 30);
  run.generators = {one_call("right", right), one_call("identity", no_map())};
  run.maps = {{"right", right}};
  const PlaneReport report = plane_report(run);
  const double of_data = std::sqrt(variance[0]);                                 // the energy distance has the unit of the data
  CHECK(near_zero(row(report.scores, "right").value("energy_distance"), 2e-3 * of_data));
  CHECK(row(report.scores, "right").value("map_error") < 1e-6 * variance[0]);
  CHECK(row(report.scores, "exact flow").value("map_error") == 0);
  CHECK(near_zero(row(report.scores, "other test points").value("energy_distance"), 2e-3 * of_data));
  CHECK(row(report.scores, "identity").value("energy_distance") > 0.02 * of_data);
  CHECK(report.errors.size() == 1);                                              // the exact flow is known in the scaled space too
  run.space = identity_space({2});                                               // without the scaling samples stay in the scaled space
  CHECK(row(plane_scores(run), "right").value("energy_distance") > 1 * of_data);
}

TEST_CASE("the exact flow scores like other test points; noise and the identity map do not") {
  PlaneRun run = run_of(4000, 8000);
  run.generators = {one_call("right", right_map()), one_call("identity", no_map())};
  const std::vector<PlaneScore> scores = plane_scores(run);
  REQUIRE(scores.size() == 5);
  const PlaneScore &right = row(scores, "right"), &identity = row(scores, "identity"), &exact = row(scores, "exact flow"), &noise = row(scores, "noise itself");
  CHECK(near_zero(right.value("energy_distance"), 2e-3));
  CHECK(right.value("map_error") < 1e-6);
  CHECK(right.value("map_error") > 0);
  CHECK(near_zero(exact.value("energy_distance"), 2e-3));
  CHECK(exact.value("map_error") == 0);
  CHECK(exact.calls == 0);
  CHECK(near_zero(row(scores, "other test points").value("energy_distance"), 2e-3));
  CHECK(std::isnan(row(scores, "other test points").value("map_error")));
  CHECK(near(identity.value("energy_distance"), 0.058, 0.1));                    // another program's result for the same data: 0.058
  CHECK(identity.value("map_error") > 0.2);
  CHECK(identity.value("energy_distance") == noise.value("energy_distance"));    // a call of u = 0 leaves its noise as it is
  CHECK(identity.value("map_error") == noise.value("map_error"));
}

TEST_CASE("scores equal those of the metrics alone, on the noise that every sampler uses") {
  PlaneRun run = run_of(300, 500);
  run.seed = 9;
  run.generators = {one_call("identity", no_map()), one_call("right", right_map(20)), one_call("stirred", no_map())};
  run.generators[2].follows_flow = false;
  const std::vector<PlaneScore> scores = plane_scores(run);
  const Tensor noise = random_normal_rows(consecutive(0, 300), {2}, {9, 0x464D0008u});                    // Purpose::sampling
  CHECK(near(scores[0].value("energy_distance"), energy_distance(noise, run.test.slice(0, 0, 300)), 1e-12));
  CHECK(near(scores[0].value("map_error"), map_error(no_map(), eight_gaussians(), noise), 1e-5));
  CHECK(near(scores[1].value("map_error"), map_error(right_map(20), eight_gaussians(), noise), 1e-3));
  CHECK(scores[2].values.size() == 1);
  run.exact.reset();
  const std::vector<PlaneScore> unknown = plane_scores(run);
  CHECK(unknown.size() == 4);                                                    // only 200 test points are left for the row "other test points", and no exact flow is known
  CHECK(unknown[0].values.size() == 1);
  CHECK(unknown[0].value("energy_distance") == scores[0].value("energy_distance"));
  run.samples = 4000;
  const PlaneReport report = plane_report(run);
  CHECK(has(report.about, "Each generator makes 500 samples"));
  CHECK_FALSE(has(plane_page("t", report), "map error"));
}

TEST_CASE("with labels, the exact flow is that of the label's own mode") {
  PlaneRun run = run_of(400, 400);
  run.labels = Points({}, Split::test).labels(consecutive(0, 400));
  const auto centre = [](std::size_t k) { return eight_gaussians_centres()[k]; };
  // The exact flow by hand: to a Gaussian of mean m and deviation 0.1 it takes noise e to m + 0.1 e.
  run.generators = {{"by hand", 1, [&](const Tensor& noise, const Labels& y) {
                       std::vector<float> x = noise.to_vector<float>();
                       const std::vector<std::int64_t> labels = y.to_vector<std::int64_t>();
                       for (std::size_t i = 0; i < x.size(); ++i)
                         x[i] = static_cast<float>(0.1 * static_cast<double>(x[i]) + centre(static_cast<std::size_t>(labels[i / 2]))[i % 2]);
                       return Tensor::from(x, noise.shape());
                     }}};
  const std::vector<PlaneScore> scores = plane_scores(run);
  CHECK(scores[0].value("map_error") < 1e-10);
  CHECK(near_zero(scores[0].value("energy_distance"), 0.01));
  // The same at time s = 0.5, by the flow's ODE: z_s = (1-s) m + sqrt((1-s)^2 0.01 + s^2) e.
  const Tensor noise = Tensor::from<float>({0.5f, -1}, {1, 2}), y = Tensor::from<std::int64_t>({2}, {1});
  const std::vector<double> half = ExactFlow(*run.exact).map(noise, y, 0.5).to_vector<double>();
  const double a = std::sqrt(0.25 * 0.01 + 0.25);
  CHECK(near(half[0], 0.5 * centre(2)[0] + a * 0.5, 1e-6));
  CHECK(near(half[1], 0.5 * centre(2)[1] - a, 1e-6));
  run.labels = Tensor::full({400}, 8, DType::i64);
  CHECK(mentions(error_of<ConfigError>([&] { plane_scores(run); }), {"label 8", "0 to 7", "leave"}));
}

TEST_CASE("plots have one mark for each point, at its position") {
  PlaneRun run = run_of(400, 400);
  run.generators = {one_call("right", right_map(40)), one_call("far", [](const Var& z, const Var&, const Var&, const Labels&) { return z * 0.0 - 100.0; })};
  run.maps = {{"right", right_map(40)}, {"identity", no_map()}};
  run.teacher = eight_gaussians(DType::f32).v();
  const PlaneReport report = plane_report(run);
  REQUIRE(report.samples.size() == 2);
  const std::string& scatter = report.samples[0].svg;
  const auto test_dots = dots(scatter, plane_blue), made = dots(scatter, plane_orange);
  REQUIRE(test_dots.size() == 400);
  CHECK(made.size() >= 390);                                                     // a few lie outside of the test points' square
  CHECK(has(report.samples[1].svg, "400 points are not finite, or outside of the plot"));
  const Plane plane(data_frame(run.test), {}, {});
  const std::vector<double> x = run.test.to_vector<double>();
  for (const std::size_t i : {std::size_t{0}, std::size_t{57}, std::size_t{399}}) {
    CHECK(near_zero(test_dots[i][0] - plane.x(x[2 * i]), 0.051));                // pixels have one decimal
    CHECK(near_zero(test_dots[i][1] - plane.y(x[2 * i + 1]), 0.051));
  }
  CHECK(has(report.samples[0].caption, "right, 1 call: energy distance "));
  REQUIRE(report.trajectories.size() == 2);
  for (const Figure& f : report.trajectories) CHECK(count(f.svg, "r=\"2.6\"") == 20);            // a ring for each noise
  for (const Figure& f : report.trajectories) CHECK(count(f.svg, "m-3.5 -3.5l7 7m0 -7l-7 7") == 20);   // a cross for each call
  CHECK(has(report.trajectories[0].caption, "the teacher's ODE in 50 Heun steps"));
  CHECK(report.fields.size() == 8);
  for (const char* pair : {"u(z, 0, 1)", "u(z, 0.5, 1)", "u(z, 0, 0.5)", "u(z, 0.5, 0.5)"}) {
    bool found = false;
    for (const Figure& f : report.fields) found = found || has(f.svg, std::string(">right: ") + pair + "</text>");
    CHECK_MESSAGE(found, pair);
  }
  CHECK(count(report.fields[7].svg, "h0") == 13 * 13);                           // u = 0: each arrow is a dot
  CHECK(count(report.fields[0].svg, "h0") < 13);
  CHECK(report.errors.size() == 2);
  CHECK(count(report.errors[1].svg, "crispEdges") > 10);                         // more than 10 colors occur; each of the 48 x 48 cells has one color
  CHECK(count(report.errors[1].svg, "z\"") + count(report.errors[1].svg, "zM") == 48 * 48);
}

TEST_CASE("plots show only jumps that the map was trained for") {
  PlaneRun run = run_of(50, 100);
  run.maps = {{"to data", right_map(4), Jumps::to_data}, {"from noise", right_map(4), Jumps::from_noise}, {"velocity", right_map(4), Jumps::none}, {"guided", right_map(4), Jumps::any, false}};
  const auto drawn = [](const std::vector<Figure>& figures, const std::string& name) {
    return std::count_if(figures.begin(), figures.end(), [&](const Figure& f) { return has(f.svg, ">" + name + ": "); });
  };
  PlaneReport report = plane_report(run);
  CHECK(drawn(report.fields, "to data") == 2);                                   // (s, t) = (0, 1) and (0, 0.5)
  CHECK(drawn(report.fields, "from noise") == 2);                                // (s, t) = (0, 1) and (0.5, 1)
  CHECK(drawn(report.fields, "velocity") == 1);
  CHECK(drawn(report.fields, "guided") == 4);
  CHECK(report.errors.size() == 3);                                              // one for each map but the guided one
  CHECK(drawn(report.errors, "guided") == 0);
  CHECK(report.trajectories.size() == 4);
  run.exact.reset();                                                             // now only u(z, t, t) defines the flow
  report = plane_report(run);
  CHECK(report.trajectories.size() == 2);
  CHECK(drawn(report.trajectories, "to data") + drawn(report.trajectories, "from noise") == 0);
}

TEST_CASE("the error plot, weighted by the noise's density, sums to the map error; arrows are the network's values") {
  const PlaneRun run = run_of(4000, 4000);
  const HeatPlot plot = error_plot(run, {"identity", no_map()}, exact_ends(run));
  const std::vector<double> at = cell_centres(plot.frame, plot.columns, plot.rows).to_vector<double>();
  const double area = std::pow((plot.frame.x_high - plot.frame.x_low) / static_cast<double>(plot.columns), 2);
  double sum = 0;
  for (std::size_t i = 0; i < plot.values.size(); ++i)
    sum += plot.values[i] * area / (2 * M_PI) * std::exp(-0.5 * (at[2 * i] * at[2 * i] + at[2 * i + 1] * at[2 * i + 1]));
  CHECK(near(sum, row(plane_scores(run), "noise itself").value("map_error"), 0.04));       // within the scatter of 4,000 noises
  const FlowMapNet known = [](const Var& z, const Var& s, const Var& t, const Labels&) {   // (3, 4) (s + 2t)
    return z * 0.0 + Tensor::from<float>({3, 4}, {1, 2}) * reshape(s + 2.0 * t, {z.dim(0), 1});
  };
  CHECK(has(field_figure(run, {"known", known}, 0.5, 1).svg, "longest arrow: 12.5"));
  CHECK(has(field_figure(run, {"known", known}, 0, 0.5).svg, "longest arrow: 5<"));
}

TEST_CASE("trajectories come from the teacher, else the exact flow, else the map's own velocity") {
  PlaneRun run = run_of(50, 100);
  const PlaneMap map{"right", right_map(1)};                                      // exact where s = t
  const Tensor noise = Tensor::from<float>({0.3f, -0.8f, 1.5f, 0.2f}, {2, 2});
  const std::vector<double> wanted = ExactFlow(*run.exact).map(noise, {}).to_vector<double>();
  const auto ends = [&] {
    const PlanePaths flow = plane_trajectories(run, map, noise, {});
    CHECK(flow.states.size() == 51);
    CHECK(flow.states.front().to_vector<double>() == noise.to_vector<double>());
    CHECK(mean_square_distance(flow.states.back(), Tensor::from(wanted, {2, 2})) < 1e-3);
    return flow.flow;
  };
  CHECK(ends() == "the exact flow");
  run.exact.reset();
  CHECK(ends() == "the ODE of the map's own velocity u(z, t, t) in 50 Heun steps");
  run.teacher = eight_gaussians(DType::f32).v();
  CHECK(ends() == "the teacher's ODE in 50 Heun steps");
}

TEST_CASE("the report is a complete page, and its section fits into another page") {
  PlaneRun run = run_of(40, 100);
  run.generators = {one_call("right & left", right_map(20))};
  run.maps = {{"right", right_map(20)}};
  const PlaneReport report = plane_report(run);
  const std::string page = plane_page("a < b", report), section = plane_section(report);
  CHECK(is_balanced(page));
  CHECK(is_balanced(section));
  CHECK(has(page, "<h1>a &lt; b</h1>"));
  CHECK(has(page, "right &amp; left"));
  CHECK(has(page, "<th class=\"number\">map error</th>"));
  CHECK(count(page, "<svg class=\"plot\"") == 1 + 1 + 1 + 4);
  CHECK(count(page, "<figcaption>") == 7);
  CHECK(count(page, "<script>") == 1);                                           // shows values under the pointer, inside the page
  CHECK(count(page, "<script") == 1);
  CHECK_FALSE(has(page, " src=\"http"));
  CHECK_FALSE(has(page, "nan"));
  CHECK(count(page, "http") == 7);                                               // a name of the SVG standard for each plot; nothing is fetched
  CHECK_FALSE(has(section, "<h1>"));
  HtmlReport whole("a run");
  whole.embed(section);
  CHECK(is_balanced(whole.html()));
  CHECK(has(whole.html(), section));
  CHECK(has(whole.html(), "<h2>In the plane</h2>"));
}

TEST_CASE("samples that are not finite are counted, not hidden") {
  PlaneRun run = run_of(40, 100);
  run.generators = {{"diverged", 2, [](const Tensor& noise, const Labels&) {
                       Tensor x = noise.clone();
                       x.slice(0, 3, 5).fill(NAN);
                       return x;
                     }}};
  run.maps = {{"diverged", [](const Var& z, const Var&, const Var&, const Labels&) { return z * double(NAN); }}};
  const PlaneReport report = plane_report(run);
  CHECK(std::isnan(report.scores[0].value("energy_distance")));
  CHECK(std::isnan(report.scores[0].value("map_error")));
  CHECK(report.scores[0].value("not_finite") == 2);
  CHECK(report.samples[0].caption == "diverged, 2 calls: 2 of 40 samples are not finite.");
  const std::string page = plane_page("t", report);
  CHECK(has(page, "2 samples not finite"));
  CHECK_FALSE(has(page, "nan"));
  CHECK(has(report.errors[0].svg, "2304 of 2304 cells have no value to show"));
}

TEST_CASE("invalid runs in the plane are refused") {
  PlaneRun run = run_of(40, 100);
  run.generators = {{"wide", 1, [](const Tensor&, const Labels&) { return Tensor::zeros({40, 3}); }}};
  CHECK(mentions(error_of<ShapeError>([&] { plane_scores(run); }), {"samples of 'wide'", "[40, 3]", "(40, 2)"}));
  run.generators = {{"empty", 1, {}}};
  CHECK(mentions(error_of<ConfigError>([&] { plane_scores(run); }), {"generator", "'empty'", "function"}));
  run.samples = 1;
  CHECK(mentions(error_of<ConfigError>([&] { plane_scores(run); }), {"1 samples", "100 test", "2"}));
  run.labels = Tensor::zeros({3}, DType::i64);
  CHECK_THROWS_AS(plane_scores(run), ShapeError);
  run.test = Tensor();
  CHECK(mentions(error_of<ShapeError>([&] { plane_report(run); }), {"test points", "undefined", "2)"}));
  CHECK_FALSE(known_mixture("points:moons").has_value());
}
