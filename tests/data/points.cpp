// Compares point sets with their definitions: allowed positions, modes, moments. A point depends only on its number.
#include "data/points.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <set>

#include "data/loader.h"
#include "tensor/error.h"
#include "tensor/random/fill.h"
#include "tests/support/difference.h"
#include "tests/support/near.h"

using namespace fm;
using fm::test::near_within;
using fm::test::near_zero;

namespace {

constexpr double pi = std::numbers::pi;
constexpr std::int64_t many = 100000;

struct Seen {
  std::vector<double> x, y;
  std::vector<std::int32_t> label;
};

Seen points(const std::string& name, std::int64_t n = many, Split split = Split::train) {
  const Points set({.name = name, .count = n}, split);
  Seen seen;
  for (std::int64_t i = 0; i < n; ++i) {
    float p[2];
    set.read(i, {}, p);
    seen.x.push_back(p[0]), seen.y.push_back(p[1]), seen.label.push_back(set.label(i));
  }
  return seen;
}

double mean(const std::vector<double>& v) {
  double total = 0;
  for (const double x : v) total += x;
  return total / static_cast<double>(v.size());
}
double variance(const std::vector<double>& v) {
  const double m = mean(v);
  double total = 0;
  for (const double x : v) total += (x - m) * (x - m);
  return total / static_cast<double>(v.size());
}

Seen of_label(const Seen& all, std::int32_t label) {
  Seen out;
  for (std::size_t i = 0; i < all.x.size(); ++i)
    if (all.label[i] == label) out.x.push_back(all.x[i]), out.y.push_back(all.y[i]), out.label.push_back(label);
  return out;
}

}  // namespace

TEST_CASE("8gaussians: modes at the corners of an octagon, deviation 0.1, equally frequent") {
  const Seen all = points("8gaussians");
  for (std::int32_t k = 0; k < 8; ++k) {
    CAPTURE(k);
    const Seen mode = of_label(all, k);
    CHECK(near_within(static_cast<double>(mode.x.size()), many / 8.0, 5 * std::sqrt(many / 8.0)));
    const double radius = std::sqrt(2.0), bound = 5 * 0.1 / std::sqrt(many / 8.0);
    CHECK(near_zero(mean(mode.x) - radius * std::cos(k * pi / 4), bound));
    CHECK(near_zero(mean(mode.y) - radius * std::sin(k * pi / 4), bound));
    CHECK(near_within(variance(mode.x), 0.01, 0.01 * 5 * std::sqrt(2 / (many / 8.0))));
    CHECK(near_within(variance(mode.y), 0.01, 0.01 * 5 * std::sqrt(2 / (many / 8.0))));
    CHECK(near_zero(eight_gaussians_centres()[static_cast<std::size_t>(k)][0] - radius * std::cos(k * pi / 4), 1e-15));
    CHECK(near_zero(eight_gaussians_centres()[static_cast<std::size_t>(k)][1] - radius * std::sin(k * pi / 4), 1e-15));
  }
}

TEST_CASE("checkerboard: points fill 8 of 16 cells evenly, no two of them adjacent, with one label per cell") {
  const Seen all = points("checkerboard");
  const double root = std::sqrt(3.0), side = root / 2;
  std::set<std::pair<int, int>> cells;
  std::vector<std::pair<int, int>> of(8, {-1, -1});
  for (std::size_t i = 0; i < all.x.size(); ++i) {
    const int column = static_cast<int>(std::floor((all.x[i] + root) / side)), row = static_cast<int>(std::floor((all.y[i] + root) / side));
    REQUIRE((column >= 0 && column < 4 && row >= 0 && row < 4));
    REQUIRE((column + row) % 2 == 0);
    auto& cell = of[static_cast<std::size_t>(all.label[i])];
    if (cells.insert({column, row}).second) cell = {column, row};
    REQUIRE(cell == std::pair{column, row});
  }
  CHECK(cells.size() == 8);
  for (std::int32_t k = 0; k < 8; ++k) {
    const Seen cell = of_label(all, k);
    const auto n = static_cast<double>(cell.x.size());
    CHECK(near_within(n, many / 8.0, 5 * std::sqrt(many / 8.0)));
    CHECK(near_within(variance(cell.x), side * side / 12, 0.03 * side * side / 12));
    CHECK(near_within(variance(cell.y), side * side / 12, 0.03 * side * side / 12));
  }
}

TEST_CASE("spiral: radius 2 a / (3 pi) at angle a, up to noise of 0.05") {
  const Seen all = points("spiral");
  double squares = 0, areas = 0;
  for (std::size_t i = 0; i < all.x.size(); ++i) {
    const double radius = std::hypot(all.x[i], all.y[i]), angle = std::atan2(all.y[i], all.x[i]);
    double nearest = 1e9;                // distance along the radius to the nearest turn of the spiral
    for (int turn = 0; turn <= 2; ++turn)
      if (const double a = angle + 2 * pi * turn; a >= 0 && a <= 3 * pi + 0.2) nearest = std::min(nearest, std::abs(radius - 2 * a / (3 * pi)));
    if (radius > 0.5) REQUIRE(nearest < 0.35);
    if (radius > 1) squares += nearest * nearest, areas += 1;
  }
  CHECK(near_within(std::sqrt(squares / areas), 0.05, 0.003));        // where the radius is above 1, the arm is within 12 degrees of a circle
  CHECK(near_within(areas, 0.75 * many, 5 * std::sqrt(0.19 * many)));   // share of points with q > 1/4
  CHECK(*std::max_element(all.label.begin(), all.label.end()) == 0);
}

TEST_CASE("moons: points lie on two arcs, scaled per axis, up to noise of 0.05") {
  const Seen all = points("moons");
  const double h = 2 / pi, kept = 1 - 0.0025, scale_x = std::sqrt(kept / 0.75), scale_y = std::sqrt(kept / (0.5 - h * h + (h - 0.25) * (h - 0.25)));
  double worst = 0;
  for (std::size_t i = 0; i < all.x.size(); ++i) {
    double nearest = 1e9;
    for (int k = 0; k <= 300; ++k) {
      const double a = pi * k / 300, x = all.label[i] == 0 ? std::cos(a) : 1 - std::cos(a), y = all.label[i] == 0 ? std::sin(a) : 0.5 - std::sin(a);
      nearest = std::min(nearest, std::hypot(all.x[i] - scale_x * (x - 0.5), all.y[i] - scale_y * (y - 0.25)));
    }
    worst = std::max(worst, nearest);
    if (i == 3000) break;                // a point costs 300 distances to the arcs
  }
  CHECK(worst < 0.25);
  CHECK(worst > 0.12);
  CHECK(near_within(static_cast<double>(of_label(all, 0).x.size()), many / 2.0, 5 * std::sqrt(many / 4.0)));
}

TEST_CASE("point sets have mean 0 and variance 1") {
  for (const std::string name : {"8gaussians", "checkerboard", "moons"}) {
    CAPTURE(name);
    const Seen all = points(name);
    const double wanted = name == "8gaussians" ? 1.01 : 1;
    CHECK(near_zero(mean(all.x), 5 / std::sqrt(many)));
    CHECK(near_zero(mean(all.y), 5 / std::sqrt(many)));
    CHECK(near_within(variance(all.x), wanted, 0.02));
    CHECK(near_within(variance(all.y), wanted, 0.02));
  }
  const Seen spiral = points("spiral");  // E x^2 = 1 + 12 / (6 pi)^2 + 0.05^2 by integration
  double squares = 0;
  for (const double x : spiral.x) squares += x * x / many;
  CHECK(near_within(squares, 1 + 12 / (36 * pi * pi) + 0.0025, 0.02));
  CHECK(near_within(squares + variance(spiral.y) + mean(spiral.y) * mean(spiral.y), 2.005, 0.03));
}

TEST_CASE("a point depends only on name, seed, split and number") {
  for (const std::string& name : point_sets()) {
    CAPTURE(name);
    const Points set({.name = name}, Split::train), again({.name = name, .count = 77}, Split::train), other({.name = name, .seed = 2}, Split::train);
    CHECK(set.count() == 2097152);
    CHECK(set.shape() == Shape{2});
    const Tensor backwards = set.rows({76, 5, 2097151}), forwards = again.rows({5, 76, 77 + 5});
    CHECK(test::max_difference(backwards.slice(0, 0, 1).to_vector<double>(), forwards.slice(0, 1, 2).to_vector<double>()) == 0);
    CHECK(test::max_difference(backwards.slice(0, 1, 2).to_vector<double>(), forwards.slice(0, 0, 1).to_vector<double>()) == 0);
    CHECK(test::max_difference(forwards.slice(0, 0, 1).to_vector<double>(), forwards.slice(0, 2, 3).to_vector<double>()) == 0);     // the index wraps around
    CHECK(test::max_difference(backwards.to_vector<double>(), other.rows({76, 5, 2097151}).to_vector<double>()) > 1e-3);
    CHECK(set.labels({5}).item() == again.label(5));
    CHECK(set.label(5) < static_cast<std::int32_t>(set.class_names().size()));
    const Tensor one_by_one = set.rows({100, 101, 102});
    CHECK(test::max_difference(set.rows(consecutive(0, 3000)).slice(0, 100, 103).to_vector<double>(), one_by_one.to_vector<double>()) == 0);
  }
  CHECK(Points({.name = "moons"}, Split::train).class_names() == std::vector<std::string>{"moon 0", "moon 1"});
}

TEST_CASE("no test point is a training point, even of the largest training split") {
  const Points test({.name = "moons"}, Split::test), last({.name = "moons", .count = std::int64_t{1} << 40}, Split::train);
  CHECK(test.count() == 10000);
  std::set<std::pair<float, float>> seen;
  float p[2];
  for (std::int64_t i = 0; i < 5000; ++i)
    for (const std::int64_t index : {i, last.count() - 1 - i}) last.read(index, {}, p), seen.insert({p[0], p[1]});
  CHECK(seen.size() == 10000);
  for (std::int64_t i = 0; i < 5000; ++i) {
    test.read(i, {}, p);
    REQUIRE_FALSE(seen.contains({p[0], p[1]}));
  }
}

TEST_CASE("a specification opens a point set as a source for loaders and fingerprints") {
  const auto source = open_source("points:moons?count=100,seed=3", Split::train);
  CHECK(source->name() == "points:moons");
  CHECK(source->count() == 100);
  CHECK(source->dtype() == DType::f32);
  CHECK(open_source("points:spiral", Split::test)->count() == 10000);
  CHECK(class_names_of("points:moons") == std::vector<std::string>{"moon 0", "moon 1"});
  const Loader loader(source, {.seed = 1, .shuffle = false, .workers = 0});
  const SampleBatch batch = loader.batch(7, 20);
  Samples numbers;
  for (const EpochRow& row : batch.rows) numbers.push_back(row.index);
  const Points same({.name = "moons", .count = 100, .seed = 3}, Split::train);
  CHECK(batch.x.shape() == Shape{20, 2});
  CHECK(test::max_difference(batch.x.to_vector<double>(), same.rows(numbers).to_vector<double>()) == 0);
  CHECK(test::max_difference(batch.labels.to_vector<double>(), same.labels(numbers).to_vector<double>()) == 0);
  std::set<std::string> prints;
  for (const std::string name : {"moons?count=100,seed=3", "moons?count=100,seed=2", "moons?count=99,seed=3", "spiral?count=100,seed=3", "8gaussians?count=100",
                                 "checkerboard?count=100"})
    for (const Split split : {Split::train, Split::test}) prints.insert(fingerprint(*open_source("points:" + name, split)));
  CHECK(prints.size() == 12);
  CHECK(prints.contains(fingerprint(same)));
  CHECK_THROWS_WITH_AS(open_source("points", Split::train), "data 'points': write points:8gaussians|checkerboard|spiral|moons", ConfigError);
  CHECK_THROWS_WITH_AS(open_source("points:moon", Split::train), "points: there is no set 'moon'; there are 8gaussians, checkerboard, spiral, moons", ConfigError);
  CHECK_THROWS_WITH_AS(open_source("points:moons?size=3", Split::train), "data 'points:moons?size=3': points has no option 'size'; options: count, seed",
                       ConfigError);
  CHECK_THROWS_AS(open_dataset("points:moons", Split::train), ConfigError);
}

TEST_CASE("unknown point sets, counts and point numbers are refused") {
  CHECK_THROWS_WITH_AS(Points({.name = "moon"}, Split::train), "points: there is no set 'moon'; there are 8gaussians, checkerboard, spiral, moons", ConfigError);
  CHECK_THROWS_WITH_AS(Points({.count = -1}, Split::train), "points:8gaussians: a count of -1; it must lie between 1 and 1099511627776", ConfigError);
  const Points ten({.count = 10}, Split::train);
  CHECK_THROWS_WITH_AS(ten.label(10), "points:8gaussians: there is no point 10; there are 10", Error);
  CHECK_THROWS_AS(ten.rows({-1}), Error);
}
