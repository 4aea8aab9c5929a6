// Flow matching, alpha-Flow, continuous consistency, LSD, SplitMeanFlow, Shortcut and CMT: no residual on the closed-form flow map, the limits that connect
// them, and the gradient paths.
#include <algorithm>
#include <map>
#include <set>

#include "autodiff/jvp.h"
#include "flowmap/objective/alpha_flow.h"
#include "flowmap/objective/cmt.h"
#include "flowmap/objective/continuous_cm.h"
#include "flowmap/objective/flow_matching.h"
#include "flowmap/objective/lsd.h"
#include "flowmap/objective/shortcut.h"
#include "flowmap/objective/split_mean_flow.h"
#include "tests/flowmap/support.h"
#include "tensor/error.h"
#include "tests/support/near.h"

using namespace fm;
using namespace fm::test;

namespace {

const LabelDropout no_drop{0, 4};
constexpr double none = 1e-29;           // a mean square of rounding errors in f64

PathBatch points(std::int64_t rows, double diagonal = 0.5) {
  return draw_path_batch(gaussian_batch(rows), {.diagonal_share = diagonal}, {0.1, 4});
}

double raw(const ObjectiveLoss& out) { return out.metrics.at("raw_mse").value(); }

}  // namespace

TEST_CASE("no objective has a residual on the closed-form map") {
  const GaussianFlow g = gaussian();
  const FlowMapNet u = g.u();
  const VelocitySource v = teacher(g.v());
  const Batch batch = gaussian_batch(64);
  const PairConfig half{.diagonal_share = 0.5};
  const auto nets = [&](const FlowMapNet& net) { return Nets{.net = net, .teacher = g.v(), .velocity = v}; };
  CHECK(raw(loss_on(FlowMatchingConfig{}, nets(u), batch)) < none);
  CHECK(raw(loss_on(ShortcutConfig{.bootstrap_share = 0.5, .clamp = 0}, nets(u), batch)) < none);
  CHECK(raw(loss_on(SplitMeanFlowConfig{.pairs = half}, nets(u), batch)) < none);
  CHECK(raw(loss_on(ContinuousCmConfig{}, nets(u), batch)) < none);
  CHECK(raw(loss_on(ContinuousCmConfig{.pairs = half}, nets(u), batch)) < none);
  CHECK(raw(loss_on(LsdConfig{.end_velocity = "teacher", .pairs = half}, nets(u), batch)) < none);
  CHECK(raw(loss_on(LsdConfig{.through_derivative = false, .end_velocity = "teacher", .pairs = half}, nets(u), batch)) < none);
  CHECK(raw(loss_on(AlphaFlowConfig{.alpha = 0, .pairs = half}, nets(u), batch)) < none);
  CHECK(raw(loss_on(AlphaFlowConfig{.alpha = 1e-6, .clamp = 0, .pairs = half}, nets(u), batch)) < 1e-24);     // alpha^2 times an O(alpha) residual
  // a wrong map has a residual
  const FlowMapNet wrong = [=](const Var& z, const Var&, const Var& t, const Labels& y) { return u(z, t, t, y); };
  CHECK(raw(loss_on(ShortcutConfig{.bootstrap_share = 0.5, .clamp = 0}, nets(wrong), batch)) > 1e-4);
  CHECK(raw(loss_on(SplitMeanFlowConfig{.pairs = half}, nets(wrong), batch)) > 1e-4);
  CHECK(raw(loss_on(ContinuousCmConfig{}, nets(wrong), batch)) > 1e-4);
  CHECK(raw(loss_on(LsdConfig{.end_velocity = "teacher", .pairs = half}, nets(wrong), batch)) > 1e-4);
}

TEST_CASE("flow matching is the mean squared distance to eps - z0") {
  const SmallNet small;
  const Batch batch = gaussian_batch(16);
  const FlowMatchingConfig config{.labels = no_drop};
  const ObjectiveLoss out = loss_on(config, {.net = small.net()}, batch);
  const Tensor eps = batch.draws.normal({dim}, DType::f64), z = interpolate(batch.z0, eps, out.t);
  const Tensor v = evaluate(small.net(), z, out.t, out.t, batch.y);
  CHECK(near(out.loss.value().item(), mean(square(v - (eps - batch.z0))).item(), 1e-14));
  CHECK(max(out.t, 0).item() <= 0.999);
}

TEST_CASE("alpha-Flow becomes MeanFlow as alpha goes to 0") {
  const SmallNet small;
  const PathBatch p = points(16);
  REQUIRE(p.off_diagonal > 0);
  MeanFlowConfig mf;
  const auto exact = gradient(small, [&] { return mean_flow(small.net(), p, one_point(), mf).loss; });
  double before = 0;
  for (const double alpha : {1e-2, 1e-3, 1e-4}) {
    const AlphaFlowConfig config{.alpha = alpha, .clamp = 0, .metric = {"l2"}};
    const double error = max_difference(gradient(small, [&] { return alpha_flow(small.net(), p, one_point(), config).loss; }), exact);
    if (before > 0) CHECK(near(before / error, 10, 1e-2));         // first order in alpha
    before = error;
  }
  CHECK(before < 3e-5);
  const AlphaFlowConfig limit{.alpha = 0, .metric = {"l2"}};
  CHECK(max_difference(gradient(small, [&] { return alpha_flow(small.net(), p, one_point(), limit).loss; }), exact) == 0);
}

TEST_CASE("alpha-Flow at alpha = 1 fits every row to w; below 1, rows with s < t have the weight alpha") {
  const SmallNet small;
  const PathBatch p = points(16);
  const Tensor w = one_point()(p), u = evaluate(small.net(), p.z, p.s, p.t, p.y);
  const double loss = alpha_flow(small.net(), p, one_point(), {.alpha = 1, .clamp = 0, .metric = {"l2"}}).loss.value().item();
  CHECK(near(loss, mean(square(u - w)).item(), 1e-14));
  const Tensor cut = with_first_rows(w, clamp(first_rows(w, p.off_diagonal), -0.5, 0.5));
  CHECK(near(alpha_flow(small.net(), p, one_point(), {.alpha = 1, .clamp = 0.5, .metric = {"l2"}}).loss.value().item(), mean(square(u - cut)).item(), 1e-14));
  const AlphaFlowConfig config{.alpha = 0.25, .clamp = 0, .metric = {"adaptive", "mean", 1e-3, 1}};                             // weight where s < t: alpha / (mean square + c)
  const ObjectiveLoss out = alpha_flow(small.net(), p, one_point(), config);
  const auto rows = out.raw.to_vector<double>();
  double expected = 0;
  for (std::size_t i = 0; i < rows.size(); ++i)
    expected += (static_cast<std::int64_t>(i) < p.off_diagonal ? 0.25 : 1) * rows[i] / (rows[i] + 1e-3) / 16;
  CHECK(near(out.loss.value().item(), expected, 1e-14));
}

TEST_CASE("the target of alpha-Flow at alpha = 1/2 agrees with its formula") {
  const SmallNet small;
  const PathBatch p = points(8, 0);
  const Tensor w = one_point()(p);
  const auto u = [&](const Tensor& z, const Tensor& s, const Tensor& t) { return evaluate(small.net(), z, s, t, p.y); };
  const Tensor half = 0.5 * (p.t - p.s), middle = p.t - half;
  const Tensor y = 0.5 * w + 0.5 * u(moved(p.z, half, w), p.s, middle);
  for (const double limit : {4.0, 0.5}) {
    const ObjectiveLoss a = alpha_flow(small.net(), p, one_point(), {.alpha = 0.5, .clamp = limit, .metric = {"l2"}});
    CHECK(near(raw(a), mean(square(u(p.z, p.s, p.t) - clamp(y, -limit, limit))).item(), 1e-14));
  }
}

TEST_CASE("the gradient of continuous consistency is MeanFlow's times (t - s) / 2") {
  const SmallNet small;
  for (const bool zero_start : {true, false}) {
    PathBatch p = points(1, 0);
    if (zero_start) p.s = times({0});
    const double gap = (p.t - p.s).item();
    auto mf = gradient(small, [&] { return mean_flow(small.net(), p, one_point(), {}).loss; });
    for (double& x : mf) x *= gap / 2;
    const auto cm = gradient(small, [&] { return continuous_cm(small.net(), p, one_point(), {}).loss; });
    CHECK(max_difference(cm, mf) < 2e-15);
    // normalization keeps the direction of the gradient and makes it shorter
    const auto normalised =
        gradient(small, [&] { return continuous_cm(small.net(), p, one_point(), {.tangent = {.normalise = 0.1}}).loss; });
    const double ratio = normalised[0] / cm[0];
    CHECK(ratio < 1);
    CHECK(near(normalised[7] / cm[7], ratio, 1e-14));
  }
  const ObjectiveLoss out = loss_on(ContinuousCmConfig{.labels = no_drop}, {.net = small.net()}, gaussian_batch(16));
  CHECK(max(out.s, 0).item() == 0);
}

TEST_CASE("LSD's gradient passes through the derivative") {
  SmallNet small;
  const PathBatch p = points(6, 0.3);
  // A velocity that does not depend on z. The stop-gradient then changes nothing, so differences can check the gradient of the loss.
  const VelocityNet v = [](const Var& z, const Var& t, const Labels&) { return Tensor::ones(z.shape(), z.dtype()) * column(t.value(), 2); };
  const auto loss = [&](bool through) { return lsd(small.net(), v, p, one_point(), {.through_derivative = through}).loss; };
  const auto through = gradient(small, [&] { return loss(true); }), semi = gradient(small, [&] { return loss(false); });
  CHECK(near(loss(true).value().item(), loss(false).value().item(), 1e-14));
  const double h = 1e-6;
  for (const std::size_t i : {0u, 6u, 20u}) {
    const Tensor x = small.w1.value.reshape({-1}).select(0, static_cast<std::int64_t>(i));
    const double keep = x.item();
    x.fill(keep + h);
    const double up = loss(true).value().item();
    x.fill(keep - h);
    const double down = loss(true).value().item();
    x.fill(keep);
    CHECK(near(through[i], (up - down) / (2 * h), 2e-7));
  }
  CHECK(max_difference(through, semi) > 1e-3);
}

TEST_CASE("targets are not recorded: each of these objectives records one network pass") {
  const SmallNet small;
  const PathBatch p = points(8);
  const Batch batch = gaussian_batch(8);
  const auto networks = [](const std::function<ObjectiveLoss()>& loss) {                // one pass calls tanh twice
    Tape tape;
    const ObjectiveLoss out = loss();
    const std::string text = tape.to_string();
    int n = 0;
    for (std::size_t i = text.find("tanh"); i != std::string::npos; i = text.find("tanh", i + 1)) ++n;
    return n / 2;
  };
  const VelocitySource v = teacher(diagonal(small.net()));
  CHECK(networks([&] { return mean_flow(small.net(), p, v, {}); }) == 1);
  CHECK(networks([&] { return alpha_flow(small.net(), p, v, {.alpha = 0.3}); }) == 1);
  CHECK(networks([&] { return loss_on(ShortcutConfig{.bootstrap_share = 0.5}, {.net = small.net(), .velocity = v}, batch); }) == 1);
  CHECK(networks([&] { return split_mean_flow(small.net(), p, v, {}); }) == 1);
  CHECK(networks([&] { return continuous_cm(small.net(), p, v, {}); }) == 1);
  CHECK(networks([&] { return lsd(small.net(), diagonal(small.net()), p, v, {.through_derivative = false}); }) == 1);
}

TEST_CASE("Shortcut's jumps have dyadic lengths") {
  std::vector<double> s, t;
  const FlowMapNet spy = [&](const Var& z, const Var& ss, const Var& tt, const Labels&) {
    s = ss.value().to_vector<double>(), t = tt.value().to_vector<double>();
    return z;
  };
  const ShortcutConfig config{.bootstrap_share = 0.25, .finest = 16, .labels = no_drop};
  const ObjectiveLoss out = loss_on(config, {.net = spy}, gaussian_batch(200));
  CHECK(out.metrics.at("off_diagonal_share").value() == 0.25);
  std::map<double, int> lengths;
  for (std::size_t i = 0; i < 200; ++i) {
    const double d = t[i] - s[i];
    CHECK((d > 0) == (i < 50));
    if (d <= 0) continue;
    ++lengths[d];
    CHECK(t[i] / d == std::round(t[i] / d));
    CHECK((s[i] >= 0 && t[i] <= 1));
  }
  REQUIRE(lengths.size() == 4);                                // 1, 1/2, 1/4, 1/8 in equal shares by count
  for (const auto& [d, count] : lengths) CHECK((d >= 0.125 && (count == 12 || count == 13)));
  CHECK_THROWS_AS(draw_dyadic_jumps(gaussian_batch(8), {.finest = 48}), ConfigError);
  CHECK_THROWS_AS(make_objective(ShortcutConfig{.finest = 48}).check(100), ConfigError);
  CHECK(ShortcutConfig{.bootstrap_share = 0}.needs().jumps == Jumps::none);
}

TEST_CASE("CMT has no residual on exact trajectories, and the solver's error on solved ones") {
  const GaussianFlow g = gaussian();
  const Draws draws{5, 0, consecutive(0, 3)};
  CmtConfig config{.points = 9, .shift = 2, .pairs = 40};
  Trajectories exact = roll_out(g.v(), {dim}, {}, draws, config, DType::f64);
  for (std::size_t i = 1; i < exact.states.size(); ++i)
    exact.states[i] = g.map(exact.states[0], Tensor::full({3}, exact.times[i], DType::f64), Tensor::ones({3}, DType::f64));
  CHECK(raw(cmt(g.u(), exact, config)) < none);
  const double euler = raw(cmt(g.u(), roll_out(g.v(), {dim}, {}, draws, config, DType::f64), config));
  config.solver = "heun";
  const double heun = raw(cmt(g.u(), roll_out(g.v(), {dim}, {}, draws, config, DType::f64), config));
  CHECK(heun < 0.05 * euler);
}

TEST_CASE("CMT samples pairs, times and labels as configured") {
  const GaussianFlow g = gaussian();
  const Draws draws{5, 0, consecutive(0, 4)};
  const Labels y = Tensor::from<std::int64_t>({0, 1, 2, 3}, {4});
  std::vector<double> s, t;
  std::vector<std::int64_t> labels;
  const FlowMapNet spy = [&](const Var& z, const Var& ss, const Var& tt, const Labels& yy) {
    s = ss.value().to_vector<double>(), t = tt.value().to_vector<double>(), labels = yy.to_vector<std::int64_t>();
    return z;
  };
  CmtConfig config{.points = 5, .shift = 3, .pairs = 200, .labels = no_drop};
  const Grid solved = teacher_grid(5, 3);
  cmt(spy, roll_out(g.v(), {dim}, y, draws, config, DType::f64), config);
  std::set<std::pair<double, double>> seen;
  for (std::size_t i = 0; i < t.size(); ++i) {
    CHECK(s[i] < t[i]);
    CHECK(labels[i] == static_cast<std::int64_t>(i / 200));
    CHECK((std::count(solved.begin(), solved.end(), t[i]) == 1 && std::count(solved.begin(), solved.end(), s[i]) == 1));
    seen.insert({s[i], t[i]});
  }
  CHECK(seen.size() == 10);                                // 5 points: all 10 pairs occur in 800 draws
  const auto first = t;
  cmt(spy, roll_out(g.v(), {dim}, y, draws, config, DType::f64), config, 1);
  CHECK(t != first);                                       // another round has other pairs

  config.compat.cmt_time_labels = "uniform";               // the released code: the same states, other times
  const Trajectories trajectories = roll_out(g.v(), {dim}, y, draws, config, DType::f64);
  CHECK(trajectories.times == plain_grid(4));
  cmt(spy, trajectories, config);
  CHECK(std::set<double>(t.begin(), t.end()) == std::set<double>{0.25, 0.5, 0.75, 1});
  CHECK(std::set<double>(s.begin(), s.end()) == std::set<double>{0, 0.25, 0.5, 0.75});

  config.labels.probability = 0.1;                         // labels are dropped for whole trajectories; without fd_share_label_drop also for single rows
  const auto dropped_rows = [&] { return std::count(labels.begin(), labels.end(), 4) % 200; };
  cmt(spy, roll_out(g.v(), {dim}, y, draws, config, DType::f64), config);
  CHECK(dropped_rows() == 0);
  config.compat.fd_share_label_drop = false;
  cmt(spy, roll_out(g.v(), {dim}, y, draws, config, DType::f64), config);
  CHECK(dropped_rows() > 20);
  config.compat.cmt_time_labels = "log";
  CHECK_THROWS_AS(roll_out(g.v(), {dim}, y, draws, config, DType::f64), ConfigError);
}

TEST_CASE("the 1-step map is the same under the paper's and the released code's time labels") {
  const GaussianFlow g = gaussian();
  const Draws draws{5, 0, consecutive(0, 2)};
  CmtConfig config{.points = 16, .shift = 6.9282032};
  const Trajectories paper = roll_out(g.v(), {dim}, {}, draws, config, DType::f64);
  config.compat = Compat::sony();
  const Trajectories sony = roll_out(g.v(), {dim}, {}, draws, config, DType::f64);
  CHECK(max_difference(paper.states.back(), sony.states.back()) == 0);
  CHECK(paper.times.front() == sony.times.front());
  CHECK(near(paper.times.back(), 0.0068873, 1e-4));
  CHECK(sony.times.back() == 0);
  CHECK(near(paper.times[7], 0.8880531, 1e-7));       // labelled 0.5333 by the released code
  CHECK(near(sony.times[7], 8.0 / 15, 1e-14));
}

TEST_CASE("CMT's gradient of a batch is the mean of the gradients of its parts, on a jittered grid too") {
  const GaussianFlow g = gaussian();
  const SmallNet small;
  const CmtConfig config{.points = 6, .pairs = 5, .jitter = 1, .labels = {0.3, 4}};
  const auto part = [&](std::int64_t first, std::int64_t count) {
    const Draws draws{3, 7, consecutive(40 + first, count)};
    const Labels y = Tensor::from<std::int64_t>({0, 1, 2, 3, 0, 1}, {6}).slice(0, first, first + count);
    return gradient(small, [&] { return cmt(small.net(), roll_out(g.v(), {dim}, y, draws, config, DType::f64), config).loss; });
  };
  const auto whole = part(0, 6), a = part(0, 2), b = part(2, 4);
  std::vector<double> sum;
  for (std::size_t i = 0; i < whole.size(); ++i) sum.push_back((2 * a[i] + 4 * b[i]) / 6);
  CHECK(max_difference(whole, sum) < 2e-15);
}

TEST_CASE("CMT's jittered grid keeps its ends, stays ordered and changes between steps") {
  const VelocityNet still = [](const Var& z, const Var&, const Labels&) { return z * 0.0; };
  CmtConfig config{.points = 8};
  config.jitter = 1;
  const auto times = [&](std::uint32_t step) { return roll_out(still, {2}, {}, {1, step, consecutive(0, 3)}, config).times; };
  const Grid plain = teacher_grid(8, 1), a = times(1), b = times(2);
  CHECK(a == times(1));
  CHECK(a != b);
  for (const Grid& g : {a, b}) {
    CHECK(g.front() == plain.front());
    CHECK(g.back() == plain.back());
    for (std::size_t i = 1; i < g.size(); ++i) CHECK(g[i] < g[i - 1]);
  }
}
