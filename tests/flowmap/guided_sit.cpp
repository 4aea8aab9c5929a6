// One guided MeanFlow step on SiT-S/2 against golden numbers of the published code: sdvae-sit.md 3.2, 8.3. The weights are those of rules A and B.
// Row 0 lies outside the guidance's interval, rows 1 and 2 inside (row 2 has s = t), row 3 has a dropped label.
#include <doctest/doctest.h>

#include "autodiff/jvp.h"
#include "flowmap/objective/guided_mean_flow.h"
#include "tests/support/sit_golden.h"

using namespace fm;
using namespace fm::test;

namespace {

constexpr std::int64_t null_label = 1000;

enum class FillRule { a, b };

struct Step {
  Dit net = not_filled(golden_s2(true));
  DType type;
  Tensor z0, eps, z, s, t, v, labels;

  Step(FillRule rule, DType dtype) : type(dtype) {
    if (rule == FillRule::a) fill_by_rule(net);
    else fill_by_rule_b(net);
    to_dtype(net, type);
    const Shape shape{4, 4, 8, 8};
    z0 = golden_input(shape).to(type), eps = golden_noise(shape).to(type);
    t = Tensor::from<double>({0.9, 0.6, 0.35, 0.5}, {4}).to(type), s = Tensor::from<double>({0.2, 0.1, 0.35, 0.25}, {4}).to(type);
    labels = Tensor::from<std::int64_t>({3, 10, 7, null_label}, {4});
    z = interpolate(z0, eps, t), v = conditional_velocity(z0, eps);
  }
  FlowMapNet u() const {
    return [this](const Var& a, const Var& b, const Var& c, const Labels& y) { return net(a, b, c, y); };
  }
  // (u, its derivative) in the direction (w, ds, dt).
  Derivative along_direction(const Tensor& w, double ds, double dt) const {
    const auto f = [this](const Var& a, const Var& b, const Var& c) { return net(a, b, c, labels); };
    const Tensor ones = Tensor::ones({4}, type);
    const auto [y, dy] = jvp(f, at(z, s, t), along(w, ones * ds, ones * dt));
    return {y, dy};
  }
  // The rows in the order that objectives expect: those with s < t come first.
  PathBatch batch() const {
    const auto ordered = [](const Tensor& x) { return concat(std::vector<Tensor>{x.slice(0, 0, 2), x.slice(0, 3, 4), x.slice(0, 2, 3)}, 0); };
    PathBatch p;
    p.z0 = ordered(z0), p.eps = ordered(eps), p.z = ordered(z), p.s = ordered(s), p.t = ordered(t), p.y = ordered(labels);
    p.off_diagonal = 3;
    return p;
  }
};

const Step& by_rule_a() {
  static const Step step(FillRule::a, DType::f64);
  return step;
}

GuidedMeanFlowConfig published(const MetricConfig& metric = {}) {
  GuidedMeanFlowConfig c;
  c.omega = 0.2, c.kappa = 0.92, c.low = 0, c.high = 0.75;
  c.labels.null_label = null_label;
  c.metric = metric;
  return c;
}

// Row `row` of `batch()` in the order of the golden numbers.
Tensor golden_row(const Tensor& x, std::int64_t row) {
  const std::int64_t at = row == 3 ? 2 : row == 2 ? 3 : row;
  return x.slice(0, at, at + 1);
}

using Rows = std::vector<std::vector<double>>;

Tensor in_golden_order(const Tensor& x) {
  std::vector<Tensor> rows;
  for (std::int64_t row = 0; row < 4; ++row) rows.push_back(golden_row(x, row));
  return concat(rows, 0);
}

void check_rows(const Tensor& x, const Rows& wanted) {
  for (std::size_t row = 0; row < wanted.size(); ++row) check_elements(golden_row(x, static_cast<std::int64_t>(row)), 0, wanted[row]);
}

// The guided w, the target and the sums S of the objective's own parts.
struct Target {
  Tensor w, target;
  std::vector<double> sums;
};

Target target_of(const Step& step, const GuidedMeanFlowConfig& config) {
  const PathBatch p = step.batch();
  Target out;
  out.w = self_guided(diagonal(step.u()), one_point(), config.guidance())(p);
  const Derivative d = differentiate(step.u(), {p.z, p.s, p.t, p.y, {}, {}}, out.w.slice(0, 0, 3), {});
  out.target = minus_first_rows(out.w, column((p.t - p.s).slice(0, 0, 3), 4) * d.dudt);
  const Tensor rows = row_sums(square(d.u.value() - out.target));
  for (std::int64_t row = 0; row < 4; ++row) out.sums.push_back(golden_row(rows, row).item());
  return out;
}

double loss_of(const Step& step, const MetricConfig& metric) {
  return published(metric).loss({.net = step.u(), .velocity = one_point()}, {step.batch(), {}}).loss.value().item();
}

}  // namespace

TEST_CASE("MeanFlow on SiT-S/2, rule A: u, its derivatives and the network's own velocities") {
  const Step& a = by_rule_a();
  const auto [u, dudt] = a.along_direction(a.v, 0, 1);
  check_elements(u.value(), 0, {-0.851543664, -1.159704815, -1.072952513, -1.264230985, -1.130414639, -1.156228571, -0.904807972, -0.889113262});
  check_elements(u.value(), 256, {2.677764692, 2.721818513});
  CHECK(near(mean_of(u.value()), 0.046530447488, 1e-6));
  CHECK(near(norm(u.value()), 50.3820150334, 1e-6));
  check_elements(dudt, 0, {-0.172429946, -0.157538195, -0.232328368, -0.215901329, -0.282648992, -0.255315020, -0.286813968, -0.254399307});
  CHECK(near(norm(dudt), 4.7424223749, 1e-6));
  CHECK(near(norm(dudt.slice(0, 0, 1)), 2.3180395968, 1e-6));
  CHECK(near(norm(dudt.slice(0, 1, 2)), 1.1393668444, 1e-6));
  const Tensor dudr = a.along_direction(Tensor::zeros(a.z.shape(), a.type), 1, 0).dudt;
  check_elements(dudr, 0, {0.000212398, 0.000146498, 0.000220771, 0.000151416});
  CHECK(near(norm(dudr), 0.0050191781, 1e-6));
  const Tensor cond = a.net(a.z, a.t, a.labels).value(), null = a.net(a.z, a.t, {}).value();
  check_elements(cond, 0, {-0.851472160, -1.159655266, -1.072878820, -1.264180404});
  CHECK(near(norm(cond), 50.3817156415, 1e-6));
  check_elements(null, 0, {2.828486500, 2.845524061, 2.752823632, 2.788578297});
  CHECK(near(norm(null), 70.0796821449, 1e-6));
}

TEST_CASE("MeanFlow on SiT-S/2, rule A: guided velocity, target, sums and losses") {
  const Step& a = by_rule_a();
  const Target got = target_of(a, published());
  CHECK(near(norm(got.w), 40.3118967097, 1e-6));
  check_rows(got.w, {{0.918987334, 0.826147318, 0.721885175, 0.606747657},
                     {1.839519361, 1.865036240, 1.750997966, 1.797606862},
                     {-0.701169343, -0.584567942, -0.833360954, -0.636104403},
                     {-1.996410191, -2.069406688, -2.127714872, -2.171117306}});
  CHECK(near(norm(got.target), 40.3752326888, 1e-6));
  CHECK(near(mean_of(got.target), -0.000728525241, 1e-6));
  check_rows(got.target, {{1.039688296, 0.936424054, 0.884515032, 0.757878587},
                          {1.839984255, 1.865116111, 1.750642614, 1.796871184},
                          {-0.701169343, -0.584567942, -0.833360954, -0.636104403},
                          {-1.958269371, -2.044331935, -2.088553194, -2.145758863}});
  const std::vector<double> sums{625.7013199535, 67.9317089306, 34.0097774543, 1725.9351259765};
  for (std::size_t row = 0; row < sums.size(); ++row) CHECK(near(got.sums[row], sums[row], 1e-7));
  CHECK(near(loss_of(a, {"adaptive", "sum", 0.01, 1}), 0.9998842731517917, 1e-12));
  CHECK(near(loss_of(a, {"squared_adaptive", "sum", 1e-3, 1}), 0.9999997289645585, 1e-12));
  CHECK(near(loss_of(a, {}), 2.3960721995, 1e-8));
  GuidedMeanFlowConfig strong = published();
  strong.omega = 3, strong.kappa = 0;
  const Tensor w = self_guided(diagonal(a.u()), one_point(), strong.guidance())(a.batch());
  CHECK(near(norm(w), 138.3921814029, 1e-6));
  check_elements(golden_row(w, 1), 0, {-9.926664900, -10.155887402, -10.134361622, -10.317553247});
}

TEST_CASE("MeanFlow on SiT-S/2, rule B: u, du/dt, guided velocity, target and sums") {
  const Step b(FillRule::b, DType::f64);
  const auto [u, dudt] = b.along_direction(b.v, 0, 1);
  check_elements(u.value(), 0, {0.441178549, -0.647951020, 0.135197097, -0.891904897, -0.286938521, -1.056141837, -0.762015570, -1.085997738});
  check_last(u.value(), {-0.380815437, 1.162218699, -0.306490757, 1.437910488});
  CHECK(near(mean_of(u.value()), -0.086893876343, 1e-6));
  CHECK(near(norm(u.value()), 35.7241574384, 1e-6));
  check_elements(dudt, 0, {0.545158818, -0.717355837, 0.503164932, -0.643507350, 0.211581157, -0.338311452, -0.046740851, 0.068263625});
  CHECK(near(norm(dudt), 52.2213174688, 1e-6));
  const double of_rows[] = {24.800545662, 25.228277430, 25.893156672, 28.373885678};
  for (std::int64_t row = 0; row < 4; ++row) CHECK(near(norm(dudt.slice(0, row, row + 1)), of_rows[row], 1e-6));
  const Tensor dudr = b.along_direction(Tensor::zeros(b.z.shape(), b.type), 1, 0).dudt;
  check_elements(dudr, 0, {0.352641171, 0.512307678, 0.311964387, 0.418481693});
  CHECK(near(norm(dudr), 8.0227779427, 1e-6));
  const Tensor cond = b.net(b.z, b.t, b.labels).value(), null = b.net(b.z, b.t, {}).value();
  check_elements(cond, 0, {0.588549500, -0.378338596, 0.262142998, -0.684896882});
  CHECK(near(norm(cond), 35.1920988071, 1e-6));
  check_elements(null, 0, {0.691518621, -0.329077375, 0.377225825, -0.648524183});
  CHECK(near(norm(null), 35.1138646686, 1e-6));

  const Target got = target_of(b, published());
  CHECK(near(norm(got.w), 35.6587634848, 1e-6));
  CHECK(near(norm(b.along_direction(in_golden_order(got.w), 0, 1).dudt), 51.6425616594, 1e-6));
  CHECK(near(norm(got.target), 38.3866612785, 1e-6));
  check_rows(got.target, {{0.537376161, 1.328296404, 0.369669722, 1.057202802},
                          {-0.494674685, -0.643445471, -0.830741476, -0.777933370},
                          {-0.914437386, -0.411137098, -1.132164269, -0.596157590},
                          {-2.272751343, -2.089602213, -2.436757830, -2.250017810}});
  const std::vector<double> sums{575.1292377369, 218.4983953942, 27.9142270664, 818.5439634816};
  for (std::size_t row = 0; row < sums.size(); ++row) CHECK(near(got.sums[row], sums[row], 1e-7));
  CHECK(near(loss_of(b, {}), (sums[0] + sums[1] + sums[2] + sums[3]) / 1024, 1e-8));
}

TEST_CASE("MeanFlow on SiT-S/2, rule B in f32: u and du/dt are within rounding of f64") {
  const Step b(FillRule::b, DType::f32);
  const auto [u, dudt] = b.along_direction(b.v, 0, 1);
  check_elements(u.value(), 0, {0.441178549, -0.647951020, 0.135197097, -0.891904897, -0.286938521, -1.056141837, -0.762015570, -1.085997738}, {5 * 2.6e-6});
  check_elements(dudt, 0, {0.545158818, -0.717355837, 0.503164932, -0.643507350, 0.211581157, -0.338311452, -0.046740851, 0.068263625}, {5e-5});
  CHECK(near(norm(dudt), 52.2213174688, 1e-5));
  const Tensor cond = b.net(b.z, b.t, b.labels).value(), null = b.net(b.z, b.t, {}).value();
  check_elements(cond, 0, {0.588549500, -0.378338596, 0.262142998, -0.684896882}, {5 * 2.6e-6});
  check_elements(null, 0, {0.691518621, -0.329077375, 0.377225825, -0.648524183}, {5 * 2.6e-6});
  const Target got = target_of(b, published());
  CHECK(near(norm(got.w), 35.6587634848, 1e-6));
  CHECK(near(norm(got.target), 38.3866612785, 1e-5));
  const double sums[] = {575.1292377369, 218.4983953942, 27.9142270664, 818.5439634816};
  for (std::size_t row = 0; row < 4; ++row) CHECK(near(got.sums[row], sums[row], 1e-5));
}
