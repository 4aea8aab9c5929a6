// Objectives that compare ends of jumps: flow map matching, which jumps in both directions, and CTM.
#include <cmath>

#include "flowmap/jump.h"
#include "flowmap/objective/ctm.h"
#include "flowmap/objective/flow_map_matching.h"
#include "flowmap/training/backbones.h"
#include "tests/flowmap/differences.h"
#include "tests/flowmap/support.h"
#include "tests/support/near.h"

using namespace fm;
using namespace fm::test;

namespace {

constexpr double none = 1e-24;           // a mean square of rounding errors in f64

PathBatch points(std::int64_t rows, double diagonal = 0.5) { return draw_path_batch(gaussian_batch(rows), {.diagonal_share = diagonal}, {0, 4}); }

double raw(const ObjectiveLoss& out) { return out.metrics.at("raw_mse").value(); }

SmallNet frozen(std::uint64_t seed) {
  SmallNet net(DType::f64, seed);
  for (Parameter* p : {&net.w1, &net.b1, &net.w2, &net.b2, &net.w3, &net.table}) p->trainable = false;
  return net;
}

// Pairs with s < t, s > t and s = t.
PathBatch both_ways() {
  Pairs pairs{{0.1, 0.8, 0.5, 0.9, 0, 0.3}, {0.7, 0.2, 0.5, 0.95, 0.999, 0.25}, {0, 1, 2, 3, 4, 5}, 6};
  const Batch batch = gaussian_batch(6);
  return place_on_path(batch, pairs, batch.y);
}

Tensor scaled(const Tensor& column_of, const Tensor& x) { return column(column_of, x.rank()) * x; }

}  // namespace

TEST_CASE("flow map matching has no residual on the closed-form map, in both directions; wrong maps have one in each term") {
  const GaussianFlow g = gaussian();
  const Batch batch = gaussian_batch(64);
  const auto loss = [&](const FlowMapNet& u) { return loss_on(FlowMapMatchingConfig{}, {.net = u, .velocity = teacher(g.v())}, batch); };
  CHECK(raw(loss(g.u())) < none);
  const ObjectiveLoss diagonal_only = loss([u = g.u()](const Var& z, const Var&, const Var& t, const Labels& y) { return u(z, t, t, y); });
  CHECK(diagonal_only.metrics.at("residual_velocity").value() > 1e-3);
  CHECK(diagonal_only.metrics.at("residual_inverse").value() > 1e-3);
  // A map that is right only for jumps towards the data, s < t.
  const ObjectiveLoss one_way = loss([u = g.u()](const Var& z, const Var& s, const Var& t, const Labels& y) {
    return where(less(t.value(), s.value()).reshape({-1, 1}), u(z, s, t, y) * 1.05, u(z, s, t, y));
  });
  CHECK(one_way.metrics.at("residual_velocity").value() > 1e-4);
  CHECK(one_way.metrics.at("residual_inverse").value() > 1e-4);
}

TEST_CASE("flow map matching samples times in both orders, and reports rows whose times differ as off-diagonal") {
  const FlowMapMatchingConfig config{.labels = {0, 4}};
  const Drawn drawn = config.draw(gaussian_batch(400), {}, {});
  const auto s = drawn.p.s.to_vector<double>(), t = drawn.p.t.to_vector<double>();
  int upwards = 0;
  double sum_s = 0, sum_t = 0, product = 0;
  for (std::size_t i = 0; i < 400; ++i) {
    CHECK((s[i] >= 0 && s[i] <= 0.999 && t[i] >= 0 && t[i] <= 0.999 && s[i] != t[i]));
    upwards += s[i] > t[i];
    sum_s += s[i], sum_t += t[i], product += (s[i] - 0.5) * (t[i] - 0.5);
  }
  CHECK(near_within(upwards, 200, 40));
  CHECK(near_within(sum_s / 400, 0.5, 0.05));
  CHECK(near_within(sum_t / 400, 0.5, 0.05));
  CHECK(std::abs(product / 400) < 0.015);
  CHECK(drawn.p.off_diagonal == 400);
  CHECK(max_difference(drawn.p.z, interpolate(drawn.p.z0, drawn.p.eps, drawn.p.t)) == 0);
  const SmallNet small;
  const ObjectiveLoss out = config.loss({.net = small.net()}, drawn);
  CHECK(out.metrics.at("off_diagonal_share").value() == 1);
  CHECK(near(out.metrics.at("raw_mse_off_diagonal").value(), raw(out), 1e-14));
  CHECK_FALSE(out.metrics.contains("raw_mse_diagonal"));
  CHECK(config.not_recorded("map.objective.flow_map_matching").empty());
  CHECK(near(config.needs().evaluations(), 3 + 6, 1e-15));
}

TEST_CASE("flow map matching sums the squared errors of the backward jump's time derivative and of the backward jump") {
  const SmallNet small;
  const PathBatch p = both_ways();
  const auto f = [&](const Tensor& z, const Tensor& s, const Tensor& t) { return z - scaled(t - s, evaluate(small.net(), z, s, t, p.y)); };
  const Tensor there = f(p.z, p.s, p.t);
  const auto back = [&](double h) { return f(there, p.t + h, p.s); };
  const double h = 1e-3;
  const Tensor slope = ((back(h) - back(-h)) * 8.0 - (back(2 * h) - back(-2 * h))) / (12 * h);
  const double velocity = mean(square(slope - (p.eps - p.z0))).item(), inverse = mean(square(back(0) - p.z)).item();
  const ObjectiveLoss out = flow_map_matching(small.net(), p, one_point(), {});
  CHECK(near(out.loss.value().item(), velocity + inverse, 1e-9));
  CHECK(near(out.metrics.at("residual_velocity").value(), velocity, 1e-9));
  CHECK(near(out.metrics.at("residual_inverse").value(), inverse, 1e-13));
}

TEST_CASE("flow map matching's gradient passes through the taped derivative and through the recorded point where it is taken") {
  const SmallNet small;
  const PathBatch p = both_ways();
  const GradientError error = gradient_error(parameters(small), [&] { return flow_map_matching(small.net(), p, one_point(), {}).loss; });
  CHECK(error.largest > 1e-2);
  CHECK(error.worst < 1e-9);
  // If the point of the derivative is held constant, the gradient is another one.
  const auto whole = gradient(small, [&] { return flow_map_matching(small.net(), p, one_point(), {}).loss; });
  const auto at_constant = gradient(small, [&] {
    const Tensor there = jumped(small.net(), p.z, p.s, p.t, p.y), gap = column(p.s - p.t, 2);
    const auto [u, dudt] = end_derivative(small.net(), there, p.t, p.s, p.y, p.rows(), true);
    return mean(square(u - gap * dudt - (p.eps - p.z0))) + mean(square(there - gap * u - p.z));
  });
  CHECK(max_difference(whole, at_constant) > 1e-2);
}

TEST_CASE("every network accepts s > t: the gradient of flow map matching agrees with differences in f64") {
  const Shape sample{3, 2, 2};
  for (const std::string& name : {std::string("mlp"), std::string("residual_mlp"), std::string("dit_dh")}) {
    CAPTURE(name);
    NetworkConfig config;
    config.name = name;
    DitDhConfig& dit = config.of<DitDh>();
    dit.width = 16, dit.depth = 1, dit.heads = 2, dit.head_width = 24, dit.head_depth = 1, dit.head_heads = 2;
    config.of<FlowMlp>().width = config.of<ResidualMlp>().width = 16;
    config.fit({sample, 4, "a test"});
    const Network net = config.make(true, 1).in_f64();
    std::vector<const Parameter*> some;
    const std::vector<NamedParameter> all = net.parameters();
    for (std::size_t i = 0; i < all.size(); ++i) {
      Parameter& p = *all[i].parameter;
      p.value.copy_from(p.value + 0.1 * normal(p.value.shape(), 30 + i));         // layers that begin at 0 would hide the ones before them
      if (i % 5 == 1 && p.trainable) some.push_back(&p);
    }
    const Samples samples = consecutive(0, 4);
    const Pairs pairs{{0.1, 0.8, 0.9, 0.3}, {0.7, 0.2, 0.95, 0.25}, {0, 1, 2, 3}, 4};
    const Batch batch{normal({4, 3, 2, 2}, 3), Tensor::full({4}, 2, DType::i64), Draws{1, 0, samples}};
    const PathBatch p = place_on_path(batch, pairs, batch.y);
    const GradientError error = gradient_error(some, [&] { return flow_map_matching(net.u(), p, one_point(), {}).loss; });
    CHECK(error.largest > 1e-2);
    CHECK(error.worst < 1e-7 * error.largest);
    const Tensor up = evaluate(net.u(), p.z, p.s, p.t, p.y), down = evaluate(net.u(), p.z, p.t, p.s, p.y);
    CHECK(max_difference(up, down) > 1e-3);
  }
}

TEST_CASE("CTM compares a jump by the network with teacher steps followed by a jump, both continued to data") {
  const SmallNet small, target = frozen(6), teacher_net = frozen(7);
  const VelocityNet teacher_velocity = diagonal(teacher_net.net());
  const PathBatch p = points(10);
  const std::int64_t k = p.off_diagonal;
  REQUIRE(k > 0);
  REQUIRE(k < 10);
  const CtmConfig config{.solver_steps = 3, .diagonal_weight = 0.7};
  const Drawn drawn = config.complete(p, {});
  const Tensor m = drawn["middle"], zero_time = Tensor::zeros({10}, DType::f64);
  const auto f = [&](const SmallNet& net, const Tensor& z, const Tensor& s, const Tensor& t) { return z - scaled(t - s, evaluate(net.net(), z, s, t, p.y)); };
  const Tensor a = f(target, f(small, p.z, p.s, p.t), zero_time, p.s);
  Tensor z = p.z;
  const Tensor h = (p.t - m) / 3.0;
  for (int i = 0; i < 3; ++i) {
    const Tensor at = p.t - static_cast<double>(i) * h, first = evaluate(teacher_velocity, z, at, p.y);
    const Tensor last = evaluate(teacher_velocity, z - scaled(h, first), at - h, p.y);
    z = z - scaled(h, 0.5 * (first + last));
  }
  const Tensor b = f(target, f(target, z, p.s, m), zero_time, p.s);
  const Tensor clean = p.z - scaled(p.t, evaluate(diagonal(small.net()), p.z, p.t, p.y));                    // the estimate of z0
  const Tensor karras = (square(p.t) + square(1.0 - p.t)) / square(p.t);
  const Tensor off = square(a - b), on = 0.7 * scaled(karras, square(clean - p.z0));
  const ObjectiveLoss out = ctm(small.net(), target.net(), teacher_velocity, p, m, one_point(), config);
  CHECK(near(out.loss.value().item(), mean(with_first_rows(on, first_rows(off, k))).item(), 1e-12));
  CHECK(near(out.metrics.at("raw_mse_off_diagonal").value(), mean(first_rows(off, k)).item(), 1e-12));
}

TEST_CASE("CTM's gradient passes through the frozen network to its input, and through nothing else") {
  const SmallNet small, target = frozen(6), teacher_net = frozen(7);
  const VelocityNet v = diagonal(teacher_net.net());
  PathBatch p = points(8, 0.3);
  const Tensor m = CtmConfig{}.complete(p, {})["middle"];
  const auto loss = [&](const FlowMapNet& f) { return ctm(small.net(), f, v, p, m, one_point(), {}).loss; };
  const GradientError error = gradient_error(parameters(small), [&] { return loss(target.net()); });
  CHECK(error.largest > 1e-2);
  CHECK(error.worst < 1e-9);
  {
    Tape tape;
    const Gradients g = backward(loss(target.net()));
    CHECK(g[small.w3].defined());
    CHECK_FALSE(g[target.w3].defined());
  }
  // With s = 0 the jump to data space has length 0, so its network has no effect.
  p.s = with_first_rows(p.s, Tensor::zeros({p.off_diagonal}, DType::f64));
  const SmallNet another = frozen(8);
  const auto to_data = [&](const SmallNet& outer) {
    const FlowMapNet f = [&, jumps = target.net(), last = outer.net()](const Var& z, const Var& s, const Var& t, const Labels& y) {
      return max(t.value(), 0).item() == 0 ? last(z, s, t, y) : jumps(z, s, t, y);
    };
    return gradient(small, [&] { return loss(f); });
  };
  CHECK(to_data(target) == to_data(another));
}

TEST_CASE("CTM's residual on the closed-form map is its solver's error, which falls with the solver's order") {
  const GaussianFlow g = gaussian();
  const auto residual = [&](const std::string& solver, int steps, const FlowMapNet& u) {
    const CtmConfig config{.solver = solver, .solver_steps = steps};
    return raw(loss_on(config, {.net = u, .target = g.u(), .teacher = g.v(), .velocity = teacher(g.v())}, gaussian_batch(64)));
  };
  const FlowMapNet u = g.u();
  CHECK(near(residual("heun", 40, u) / residual("heun", 80, u), 16, 0.05));          // order 2: the error falls by 4, its square by 16
  CHECK(near(residual("euler", 200, u) / residual("euler", 400, u), 4, 0.05));
  CHECK(residual("heun", 4, u) < 1e-3);
  CHECK(residual("heun", 200, u) < 1e-9);
  CHECK(residual("heun", 200, [=](const Var& z, const Var&, const Var& t, const Labels& y) { return u(z, t, t, y); }) > 1e-3);
}

TEST_CASE("CTM samples m evenly between s and t, and declares its cost and its claims") {
  const CtmConfig config;                                                    // no network sees the labels
  const Drawn drawn = config.draw(gaussian_batch(2000), {}, {});
  const std::int64_t k = drawn.p.off_diagonal;
  CHECK(near_within(static_cast<double>(k), 1000, 100));
  const Tensor s = first_rows(drawn.p.s, k), t = first_rows(drawn.p.t, k), m = first_rows(drawn["middle"], k);
  const Tensor share = (m - s) / (t - s);
  CHECK(near_within(mean(share).item(), 0.5, 0.04));
  CHECK(near_within(mean(square(share)).item(), 1.0 / 3, 0.04));
  for (const double x : share.to_vector<double>()) CHECK((x >= 0 && x < 1));

  CHECK(config.needs().teacher);
  CHECK(config.needs().target_decay == 0.999);
  CHECK(CtmConfig{.target_decay = 0}.needs().target_decay == 0);              // still a separate network, whose weights get no gradient
  CHECK(near(config.needs().evaluations(), 3 + 0.5 * (2 + 2 + 2 * 4), 1e-15));
  CHECK(near(CtmConfig{.solver = "euler", .solver_steps = 7}.needs().teacher_calls, 0.5 * 7, 1e-15));
  CHECK_FALSE(config.claims().exact);
  CHECK(config.claims().why == "4 steps of a solver in place of the teacher's flow");
  CHECK_THROWS_AS(loss_on(config, {.net = SmallNet().net(), .teacher = gaussian().v()}, gaussian_batch(8)), Error);
}
