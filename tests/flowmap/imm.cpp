// Inductive Moment Matching: its formula by hand, its times and weights, the gradient paths, and maps that it cannot distinguish from the true one.
#include "flowmap/objective/imm.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "flowmap/certify.h"
#include "tests/flowmap/support.h"
#include "tests/support/error_of.h"
#include "tests/support/near.h"
#include "tests/support/text.h"

using namespace fm;
using namespace fm::test;

namespace {

double raw(const ObjectiveLoss& out) { return out.metrics.at("raw_mse").value(); }
double loss(const ObjectiveLoss& out) { return out.loss.value().item(); }

// The paper's r, and the paper's weight with the derivative of l = 2 log((1-t)/t) computed as a difference.
double middle_of(double s, double t, std::int64_t halvings) {
  const double eta = t / (1 - t) - 160 / std::pow(2.0, double(halvings));
  return eta > 0 ? std::max(s, eta / (1 + eta)) : s;
}
double weight_of(double t, double a, double b) {
  const auto l = [](double x) { return 2 * std::log((1 - x) / x); };
  const double h = 1e-6, slope = (l(t + h) - l(t - h)) / (2 * h);
  return 0.5 / (1 + std::exp(l(t) - b)) * -slope * std::pow(1 - t, a) / ((1 - t) * (1 - t) + t * t);
}

PathBatch at_times(const Tensor& z0, const Tensor& eps, double s, double t) {
  PathBatch p;
  const std::int64_t rows = z0.dim(0);
  p.z0 = z0, p.eps = eps, p.s = Tensor::full({rows}, s, DType::f64), p.t = Tensor::full({rows}, t, DType::f64);
  p.z = interpolate(z0, eps, p.t);
  p.off_diagonal = rows;
  return p;
}

// 31 members (z0, eps). Their z_t are 31 points, symmetric about the mean and scaled to the flow's deviation at t. Their z_r are the same points in another
// order, scaled to the deviation at r. The true map sends both sets to one set at s, so sums over all pairs of members are exact, without quadrature.
struct Law {
  static constexpr std::int64_t n = 31;
  const GaussianFlow flow{Tensor::from<double>({0.4}, {1}), Tensor::from<double>({0.6}, {1})};
  double s = 0.2, t = 0.7, r = middle_of(0.2, 0.7, 7);
  std::vector<double> z0, eps;

  Law() {
    const auto spread = [](double time) { return std::hypot((1 - time) * 0.6, time); };
    for (std::int64_t i = 0; i < n; ++i) {
      const auto point = [](std::int64_t j) { return std::tan(1.3 * double(2 * j - (n - 1)) / double(n - 1)); };
      const double zt = (1 - t) * 0.4 + spread(t) * point(i), zr = (1 - r) * 0.4 + spread(r) * point((5 * i + 3) % n);
      eps.push_back(((1 - r) * zt - (1 - t) * zr) / (t - r));                    // solves the equations of z_t and z_r for z0 and eps
      z0.push_back((t * zr - r * zt) / (t - r));
    }
  }
  // The members with these numbers, in this order.
  PathBatch members(const std::vector<std::int64_t>& which) const {
    std::vector<double> a, b;
    for (std::int64_t i : which) a.push_back(z0[std::size_t(i)]), b.push_back(eps[std::size_t(i)]);
    const std::int64_t rows = std::ssize(a);
    return at_times(Tensor::from(a, {rows, 1}), Tensor::from(b, {rows, 1}), s, t);
  }
  PathBatch all() const {
    std::vector<std::int64_t> which(n);
    std::iota(which.begin(), which.end(), 0);
    return members(which);
  }
  // The true map, except that `change` replaces the end of jumps from t.
  FlowMapNet changed(std::function<Var(const Var&)> change) const {
    return [*this, change](const Var& z, const Var& s1, const Var& t1, const Labels&) {
      const Var gap = column(t1 - s1, 2), end = z - gap * flow.u()(z, s1, t1, {});
      return t1.value().to_vector<double>()[0] == t ? (z - change(end)) / gap : (z - end) / gap;
    };
  }
};

ImmConfig of_group(std::int64_t group) { return {.group = group, .halvings = 7}; }

// d loss / d theta at theta = 0, for the map u + theta phi with the true u.
double gradient_of(const Law& law, const PathBatch& p, const ImmConfig& config) {
  const Parameter theta{Tensor::zeros({1, 1}, DType::f64)};
  const FlowMapNet net = [&](const Var& z, const Var& s, const Var& t, const Labels&) {
    return law.flow.u()(z, s, t, {}) + Var(theta) * (sin(1.3 * z + 0.4) + 0.3 * square(z) + 0.1 * column(t, 2));
  };
  Tape tape;
  const Gradients gradients = backward(imm(net, p, config).loss);
  return gradients[theta].to_vector<double>()[0];
}

}  // namespace

TEST_CASE("IMM is the weighted mean over pairs of members of k(y, y) - 2 k(y, y') + k(y', y'), as computed by hand") {
  const SmallNet small;
  const std::int64_t rows = 6, group = 3;
  for (const std::string scale : {"time", "edm"}) {
    const ImmConfig config{.group = group, .halvings = 8, .power = 2, .bias = 1, .scale = scale, .deviation = 0.5, .labels = {0, 4}};
    Batch batch = gaussian_batch(rows);
    batch.draws.samples = consecutive(999, rows);
    const Objective o = make_objective(config);
    const Drawn drawn = o.draw(batch, {}, {});
    const PathBatch& p = drawn.p;
    const std::vector<double> s = p.s.to_vector<double>(), t = p.t.to_vector<double>();
    std::vector<double> r, c_out;
    for (std::size_t i = 0; i < s.size(); ++i) {
      r.push_back(middle_of(s[i], t[i], 8));
      c_out.push_back(scale == "time" ? t[i] : 0.5 * t[i] / std::hypot(1 - t[i], t[i]));
    }
    const Tensor zr = interpolate(p.z0, p.eps, times(r));
    const auto y = (p.z - column(times(t) - times(s), 2) * evaluate(small.net(), p.z, p.s, p.t, p.y)).to_vector<double>();
    const auto z = (zr - column(times(r) - times(s), 2) * evaluate(small.net(), zr, p.s, times(r), p.y)).to_vector<double>();
    const auto k = [&](const std::vector<double>& a, std::int64_t j, const std::vector<double>& b, std::int64_t m) {
      double squares = 0;
      for (std::int64_t d = 0; d < dim; ++d) squares += std::pow(a[std::size_t(j * dim + d)] - b[std::size_t(m * dim + d)], 2);
      return std::exp(-std::max(std::sqrt(squares), 1e-8) / (dim * c_out[std::size_t(j)]));
    };
    double wanted = 0;
    std::vector<double> of_rows;
    for (std::int64_t first = 0; first < rows; first += group) {
      double distance = 0;
      for (std::int64_t j = first; j < first + group; ++j)
        for (std::int64_t m = first; m < first + group; ++m) distance += k(y, j, y, m) - 2 * k(y, j, z, m) + k(z, j, z, m);
      distance /= double(group * group);
      wanted += weight_of(t[std::size_t(first)], 2, 1) * distance / double(rows / group);
      for (std::int64_t j = 0; j < group; ++j) of_rows.push_back(distance / double(group));
    }
    const Nets nets{.net = small.net()};
    const ObjectiveLoss out = o.loss(nets, drawn);
    CHECK(near(loss(out), wanted, 1e-8));
    CHECK(max_difference(out.raw.to_vector<double>(), of_rows) < 1e-14);
    CHECK(of_rows[0] > 1e-6);
  }
}

TEST_CASE("a group shares its times, which depend on the group's number and not on the part of the batch") {
  const ImmConfig config{.group = 4, .halvings = 9, .low = 0.1, .high = 0.9, .labels = {0, 4}};
  const auto drawn = [&](std::int64_t first, std::int64_t rows, std::uint32_t step = 5) {
    Batch batch = gaussian_batch(rows);
    batch.draws = {17, step, consecutive(first, rows)};
    return make_objective(config).draw(batch, {}, {});
  };
  const Drawn all = drawn(400, 400);
  const auto s = all.p.s.to_vector<double>(), t = all.p.t.to_vector<double>(), r = all["middle"].to_vector<double>();
  CHECK(all.p.off_diagonal == 400);
  double mean_t = 0, mean_place = 0, together = 0;
  for (std::size_t i = 0; i < 400; ++i) {
    CHECK((s[i] == s[i - i % 4] && t[i] == t[i - i % 4]));
    if (i % 4 == 0 && i > 0) CHECK((t[i] != t[i - 4] && s[i] != s[i - 4]));
    CHECK((0.1 <= s[i] && s[i] <= r[i] && r[i] < t[i] && t[i] <= 0.9));
    CHECK(near(r[i], middle_of(s[i], t[i], 9), 1e-12));
    const double place = (s[i] - 0.1) / (t[i] - 0.1);
    mean_t += t[i] / 400, mean_place += place / 400, together += (t[i] - 0.5) * (place - 0.5) / 400;
  }
  CHECK(near(mean_t, 0.5, 0.1));
  CHECK(near(mean_place, 0.5, 0.1));
  CHECK(near_zero(together, 0.025));                            // it would be 0.8 / 12 if one random number determined t and the place of s
  const Drawn part = drawn(440, 8);
  CHECK(max_difference(part.p.t, all.p.t.slice(0, 40, 48)) == 0);
  CHECK(max_difference(part.p.s, all.p.s.slice(0, 40, 48)) == 0);
  CHECK(max_difference(drawn(440, 8, 6).p.t, part.p.t) > 1e-3);
  for (const auto& [first, rows] : {std::pair<std::int64_t, std::int64_t>{401, 8}, {400, 6}})
    CHECK(has(error_of<ShapeError>([&, first = first, rows = rows] { drawn(first, rows); }), "rows must form whole groups of 4 consecutive sample numbers"));
}

TEST_CASE("r and the weight are the paper's, to rounding, from the smallest time to the largest") {
  for (const double t : {0.006, 0.03, 0.3, 0.5, 0.9, 0.994})
    for (const double a : {1.0, 2.0}) {
      const Drawn drawn = ImmConfig{.power = a}.complete(at_times(Tensor::zeros({1, 1}, DType::f64), Tensor::ones({1, 1}, DType::f64), 0.006, t), {});
      CHECK(near(drawn["weight"].item(), weight_of(t, a, 5), 1e-7));
      CHECK(near(drawn["middle"].item(), middle_of(0.006, t, 12), 1e-12));
    }
  const PathBatch p = at_times(Tensor::zeros({1, 1}, DType::f64), Tensor::ones({1, 1}, DType::f64), 0.1, 0.5);
  const auto middle = [&](std::int64_t halvings) { return ImmConfig{.halvings = halvings}.complete(p, {})["middle"].item(); };
  CHECK(near(0.5 - middle(12), 160.0 / 4096 / 4, 0.03));       // for small steps t - r = (1-t)^2 160/2^k, with k halvings
  CHECK(middle(12) > middle(11));
  CHECK(middle(2) == 0.1);                                     // a step that goes below s ends at s
}

TEST_CASE("IMM's gradient passes through y only, and agrees with differences") {
  const GaussianFlow g{Tensor::from<double>({0.4}, {1}), Tensor::from<double>({0.6}, {1})};
  const Draws draws{3, 0, consecutive(0, 8)};
  const PathBatch p = at_times(draws.normal({1}, DType::f64, Purpose::sampling), draws.normal({1}, DType::f64), 0.1, 0.8);
  const ImmConfig config{.group = 4, .halvings = 6};
  const Parameter theta{Tensor::zeros({1, 1}, DType::f64)};
  const auto net = [&](double from_t, const Var& of_both) -> FlowMapNet {
    return [&, from_t, of_both](const Var& z, const Var& s, const Var& t, const Labels&) {
      return g.u()(z, s, t, {}) + (of_both + (t.value().to_vector<double>()[0] == 0.8 ? from_t : 0)) * sin(1.3 * z + 0.4);
    };
  };
  double exact = 0;
  {
    Tape tape;
    const Gradients gradients = backward(imm(net(0, Var(theta)), p, config).loss);
    exact = gradients[theta].to_vector<double>()[0];
  }
  const Var none(Tensor::zeros({1, 1}, DType::f64));
  const double h = 1e-5, difference = (loss(imm(net(h, none), p, config)) - loss(imm(net(-h, none), p, config))) / (2 * h);
  CHECK(std::abs(exact) > 1e-3);
  CHECK(near(exact, difference, 1e-6));
}

TEST_CASE("IMM has no residual on the true map and on its reflection, but has one on a scaled map") {
  const Law law;
  const PathBatch p = law.all();
  const ImmConfig config = of_group(Law::n);
  const auto squared = [&](const std::function<Var(const Var&)>& change) { return raw(imm(law.changed(change), p, config)) * Law::n; };
  const double center = (1 - law.s) * 0.4;
  CHECK(near_zero(squared([](const Var& end) { return end; }), 1e-12));
  CHECK(near_zero(squared([&](const Var& end) { return 2 * center - end; }), 1e-12));
  CHECK(squared([](const Var& end) { return 1.1 * end; }) > 5e-4);
  CHECK(squared([](const Var& end) { return end + 0.1; }) > 5e-4);
}

TEST_CASE("at the true map, pairs of different members have no expected gradient; a member with itself adds a bias of 1/M") {
  const Law law;
  CHECK(near_zero(gradient_of(law, law.all(), of_group(Law::n)), 1e-12));        // each pair once, as for independent members
  const double alone = gradient_of(law, law.all(), of_group(1));
  CHECK(std::abs(alone) > 1e-3);
  std::vector<std::int64_t> two, three;
  for (std::int64_t i = 0; i < Law::n; ++i)
    for (std::int64_t j = 0; j < Law::n; ++j) {
      two.insert(two.end(), {i, j});
      for (std::int64_t k = 0; k < Law::n; ++k) three.insert(three.end(), {i, j, k});
    }
  CHECK(near(gradient_of(law, law.members(two), of_group(2)), alone / 2, 1e-9));
  CHECK(near(gradient_of(law, law.members(three), of_group(3)), alone / 3, 1e-9));
}

TEST_CASE("IMM declares its needs and claims, and refuses invalid settings and batches") {
  const ImmConfig config;
  CHECK(config.needs().group == 4);
  CHECK(!config.needs().velocity);
  CHECK(config.needs().evaluations() == 4);
  CHECK(!config.claims().exact);
  CHECK(!config.claims().unbiased);
  CHECK(has(config.claims().why, "any map with the right samples"));
  CHECK(error_of<ConfigError>([] { make_objective(ImmConfig{.low = 0.5, .high = 0.4}, "map.objective.imm").check(10); }) ==
        "map.objective.imm.low = 0.5 is not below map.objective.imm.high = 0.4: lower the first or raise the second");
  const SmallNet small;
  CHECK(has(error_of<ShapeError>([&] { imm(small.net(), draw_path_batch(gaussian_batch(6), {}, {}), config); }), "6 rows do not form whole groups: the number of rows must be a multiple of 4"));
}

TEST_CASE("certificates detect IMM's bias for long steps from t to r; for short steps it is below their error") {
  const Certificate far = certify(make_objective(ImmConfig{.halvings = 6})), near_by = certify(make_objective(ImmConfig{}));
  CHECK(far.biased());
  CHECK(largest(far.gaussian) > 0.05);
  for (const Certificate& found : {far, near_by}) {
    CHECK(found.error > 0);
    CHECK(!found.exact());
    CHECK(!found.unbiased());
    CHECK(contradiction(ImmConfig{}.claims(), found) == "");
  }
  CHECK(largest(near_by.gaussian) < 0.02);
}
