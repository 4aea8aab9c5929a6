// Row arithmetic on the path, random draws and metrics of points, against numbers computed by hand. Ranges of plots, and why a number of rows varies.
#include "flowmap/path.h"

#include <doctest/doctest.h>

#include <cmath>
#include <set>
#include <vector>

#include "flowmap/draws.h"
#include "flowmap/gaussian.h"
#include "flowmap/metrics/frechet.h"
#include "flowmap/tangent.h"
#include "flowmap/time.h"
#include "flowmap/training/plane_pictures.h"
#include "flowmap/velocity.h"
#include "tensor/error.h"
#include "tests/support/error_of.h"
#include "tests/support/near.h"

using namespace fm;
using fm::test::error_of;
using fm::test::near;
using fm::test::near_within;
using fm::test::near_zero;

namespace {

using Numbers = std::vector<double>;

Tensor f64(const std::vector<double>& values, Shape shape) { return Tensor::from(values, shape); }
Numbers numbers(const Tensor& x) { return x.to_vector<double>(); }

void check_near(const Tensor& x, const Numbers& wanted) {
  const Numbers got = numbers(x);
  REQUIRE(got.size() == wanted.size());
  for (std::size_t i = 0; i < got.size(); ++i) CHECK(near_zero(got[i] - wanted[i], 1e-14));
}

}  // namespace

TEST_CASE("the linear path: z = (1-t) z0 + t eps, its velocity, and steps along it") {
  const Tensor z0 = f64({1, 2, 3, 4}, {2, 2}), eps = f64({10, 20, 30, 40}, {2, 2}), t = f64({0.25, 1}, {2});
  check_near(interpolate(z0, eps, t), {3.25, 6.5, 30, 40});
  CHECK(numbers(conditional_velocity(z0, eps)) == Numbers{9, 18, 27, 36});
  check_near(moved(z0, t, eps), {1 - 2.5, 2 - 5, 3 - 30, 4 - 40});
  CHECK(column(t, 3).shape() == Shape{2, 1, 1});
  CHECK(column(Var(t), 4).shape() == Shape{2, 1, 1, 1});
}

TEST_CASE("first_rows, rows_from and minus_first_rows work for no rows, some rows and all rows") {
  const Tensor x = f64({1, 2, 3, 4, 5, 6}, {3, 2});
  CHECK(numbers(first_rows(x, 2)) == Numbers{1, 2, 3, 4});
  CHECK(first_rows(x, 3).shares_memory_with(x));
  CHECK(first_rows(x, 0).shape() == Shape{0, 2});
  CHECK(numbers(rows_from(x, 2)) == Numbers{5, 6});
  CHECK(numbers(rows_from(x, 1)) == Numbers{3, 4, 5, 6});
  CHECK(rows_from(x, 0).shares_memory_with(x));
  CHECK(rows_from(x, 3).shape() == Shape{0, 2});
  CHECK_FALSE(first_rows(Tensor(), 2).defined());
  CHECK_FALSE(rows_from(Tensor(), 2).defined());
  CHECK(numbers(minus_first_rows(x, f64({10, 20}, {1, 2}))) == Numbers{-9, -18, 3, 4, 5, 6});
  CHECK(numbers(minus_first_rows(x, f64({10, 20, 30, 40}, {2, 2}))) == Numbers{-9, -18, -27, -36, 5, 6});
  CHECK(numbers(minus_first_rows(x, x)) == Numbers(6, 0.0));
  CHECK(numbers(minus_first_rows(f64({3, 4}, {1, 2}), f64({1, 1}, {1, 2}))) == Numbers{2, 3});
  CHECK(numbers(minus_first_rows(x, Tensor::zeros({0, 2}, DType::f64))) == numbers(x));
  CHECK(numbers(minus_first_rows(x, Tensor())) == numbers(x));
  CHECK(numbers(with_first_rows(x, f64({7, 8}, {1, 2}))) == Numbers{7, 8, 3, 4, 5, 6});
  CHECK(numbers(with_first_rows(x, x + 1.0)) == Numbers{2, 3, 4, 5, 6, 7});
  CHECK(numbers(row_sums(x)) == Numbers{3, 7, 11});
  CHECK(numbers(row_sums(x.reshape({3, 2, 1}))) == Numbers{3, 7, 11});
  CHECK(numbers(row_sums(f64({3, 4}, {2}))) == Numbers{3, 4});
}

TEST_CASE("a draw is the Philox block of its sample, step, purpose and number, with all 53 bits") {
  const Draws draws{(std::uint64_t{5} << 32) + 3, 7, {11, (std::int64_t{1} << 33) + 2}};
  const auto word = [](Purpose purpose, std::uint32_t i, std::uint64_t sample, int k) {
    return philox4x32({{static_cast<std::uint32_t>(sample), static_cast<std::uint32_t>(sample >> 32), 7, static_cast<std::uint32_t>(purpose) + 256 * i}}, {{3, 5}})[k];
  };
  const auto unit = [&](Purpose purpose, std::uint32_t i, std::uint64_t sample) {
    const auto high = static_cast<double>(word(purpose, i, sample, 0)), low = std::floor(static_cast<double>(word(purpose, i, sample, 1)) / 2048);
    return high / 4294967296.0 + low / 9007199254740992.0;        // 2^32 and 2^53
  };
  std::set<double> seen;
  for (const Purpose purpose : {Purpose::noise, Purpose::time, Purpose::diagonal, Purpose::label_drop, Purpose::label_redrop, Purpose::pair, Purpose::split,
                                Purpose::shortcut, Purpose::sampling, Purpose::grid})
    for (const std::uint32_t i : {0u, 1u, 2u}) {
      CHECK(draws.uniform(purpose, 0, i) == unit(purpose, i, 11));
      CHECK(draws.uniform(purpose, 1, i) == unit(purpose, i, (std::uint64_t{1} << 33) + 2));
      CHECK(draws.shared(purpose, i) == unit(purpose, i, ~std::uint64_t{0}));
      seen.insert({draws.uniform(purpose, 0, i), draws.uniform(purpose, 1, i), draws.shared(purpose, i)});
    }
  CHECK(seen.size() == 90);                                       // no value occurs twice
  CHECK(draws.uniform(Purpose::time, 0) == draws.uniform(Purpose::time, 0, 0));
  const Draws turned = draws.reordered({1, 0, 1});
  CHECK(turned.rows() == 3);
  CHECK(turned.uniform(Purpose::pair, 0) == draws.uniform(Purpose::pair, 1));
  CHECK(turned.shared(Purpose::pair) == draws.shared(Purpose::pair));
  CHECK(static_cast<std::uint32_t>(Purpose::noise) == 0x464D0000u);   // resumed trainings depend on this value
  CHECK(static_cast<std::uint32_t>(Purpose::grid) == 0x464D0009u);
}

TEST_CASE("varies() names the reason why the rows with s < t change between steps") {
  CHECK(PairConfig{}.varies("a.pairs") == "the number of rows with s < t is drawn at each step: set a.pairs.exact_share = true");
  CHECK(PairConfig{.exact_share = true}.varies("a.pairs").empty());
  CHECK(PairConfig{.exact_share = true, .null_rows_diagonal = true}.varies("a.pairs") ==
        "which rows have s < t depends on the labels dropped at each step: set a.pairs.null_rows_diagonal = false");
}

TEST_CASE("pairs of one kind, and shares that add up to 1, give the right rows") {
  const Draws draws{3, 7, consecutive(0, 200)};
  const Pairs diagonal = draw_pairs({.diagonal_share = 1}, draws, 64);
  CHECK(diagonal.off_diagonal == 0);
  CHECK(diagonal.s == diagonal.t);
  const Pairs zero = draw_pairs({.diagonal_share = 0, .zero_share = 1}, draws, 64);
  CHECK(zero.off_diagonal == 200);
  CHECK(zero.s == Numbers(200, 0.0));
  const Pairs both = draw_pairs({.diagonal_share = 0.4, .zero_share = 0.6, .exact_share = true}, draws, 64);
  CHECK(both.off_diagonal == 120);
  CHECK(std::count(both.s.begin(), both.s.end(), 0.0) == 120);
  CHECK(both.order.front() == 0);                                 // exact_share orders rows: 0 < s < t (none here), then s = 0, then s = t
  CHECK(both.order[119] == 119);
  const Pairs thirds = draw_pairs({.diagonal_share = 0.25, .zero_share = 0.25, .exact_share = true}, draws, 64);
  for (std::size_t i = 0; i < 200; ++i) {
    CHECK((thirds.s[i] == 0) == (i >= 100 && i < 150));
    CHECK((thirds.s[i] == thirds.t[i]) == (i >= 150));
  }
  std::vector<bool> some(200, false);
  some[3] = some[5] = true;
  const Pairs forced = draw_pairs({.diagonal_share = 0}, draws, 64, some);
  CHECK(forced.off_diagonal == 198);
  CHECK((forced.order[198] == 3 && forced.order[199] == 5));
}

TEST_CASE("the target's normalization and the guard's masks agree with values computed by hand") {
  const Tensor u = f64({1, 1, 0, 0}, {2, 2}), target = f64({4, 5, 0, 0}, {2, 2});
  const double c = 0.5;
  check_near(guarded_target(target, u, {.normalise = c}), {1 + 3 / 5.5, 1 + 4 / 5.5, 0, 0});
  CHECK(guarded_target(target, u, {}).shares_memory_with(target));
  const Tensor dudt = f64({3, -4, std::nan(""), 1}, {2, 2});
  const GuardedTangent masked = guard(dudt, 3, {.warmup = 0.5, .clamp = 3.5, .mask = true});
  check_near(masked.dudt, {1.5, -1.75, 0, 0});
  CHECK(numbers(masked.weight) == Numbers{1, 0, 1});
  CHECK(double(masked.masked_share) == 0.5);
  CHECK(double(masked.clamped_share) == 0.25);
  CHECK_FALSE(guard(Tensor(), 3, {.mask = true}).dudt.defined());
  const GuardedTangent plain = guard(f64({3, 4}, {1, 2}), 1, {});
  CHECK(numbers(plain.dudt) == Numbers{3, 4});
  CHECK_FALSE(plain.weight.defined());
  CHECK((double(plain.masked_share) == 0 && double(plain.clamped_share) == 0));
  check_near(derivative_ratio(f64({3, 4}, {1, 2}), f64({0, 2, 9, 9}, {2, 2})), {2.5});
}

TEST_CASE("a velocity's name gives the teacher's share, and a blend is the sum of both parts") {
  CHECK(teacher_share("teacher") == 1);
  CHECK(teacher_share("one-point") == 0);
  CHECK(teacher_share("") == 0);
  CHECK(teacher_share("blend=0.25") == 0.25);
  CHECK(teacher_share("blend=0") == 0);
  CHECK(teacher_share("blend=1") == 1);
  for (const char* bad : {"blend=1.001", "blend=-0.001", "blend=", "blend=x", "blend", "teachers", "Teacher", "xblend=0.5"})
    CHECK(error_of<ConfigError>([&] { teacher_share(bad); }) == "there is no velocity '" + std::string(bad) + "': known are teacher, one-point and blend=L with L in [0, 1]");
  PathBatch p;
  p.z0 = f64({1, 2, 3, 4}, {2, 2}), p.eps = f64({10, 20, 30, 40}, {2, 2}), p.t = f64({0.25, 1}, {2});
  p.s = p.t, p.z = interpolate(p.z0, p.eps, p.t);
  int calls = 0;
  const VelocityNet hundred = [&](const Var& z, const Var&, const Labels&) { return ++calls, z * 0.0 + 100.0; };
  CHECK(numbers(velocity_source("one-point", hundred)(p)) == Numbers{9, 18, 27, 36});
  CHECK(numbers(velocity_source("blend=0", hundred)(p)) == Numbers{9, 18, 27, 36});
  CHECK(calls == 0);
  CHECK(numbers(velocity_source("teacher", hundred)(p)) == Numbers{100, 100, 100, 100});
  CHECK(numbers(velocity_source("blend=1", hundred)(p)) == Numbers{100, 100, 100, 100});
  check_near(velocity_source("blend=0.25", hundred)(p), {0.75 * 9 + 25, 0.75 * 18 + 25, 0.75 * 27 + 25, 0.75 * 36 + 25});
  CHECK(calls == 3);
  for (const double bad : {-0.1, 1.1}) CHECK_THROWS_AS(blend(bad, one_point()), ConfigError);
}

TEST_CASE("the exact map of one row does not depend on its batch, with one component and with several") {
  const GaussianMixture one{{{.weight = 1, .mean = f64({1, -2}, {2}), .deviation = f64({0.5, 0.25}, {2})}}};
  const GaussianMixture two{{{.weight = 1, .mean = f64({1, -2}, {2}), .deviation = f64({0.5, 0.25}, {2})}, {.weight = 3, .mean = f64({-3, 0}, {2}), .deviation = f64({0.5, 0.5}, {2})}}};
  const Tensor z = f64({0.5, 1.5, -1, 0.25}, {2, 2}), s = f64({0, 0.25}, {2}), t = f64({1, 0.75}, {2});
  for (const GaussianMixture& mixture : {one, two}) {
    const Numbers both = numbers(mixture.map(z, s, t));
    for (std::int64_t i = 0; i < 2; ++i) {
      const Numbers alone = numbers(mixture.map(z.slice(0, i, i + 1), s.slice(0, i, i + 1), t.slice(0, i, i + 1)));
      for (std::size_t k = 0; k < 2; ++k) CHECK(near(alone[k], both[static_cast<std::size_t>(2 * i) + k], 1e-9));
    }
  }
  // From noise at t = 1 to data: mean + deviation times the noise.
  const Numbers data = numbers(one.map(z.slice(0, 0, 1), s.slice(0, 0, 1), t.slice(0, 0, 1)));
  CHECK(near(data[0], 1 + 0.5 * 0.5, 1e-6));
  CHECK(near(data[1], -2 + 0.25 * 1.5, 1e-6));
  CHECK_THROWS_AS(one.map(Tensor::zeros({0, 2}, DType::f64), Tensor::zeros({0}, DType::f64), Tensor::zeros({0}, DType::f64)), ShapeError);
}

TEST_CASE("first_row_not_finite returns the first such row, and -1 if there is none") {
  CHECK(first_row_not_finite(Tensor::zeros({0, 3})) == -1);
  CHECK(first_row_not_finite(Tensor::zeros({3, 0})) == -1);
  CHECK(first_row_not_finite(f64({1, 2, INFINITY, 4}, {4})) == 2);
  CHECK(first_row_not_finite(f64({1, 1e300, 3, 4}, {2, 2})) == -1);      // finite in f64
  CHECK(first_row_not_finite(f64({std::nan(""), 1, 3, std::nan("")}, {2, 2})) == 0);
  CHECK(first_row_not_finite(f64({1, 1, 3, std::nan("")}, {2, 2})) == 1);
}

TEST_CASE("plots show a square around the data, or around data and noise") {
  const auto square = [](const PlaneFrame& f, double x, double y, double half) {
    CHECK(near(f.x_low + 100, 100 + x - half, 1e-12));
    CHECK(near(f.x_high + 100, 100 + x + half, 1e-12));
    CHECK(near(f.y_low + 100, 100 + y - half, 1e-12));
    CHECK(near(f.y_high + 100, 100 + y + half, 1e-12));
  };
  const Tensor points = f64({10, -3, 12, -2, std::nan(""), -7, 11, INFINITY}, {4, 2});     // x from 10 to 12, y from -7 to -2
  square(data_frame(points), 11, -4.5, 2.5 * 1.12);
  square(data_frame(f64({10, -3, 20, -2}, {2, 2})), 15, -2.5, 5 * 1.12);                    // the longer side decides
  square(noise_frame(points), 4.5, -2, 7.5);                                                // with noise in [-3, 3]: x from -3 to 12, y from -7 to 3
  square(noise_frame(f64({0, 1}, {1, 2})), 0, 0, 3);
  square(data_frame(f64({5, 6}, {1, 2})), 5, 6, 1.12e-6);
  square(data_frame(f64({std::nan(""), std::nan("")}, {1, 2})), 0, 0, 1.12);
  CHECK((data_frame(points).x_label == "z[0]" && data_frame(points).y_label == "z[1]"));
}
