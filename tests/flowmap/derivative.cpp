// du/dt by every provider, on the Gaussian flow map (closed form) and on a small network.
#include "flowmap/derivative.h"

#include "autodiff/jvp.h"
#include "tests/flowmap/support.h"
#include "tensor/error.h"
#include "tests/support/near.h"

using namespace fm;
using namespace fm::test;

namespace {

DerivativeConfig kind(const char* name, double delta = 5e-3) { return {name, delta, true}; }

FlowPoint point(std::int64_t rows, DType dtype = DType::f64) {
  const PathBatch p = draw_path_batch(gaussian_batch(rows, dtype), {.diagonal_share = 0}, {0, 4});
  return {p.z, p.s, p.t, p.y, {}, {}};
}

// Points away from the ends of the interval, where no difference is clamped.
FlowPoint inner_point(std::int64_t rows, DType dtype = DType::f64) {
  FlowPoint p = point(rows, dtype);
  p.t = 0.3 + 0.5 * p.t;
  p.s = 0.5 * p.s * p.t;
  return p;
}

double relative(const Tensor& a, const Tensor& b) { return norm(a - b) / norm(b); }

}  // namespace

TEST_CASE("exact jvp satisfies the MeanFlow identity u = v - (t-s) du/dt on the closed-form map") {
  for (const DType dtype : {DType::f64, DType::f32}) {
    const GaussianFlow g = gaussian(dtype);
    const FlowPoint p = point(64, dtype);
    const Tensor v = evaluate(g.v(), p.z, p.t, {});
    const auto [u, dudt] = differentiate(g.u(), p, v, kind("jvp"));
    CHECK(max_difference(u.value(), v - column(p.t - p.s, 2) * dudt) < (dtype == DType::f64 ? 1e-12 : 1e-5));
    CHECK(max_difference(moved(p.z, p.t - p.s, u.value()), g.map(p.z, p.s, p.t)) < (dtype == DType::f64 ? 1e-12 : 1e-5));
  }
}

TEST_CASE("the central difference's error falls as delta^2") {
  const GaussianFlow g = gaussian();
  const FlowPoint p = inner_point(64);
  const Tensor v = evaluate(g.v(), p.z, p.t, {});
  const Tensor exact = differentiate(g.u(), p, v, kind("jvp")).dudt;
  double constant = 0;
  for (const double delta : {1e-2, 5e-3, 1e-3, 1e-4}) {
    const double error = relative(differentiate(g.u(), p, v, kind("central", delta)).dudt, exact);
    MESSAGE("delta " << delta << ": relative error of du/dt " << error);
    if (constant == 0) constant = error / (delta * delta);
    CHECK(near(error / (delta * delta), constant, 2e-3));       // a clean square law over four decades of error
  }
  // one-sided differences are of first order
  const double f1 = relative(differentiate(g.u(), p, v, kind("forward", 1e-3)).dudt, exact);
  const double f2 = relative(differentiate(g.u(), p, v, kind("forward", 5e-4)).dudt, exact);
  CHECK(near(f1 / f2, 2, 5e-3));
  const double b1 = relative(differentiate(g.u(), p, v, kind("backward", 1e-3)).dudt, exact);
  CHECK(near(b1, f1, 1e-2));
}

TEST_CASE("in f32 the central difference is accurate to 1e-3 at the paper's step size") {
  const SmallNet small(DType::f32);
  const FlowPoint p = inner_point(32, DType::f32);
  const Tensor w = Tensor::ones(p.z.shape());
  const Tensor exact = differentiate(small.net(), p, w, kind("jvp")).dudt;
  CHECK(relative(differentiate(small.net(), p, w, kind("central")).dudt, exact) < 1e-3);
}

TEST_CASE("all kinds of derivative agree on a small network, for all rows and for the first rows") {
  const SmallNet small;
  const FlowPoint p = inner_point(12);
  const Tensor w = random_normal(p.z.shape(), {9, 9}, 0, DType::f64);
  const Derivative full = differentiate(small.net(), p, w, kind("jvp"));
  for (const char* name : {"jvp", "central", "forward", "backward", "semi"}) {
    CAPTURE(name);
    for (const std::int64_t k : {12, 5, 1}) {
      const Derivative part = differentiate(small.net(), p, w.slice(0, 0, k), kind(name, 1e-5));
      CHECK(max_difference(part.u.value(), full.u.value()) < 1e-15);
      CHECK(max_difference(part.dudt, full.dudt.slice(0, 0, k)) < (std::string(name) == "jvp" ? 1e-14 : 1e-4));
    }
    CHECK_FALSE(differentiate(small.net(), p, {}, kind(name)).dudt.defined());
  }
  CHECK_THROWS_AS(differentiate(small.net(), p, w, kind("complex")), ConfigError);
  CHECK_THROWS_AS(differentiate(small.net(), p, Tensor::ones({13, dim}, DType::f64), kind("jvp")), ShapeError);
}

TEST_CASE("no kind of derivative is recorded on the tape") {
  const SmallNet small;
  const FlowPoint p = inner_point(6);
  std::size_t plain = 0;
  {
    Tape tape;
    small.net()(p.z, p.s, p.t, p.y);
    plain = tape.size();
  }
  for (const char* name : {"jvp", "central", "forward", "backward", "semi"}) {
    Tape tape;
    differentiate(small.net(), p, Tensor::ones(p.z.shape(), DType::f64), kind(name));
    CHECK(tape.size() == plain);
  }
}

TEST_CASE("clamped stencils stay within s <= t <= 1; unclamped stencils do not") {
  std::vector<double> seen_s, seen_t;
  const FlowMapNet spy = [&](const Var& z, const Var& s, const Var& t, const Labels&) {
    for (double x : s.value().to_vector<double>()) seen_s.push_back(x);
    for (double x : t.value().to_vector<double>()) seen_t.push_back(x);
    return z * column(t * t, 2);
  };
  const Tensor z = Tensor::ones({3, dim}, DType::f64), w = Tensor::zeros({3, dim}, DType::f64);
  const FlowPoint p{z, times({0.2, 0.0, 0.5}), times({0.999, 0.002, 0.502}), {}, {}, {}};
  for (const char* name : {"central", "forward", "backward", "semi"}) {
    CAPTURE(name);
    const auto outside = [&](bool clamp) {
      seen_s.clear();
      seen_t.clear();
      const Tensor d = differentiate(spy, p, w, {name, 5e-3, clamp}).dudt;
      CHECK(max_difference(d, 2.0 * column(p.t, 2) * z) < 6e-3);
      int n = 0;
      for (std::size_t i = 0; i < seen_t.size(); ++i) n += seen_t[i] > 1 || seen_t[i] < seen_s[i];
      return n;
    };
    CHECK(outside(true) == 0);
    CHECK(outside(false) > 0);
  }
}

TEST_CASE("the two sides of a difference may have different labels") {
  const SmallNet small;
  FlowPoint p = inner_point(6);
  const Tensor w = Tensor::zeros(p.z.shape(), DType::f64);
  const Tensor shared = differentiate(small.net(), p, w, kind("central")).dudt;
  p.y_plus = Tensor::full({6}, 4, DType::i64);
  const Tensor apart = differentiate(small.net(), p, w, kind("central")).dudt;
  CHECK(norm(apart) > 20 * norm(shared));                   // u's difference between the labels, divided by 2 delta
}
