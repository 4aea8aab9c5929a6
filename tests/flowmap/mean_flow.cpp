// MeanFlow: zero residual on closed forms, gradients that do not pass through the target, switches of the released code.
#include "flowmap/objective/mean_flow.h"

#include "autodiff/jvp.h"
#include "tests/flowmap/support.h"
#include "tensor/memory/allocator.h"
#include "tests/support/near.h"

using namespace fm;
using namespace fm::test;

namespace {

MeanFlowConfig config(const char* derivative = "jvp", double diagonal = 0.5) {
  MeanFlowConfig c;
  c.pairs.diagonal_share = diagonal;
  c.labels = {0.1, 4};
  c.derivative.kind = derivative;
  return c;
}

}  // namespace

TEST_CASE("the closed-form map has no residual under distillation") {
  for (const DType dtype : {DType::f64, DType::f32}) {
    const GaussianFlow g = gaussian(dtype);
    const ObjectiveLoss out = loss_on(config(), {.net = g.u(), .velocity = teacher(g.v())}, gaussian_batch(128, dtype));
    const double rms = std::sqrt(out.metrics.at("raw_mse").value()), worst_row = std::sqrt(max(out.raw, 0).item());
    MESSAGE(std::string(name_of(dtype)) << ": residual " << rms << ", worst row " << worst_row);
    CHECK(rms < (dtype == DType::f64 ? 1e-14 : 1e-6));
    CHECK(worst_row < (dtype == DType::f64 ? 1e-14 : 1e-6));
  }
}

TEST_CASE("with central differences, the residual is their error") {
  const GaussianFlow g = gaussian();
  MeanFlowConfig c = config("central");
  const double coarse = loss_on(c, {.net = g.u(), .velocity = teacher(g.v())}, gaussian_batch(128)).metrics.at("raw_mse").value();
  c.derivative.delta /= 10;
  const double fine = loss_on(c, {.net = g.u(), .velocity = teacher(g.v())}, gaussian_batch(128)).metrics.at("raw_mse").value();
  CHECK(coarse > 0);
  CHECK(coarse < 3e-9);
  CHECK(fine < 1e-3 * coarse);                             // the residual falls to (1/10)^2, its square to (1/10)^4
}

TEST_CASE("the integrated map of a two-dimensional mixture has no residual") {
  const auto at = [](std::vector<double> v) { return Tensor::from(v, {2}); };
  const GaussianMixture mixture{
      {{0.3, at({-1, 0.5}), at({0.4, 0.7})}, {0.5, at({1.2, -0.3}), at({0.5, 0.5})}, {0.2, at({0, 1.5}), at({0.6, 0.4})}}};
  const FlowMapNet u = average_velocity(mixture.v(), 32);
  const Draws draws{2, 0, consecutive(0, 24)};
  const Batch batch{draws.normal({2}, DType::f64, Purpose::sampling), {}, draws};
  const ObjectiveLoss out = loss_on(config(), {.net = u, .velocity = teacher(mixture.v())}, batch);
  CHECK(out.metrics.at("raw_mse").value() < 1e-8);
  CHECK(loss_on(config(), {.net = u}, batch).metrics.at("raw_mse").value() > 0.1);
  // a mixture with one component has the velocity of the Gaussian
  const GaussianFlow g = gaussian();
  const GaussianMixture single{{{1.0, g.mean, g.deviation}}};
  const Batch b = gaussian_batch(8);
  const Tensor t = times({0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.9, 1.0});
  CHECK(max_difference(evaluate(single.v(), b.z0, t, {}), evaluate(g.v(), b.z0, t, {})) < 1e-13);
}

TEST_CASE("gradients do not pass through the target") {
  const SmallNet small;
  const PathBatch p = draw_path_batch(gaussian_batch(16), config().pairs, config().labels);
  const std::int64_t k = p.off_diagonal;
  REQUIRE(k > 0);
  REQUIRE(k < 16);
  // The target computed by hand beforehand, with the derivative of every row.
  const Tensor w = conditional_velocity(p.z0, p.eps);
  const auto [u0, dudt] = jvp([&](const Var& z, const Var& t, const Var& s) { return small.net()(z, s, t, p.y); }, at(p.z, p.t, p.s),
                              along(w, 1.0, zero));
  const Tensor target = w - column(p.t - p.s, 2) * dudt;
  const auto by_hand = gradient(small, [&] { return mean(square(small.net()(p.z, p.s, p.t, p.y) - target)); });
  const auto ours = gradient(small, [&] { return mean_flow(small.net(), p, one_point(), config()).loss; });
  CHECK(max_difference(ours, by_hand) < 1e-13);
  // With a finite difference the gradient agrees to within the difference's error.
  MeanFlowConfig fd = config("central");
  CHECK(max_difference(gradient(small, [&] { return mean_flow(small.net(), p, one_point(), fd).loss; }), by_hand) < 2e-5);
}

TEST_CASE("with all rows on the diagonal, MeanFlow is flow matching") {
  const SmallNet small;
  const PathBatch p = draw_path_batch(gaussian_batch(16), {.diagonal_share = 1}, {0, 4});
  const ObjectiveLoss out = mean_flow(small.net(), p, one_point(), config());
  const Tensor v = evaluate(small.net(), p.z, p.t, p.t, p.y);
  CHECK(near(out.loss.value().item(), mean(square(v - (p.eps - p.z0))).item(), 1e-14));
  CHECK_FALSE(out.derivative_ratio.defined());
  CHECK(out.metrics.count("raw_mse_off_diagonal") == 0);
}

TEST_CASE("a blended velocity is linear between the one-point velocity and the teacher's") {
  const GaussianFlow g = gaussian();
  const PathBatch p = draw_path_batch(gaussian_batch(8), {}, {0, 4});
  const Tensor a = one_point()(p), b = teacher(g.v())(p);
  CHECK(max_difference(blend(0.3, teacher(g.v()))(p), 0.7 * a + 0.3 * b) < 1e-15);
  CHECK(max_difference(blend(0, teacher(g.v()))(p), a) == 0);
  CHECK(max_difference(blend(1, teacher(g.v()))(p), b) == 0);
  CHECK_THROWS_AS(blend(1.5, one_point()), ConfigError);
}

TEST_CASE("classifier-free guidance and autoguidance follow their formulas") {
  const SmallNet small;
  const VelocityNet v = diagonal(small.net());
  const PathBatch p = draw_path_batch(gaussian_batch(12), {}, {0.3, 4});
  const Tensor conditional = evaluate(v, p.z, p.t, p.y), null = evaluate(v, p.z, p.t, null_labels(p.y, 4));
  CHECK(max_difference(evaluate(cfg(v, 1.5, 4), p.z, p.t, p.y), null + 1.5 * (conditional - null)) < 1e-14);
  CHECK(max_difference(evaluate(cfg(v, 1.0, 4), p.z, p.t, p.y), conditional) == 0);
  CHECK(max_difference(evaluate(cfg(v, 1.5, 4, {2, 3}), p.z, p.t, p.y), conditional) == 0);
  const Tensor half = evaluate(cfg(v, 1.5, 4, {0, 0.5}), p.z, p.t, p.y);
  const auto t = p.t.to_vector<double>();
  for (std::int64_t i = 0; i < 12; ++i)
    CHECK((max_difference(half.select(0, i), conditional.select(0, i)) == 0) ==
          (t[static_cast<std::size_t>(i)] > 0.5 || p.y.to_vector<std::int64_t>()[static_cast<std::size_t>(i)] == 4));
  // Samplers pass f32 times. In f32 0.8 is larger than in f64, and 0.7 is smaller: both ends of the interval are guided all the same.
  const VelocityNet of_label = [](const Var& z, const Var&, const Labels& y) {
    std::vector<double> out;
    for (const std::int64_t label : y.to_vector<std::int64_t>()) out.push_back(label == 4 ? 0 : 1);
    return Var(Tensor::from(out, z.shape()).to(DType::f32));
  };
  for (const DType dtype : {DType::f32, DType::f64}) {
    std::int64_t guided = 0;
    for (const double at : {1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1})
      guided += evaluate(cfg(of_label, 3, 4, {0.7, 0.8}), Tensor::zeros({1, 1}), Tensor::full({1}, at, dtype), Tensor::from<std::int64_t>({0}, {1})).item() == 3;
    CHECK(guided == 2);
  }
  const SmallNet other(DType::f64, 6);
  const Tensor weak = evaluate(diagonal(other.net()), p.z, p.t, p.y);
  CHECK(max_difference(evaluate(autoguidance(v, diagonal(other.net()), 1.4), p.z, p.t, p.y), weak + 1.4 * (conditional - weak)) < 1e-14);
}

TEST_CASE("each metric's loss agrees with its formula; raw is the same for every metric") {
  const Tensor r = Tensor::from<double>({1, 2, 0.5, -1}, {2, 2});                // S = 5 and 1.25
  const auto value = [&](MetricConfig c) { return measure(r, c).loss.value().item(); };
  CHECK(near(value({}), (2.5 + 0.625) / 2, 1e-14));
  CHECK(near(value({"adaptive"}), (5 / 5.01 + 1.25 / 1.26) / 2, 1e-14));
  CHECK(near(value({"adaptive", "mean", 0.1, 0.5}), (2.5 / std::sqrt(2.6) + 0.625 / std::sqrt(0.725)) / 2, 1e-14));
  CHECK(near(value({"squared_adaptive"}), (25 / 25.001 + 1.5625 / 1.5635) / 2, 1e-14));
  CHECK(near(value({"pseudo_huber", "sum", 0.3}), (std::sqrt(5.09) + std::sqrt(1.34)) / 2 - 0.3, 1e-14));
  CHECK(near(value({"log", "sum", 0.3}), (std::log(5.3) + std::log(1.55)) / 2, 1e-14));
  CHECK(near(value({"log", "mean"}), (std::log(2.51) + std::log(0.635)) / 2, 1e-14));
  CHECK(near(value({"power", "sum", 0.3, 0.75}), (std::pow(5.3, 0.75) + std::pow(1.55, 0.75)) / 2, 1e-14));
  CHECK(near(value({"power", "sum", 0, 0.5}), (std::sqrt(5) + std::sqrt(1.25)) / 2, 1e-12));
  for (const char* kind : {"l2", "adaptive", "squared_adaptive", "pseudo_huber", "log", "power"})
    CHECK(max_difference(measure(r, {kind}).raw, times({2.5, 0.625})) < 1e-15);  // raw is the same for every metric
  CHECK(near(measure(r, {}, times({1, 0})).loss.value().item(), 1.25, 1e-14));
  CHECK_THROWS_AS(value({"l1"}), ConfigError);
  // the weight carries no gradient: d/dr S/sg(S + c) = 2 r / (S + c); the squared form has twice that
  Tape tape;
  const Var x = tape.variable(r);
  const Tensor g = backward(measure(x, {"squared_adaptive"}).loss)[x];
  CHECK(near(g.to_vector<double>()[1], 0.5 * 2 * 5 * 2 * 2 / 25.001, 1e-14));
}

TEST_CASE("the metrics log and power are differentiated in full, and their gradient is 0 where the residual is 0") {
  const Tensor r = Tensor::from<double>({1, 2, 0, 0}, {2, 2});
  const auto slope = [&](MetricConfig c) {
    Tape tape;
    const Var x = tape.variable(r);
    return backward(measure(x, c).loss)[x].to_vector<double>();
  };
  const auto log = slope({"log", "sum", 0.3}), power = slope({"power", "sum", 0.3, 0.75}), root = slope({"power", "sum", 0, 0.5});
  CHECK(near(log[1], 0.5 * 2 * 2 / 5.3, 1e-14));
  CHECK(max_difference(log, slope({"adaptive", "sum", 0.3})) < 1e-15);           // the same gradient, another value
  CHECK(near(power[1], 0.5 * 0.75 * 2 * 2 * std::pow(5.3, -0.25), 1e-14));
  CHECK(near(root[1], 0.5 * 2 / std::sqrt(5), 1e-12));                           // r / |r|
  for (const auto& g : {log, power, root}) CHECK((g[2] == 0 && g[3] == 0));
  CHECK_THROWS_AS(measure(r, {"power", "sum", 0, 0}), ConfigError);
}

TEST_CASE("the switches for the released code change the loss as that code does") {
  const SmallNet small;
  const PathBatch p = draw_path_batch(gaussian_batch(64), {.diagonal_share = 0.25}, {0.1, 4});
  const auto run = [&](const MeanFlowConfig& c) { return mean_flow(small.net(), p, one_point(), c).loss.value().item(); };
  const MeanFlowConfig paper = config("central");
  MeanFlowConfig c = paper;
  c.compat.squared_adaptive_metric = true;
  CHECK(near(run(c), 1, 5e-4));
  CHECK(std::fabs(run(paper) - 1) > 1e-2);
  c = paper;
  c.compat.fd_share_label_drop = false;                    // the two sides may have different labels; the difference is divided by 2 delta
  CHECK(run(c) > 10 * run(paper));
  c.labels.probability = 0;
  CHECK(near(run(c), run(paper), 1e-14));
  // the clamp changes only rows near the ends of the interval
  c = paper;
  c.compat.clamp_fd_times = false;
  CHECK(near(run(c), run(paper), 5e-6));
  CHECK(run(c) != run(paper));
  const Compat sony = Compat::named("sony");
  CHECK((sony.cmt_time_labels == "uniform" && !sony.fd_share_label_drop && !sony.clamp_fd_times && sony.squared_adaptive_metric));
  CHECK_THROWS_AS(Compat::named("google"), ConfigError);
}

TEST_CASE("the tangent policy masks, clamps, scales and normalizes") {
  const double inf = std::numeric_limits<double>::infinity();
  const Tensor d = Tensor::from<double>({3, -4, 1, inf, 0.5, 0}, {3, 2});
  const GuardedTangent masked = guard(d, 5, {.mask = true});
  CHECK(near(masked.masked_share.value(), 1 / 3.0, 1e-15));
  CHECK(masked.weight.to_vector<double>() == std::vector<double>{1, 0, 1, 1, 1});
  CHECK(all_finite(masked.dudt));
  const GuardedTangent clamped = guard(d.slice(0, 0, 1), 5, {.clamp = 3.5});
  CHECK(clamped.dudt.to_vector<double>() == std::vector<double>{3, -3.5});
  CHECK(clamped.clamped_share.value() == 0.5);
  CHECK(guard(d.slice(0, 0, 1), 5, {.warmup = 0.5}).dudt.to_vector<double>() == std::vector<double>{1.5, -2});
  // normalized: same direction from u, length |g| / (|g| + c)
  const Tensor u = Tensor::zeros({1, 2}, DType::f64);
  CHECK(max_difference(guarded_target(d.slice(0, 0, 1), u, {.normalise = 5}), 0.1 * d.slice(0, 0, 1)) < 1e-15);
  const double length = std::sqrt(40.0) + 5;                                             // the norm of (3, -4) - (1, 2), plus c = 5
  const Tensor from = Tensor::from<double>({1, 2}, {1, 2}), wanted = Tensor::from<double>({1 + 2 / length, 2 - 6 / length}, {1, 2});
  CHECK(max_difference(guarded_target(d.slice(0, 0, 1), from, {.normalise = 5}), wanted) < 1e-15);
  // a row of large finite f32 numbers is kept, and its norm does not overflow: an infinite norm would make the correction 0
  const Tensor large = Tensor::from<float>({3e20f, -4e20f, 1, NAN}, {2, 2});
  const GuardedTangent kept = guard(large, 2, {.mask = true});
  CHECK(kept.masked_share.value() == 0.5);
  CHECK(kept.weight.to_vector<double>() == std::vector<double>{1, 0});
  CHECK(near(guarded_target(large.slice(0, 0, 1), Tensor::zeros({1, 2}), {.normalise = 5}).to_vector<double>()[0], 0.6, 1e-6));
  // a derivative that is not finite in one row masks only that row
  const FlowMapNet broken = [](const Var& z, const Var& s, const Var& t, const Labels&) { return z * column(sqrt(t - s), 2); };
  PathBatch p = draw_path_batch(gaussian_batch(8), {.diagonal_share = 0}, {0, 4});
  p.s = concat(std::vector<Tensor>{p.t.slice(0, 0, 1), p.s.slice(0, 1, 8)}, 0);         // in row 0 t = s, where the slope of sqrt is infinite
  MeanFlowConfig c = config();
  c.tangent.mask = true;
  const ObjectiveLoss out = mean_flow(broken, p, one_point(), c);
  CHECK(out.metrics.at("masked_share").value() == 1 / 8.0);
  CHECK(std::isfinite(out.metrics.at("loss").value()));
}

TEST_CASE("a MeanFlow step with an exact derivative needs hardly more memory than a flow-matching step") {
  const std::int64_t rows = 128, width = 96;
  std::vector<Parameter> layers;
  for (std::uint32_t i = 0; i < 12; ++i) layers.push_back({random_normal({width, width}, {1, i}) * 0.1});
  const FlowMapNet deep = [&](const Var& z, const Var& s, const Var& t, const Labels&) {
    Var h = z + column(t, 2) * column(t - s, 2);
    for (const Parameter& p : layers) h = gelu(linear(h, Var(p)));
    return h;
  };
  const Draws draws{3, 0, consecutive(0, rows)};
  const Batch batch{draws.normal({width}, DType::f32, Purpose::sampling), {}, draws};
  const auto peak = [&](double diagonal) {
    const PathBatch p = draw_path_batch(batch, {.diagonal_share = diagonal, .exact_share = true}, {});
    const auto before = memory_stats().live;
    reset_memory_peak();
    Tape tape;
    backward(mean_flow(deep, p, one_point(), {}).loss);
    return static_cast<double>(memory_stats().peak - before);
  };
  const double flow_matching = peak(1), recipe = peak(0.75), all_rows = peak(0);
  MESSAGE("peak bytes: s = t " << flow_matching << ", 25 % of rows s < t " << recipe << ", all rows " << all_rows);
  CHECK(recipe < 1.1 * flow_matching);
  CHECK(all_rows < 1.15 * flow_matching);
}
