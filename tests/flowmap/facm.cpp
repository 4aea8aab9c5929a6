// FACM: both terms by hand, the gradient paths, its settings and its minimum.
#include "flowmap/objective/facm.h"

#include <cmath>
#include <numbers>

#include "flowmap/objective/mean_flow.h"
#include "tests/flowmap/skewed.h"
#include "tests/flowmap/support.h"
#include "tests/support/near.h"

using namespace fm;
using namespace fm::test;

namespace {

PathBatch points(std::int64_t rows) { return draw_jumps_to_data(gaussian_batch(rows), {}, {0, 4}); }

double metric(const ObjectiveLoss& out, const std::string& name) { return out.metrics.at(name).value(); }

// g = u - w + t du/dt at s = 0, du/dt by differences of fourth order.
Tensor g_of(const FlowMapNet& net, const PathBatch& p, const Tensor& w) {
  const auto u = [&](double h) { return evaluate(net, p.z + h * w, p.s, p.t + h, p.y); };
  const double h = 1e-3;
  const Tensor dudt = ((u(h) - u(-h)) * 8.0 - (u(2 * h) - u(-2 * h))) / (12 * h);
  return u(0) - w + column(p.t, 2) * dudt;
}

}  // namespace

TEST_CASE("FACM's loss is the sum of its consistency term and its flow-matching term, plain and published") {
  const SmallNet small;
  const PathBatch p = points(12);
  const Tensor w = one_point()(p), g = g_of(small.net(), p, w), v = evaluate(small.net(), p.z, p.t, p.t, p.y);
  const Tensor sine = sin(p.t * (std::numbers::pi / 2)), alpha = 1.0 - sqrt(1.0 - p.t);
  const auto consistency = [&](const Tensor& step, const Tensor& weight) { return mean(weight * row_sums(square(column(step, 2) * g)) / 5.0).item(); };
  const double anchor = mean(square(v - w)).item();

  const ObjectiveLoss plain = facm(small.net(), p, one_point(), {});
  CHECK(near(plain.loss.value().item(), consistency(alpha, sine) + anchor, 1e-9));
  CHECK(near(metric(plain, "residual_anchor"), anchor, 1e-14));
  CHECK(near(metric(plain, "residual_consistency"), consistency(alpha, Tensor::ones({12}, DType::f64)), 1e-9));
  CHECK(near(metric(plain, "raw_mse"), metric(plain, "residual_anchor") + metric(plain, "residual_consistency"), 1e-14));
  CHECK(plain.raw.dim(0) == 12);
  const double unweighed = facm(small.net(), p, one_point(), {.power = 2, .sine_weight = false}).loss.value().item();
  CHECK(near(unweighed, consistency(1.0 - square(1.0 - p.t), Tensor::ones({12}, DType::f64)) + anchor, 1e-9));

  // The published form: g clamped to [-1, 1], the adaptive metric for the consistency term alone, and the angle between v and w.
  const Tensor cut = column(alpha, 2) * clamp(g, -1, 1), e = row_sums(square(cut)) / 5.0;
  CHECK(mean(greater(abs(g), Tensor::scalar(1, DType::f64))).item() > 0.1);
  const Tensor cosine = row_sums(v * w) / (sqrt(row_sums(square(v))) * sqrt(row_sums(square(w))));
  const FacmConfig published{.cosine = 1, .metric = {"adaptive", "mean", 1e-3, 0.5}, .tangent = {.clamp_residual = 1}};
  const ObjectiveLoss out = facm(small.net(), p, one_point(), published);
  CHECK(near(out.loss.value().item(), mean(sine * e / sqrt(e + 1e-3)).item() + anchor + mean(1.0 - cosine).item(), 1e-9));
  CHECK(near(metric(out, "residual_consistency"), mean(e).item(), 1e-9));
  CHECK_FALSE(published.claims().unbiased);
  CHECK(published.claims().exact);
}

TEST_CASE("FACM's angle is taken over the channels at each position and averaged over positions") {
  const Shape shape{3, 2, 4};
  const Tensor z0 = normal(shape, 3, DType::f64), eps = normal(shape, 4, DType::f64);
  PathBatch p;
  p.z0 = z0, p.eps = eps, p.s = Tensor::zeros({3}, DType::f64), p.t = times({0.2, 0.5, 0.9}), p.z = interpolate(z0, eps, p.t), p.off_diagonal = 3;
  const FlowMapNet net = [](const Var& z, const Var& s, const Var& t, const Labels&) { return sin(z) + column(t - s, 3); };
  const double with = facm(net, p, one_point(), {.cosine = 0.7}).loss.value().item(), without = facm(net, p, one_point(), {}).loss.value().item();
  const auto v = sin(p.z).to_vector<double>(), w = (eps - z0).to_vector<double>();
  double wanted = 0;
  for (std::size_t row = 0; row < 3; ++row)
    for (std::size_t at = 0; at < 4; ++at) {
      double vw = 0, vv = 0, ww = 0;
      for (std::size_t c = 0; c < 2; ++c) {
        const std::size_t i = (row * 2 + c) * 4 + at;
        vw += v[i] * w[i], vv += v[i] * v[i], ww += w[i] * w[i];
      }
      wanted += 0.7 * (1 - vw / std::sqrt(vv * ww)) / 12;
    }
  CHECK(near(with - without, wanted, 1e-11));
}

TEST_CASE("FACM's gradient passes through u and v only: MeanFlow's at s = 0 with a weight for each row, plus flow matching's") {
  const SmallNet small;
  const PathBatch p = points(1);
  const double t = p.t.item(), weight = std::sin(std::numbers::pi * t / 2) * (1 - std::sqrt(1 - t));
  const auto all = gradient(small, [&] { return facm(small.net(), p, one_point(), {}).loss; });
  auto wanted = gradient(small, [&] { return mean_flow(small.net(), p, one_point(), {}).loss; });
  const auto anchor = gradient(small, [&] { return mean(square(small.net()(p.z, p.t, p.t, p.y) - one_point()(p))); });
  for (std::size_t i = 0; i < wanted.size(); ++i) wanted[i] = weight * wanted[i] + anchor[i];
  CHECK(max_difference(all, wanted) < 1e-13);
  CHECK(max_difference(all, anchor) > 1e-3);
}

TEST_CASE("FACM's minimum is the flow map; FACM is unbiased without the published guards and biased with them") {
  const GaussianFlow g = gaussian();
  const ObjectiveLoss exact = facm(g.u(), points(32), teacher(g.v()), {});
  CHECK(metric(exact, "raw_mse") < 1e-28);
  CHECK(metric(facm([u = g.u()](const Var& z, const Var& s, const Var& t, const Labels& y) { return 1.01 * u(z, s, t, y); }, points(32), teacher(g.v()), {}),
               "residual_consistency") > 1e-7);
  const PathBatch p = skewed(g, points(8));
  const auto at_minimum = [&](const FacmConfig& config) {
    return gradient_at(g, [&](const FlowMapNet& net) { return facm(net, p, one_point(), config).loss; });
  };
  CHECK(near_zero(at_minimum({}), 1e-12));
  CHECK(FacmConfig{}.claims().unbiased);
  for (const FacmConfig& biased : {FacmConfig{.cosine = 1}, FacmConfig{.metric = {"adaptive", "mean", 1e-3, 0.5}}, FacmConfig{.tangent = {.clamp_residual = 0.5}}}) {
    CHECK(std::abs(at_minimum(biased)) > 1e-4);
    CHECK_FALSE(biased.claims().unbiased);
    CHECK(biased.claims().exact);
  }
}

TEST_CASE("FACM costs 7 evaluations for each row, and both terms have the same dropped labels") {
  const FacmConfig config{.labels = {0.5, 4}};
  CHECK(config.needs().evaluations() == 7);
  CHECK(config.needs().jumps == Jumps::to_data);
  std::vector<std::vector<std::int64_t>> labels;
  std::vector<bool> on_diagonal;
  const FlowMapNet spy = [&](const Var& z, const Var& s, const Var& t, const Labels& y) {
    labels.push_back(y.to_vector<std::int64_t>());
    on_diagonal.push_back(max_difference(s.value(), t.value()) == 0);
    return z * column(t, 2);
  };
  loss_on(config, {.net = spy}, gaussian_batch(16));
  REQUIRE(labels.size() == 2);
  CHECK(labels[0] == labels[1]);
  CHECK(on_diagonal == std::vector<bool>{false, true});
}
