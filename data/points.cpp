#include "data/points.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <limits>
#include <numbers>

#include "tensor/error.h"
#include "tensor/narrow.h"
#include "tensor/parallel.h"
#include "tensor/random/philox.h"

namespace fm {
namespace {

constexpr double pi = std::numbers::pi;
constexpr std::int64_t most_points = std::int64_t{1} << 40;                   // in a split; also the number of the first test point

// The random numbers of one point: a mode, two uniform numbers in [0, 1) and two normal ones.
struct Chance {
  std::uint32_t mode_bits;
  double u, v, normal_x, normal_y;
};

struct Placed {
  double x, y;
};

Placed eight_gaussians(std::int32_t mode, const Chance& c) {
  const double angle = pi / 4 * mode, radius = std::numbers::sqrt2;
  return {radius * std::cos(angle) + eight_gaussians_deviation * c.normal_x, radius * std::sin(angle) + eight_gaussians_deviation * c.normal_y};
}

// Cells 2k and 2k+1 are in column k with one cell between them. Neighboring columns are shifted by one cell, so no two cells share a side.
Placed checkerboard(std::int32_t cell, const Chance& c) {
  const double side = std::numbers::sqrt3 / 2;
  const std::int32_t column = cell / 2, row = 2 * (cell % 2) + column % 2;
  return {(column + c.u) * side - std::numbers::sqrt3, (row + c.v) * side - std::numbers::sqrt3};
}

Placed spiral(std::int32_t, const Chance& c) {
  constexpr double deviation = 0.05;
  const double root = std::sqrt(c.u), radius = 2 * root, angle = 3 * pi * root;
  return {radius * std::cos(angle) + deviation * c.normal_x, radius * std::sin(angle) + deviation * c.normal_y};
}

// (cos a, sin a) and (1 - cos a, 1/2 - sin a), a uniform in [0, pi): means 1/2 and 1/4; variance of x 1/2 + 1/4, of y
// 1/2 - (2/pi)^2 + (2/pi - 1/4)^2. Scaled so that both variances, with the noise, are 1.
Placed moons(std::int32_t moon, const Chance& c) {
  constexpr double deviation = 0.05, kept = 1 - deviation * deviation, height = 2 / pi;
  const double scale_x = std::sqrt(kept / 0.75), scale_y = std::sqrt(kept / (0.5 - height * height + (height - 0.25) * (height - 0.25)));
  const double angle = pi * c.u, x = std::cos(angle), y = std::sin(angle);
  const double moon_x = moon == 0 ? x : 1 - x, moon_y = moon == 0 ? y : 0.5 - y;
  return {scale_x * (moon_x - 0.5) + deviation * c.normal_x, scale_y * (moon_y - 0.25) + deviation * c.normal_y};
}

struct Kind {
  const char* name;
  std::int32_t classes;
  const char* class_prefix;              // "mode" -> "mode 0", "mode 1", ...
  Placed (*place)(std::int32_t label, const Chance& chance);
};
constexpr Kind point_kinds[] = {{"8gaussians", 8, "mode", eight_gaussians},
                          {"checkerboard", 8, "cell", checkerboard},
                          {"spiral", 1, "arm", spiral},
                          {"moons", 2, "moon", moons}};

std::size_t kind_named(const std::string& name) {
  for (std::size_t i = 0; i < std::size(point_kinds); ++i)
    if (name == point_kinds[i].name) return i;
  throw ConfigError(fmt::format("points: there is no set '{}'; there are {}", name, fmt::join(point_sets(), ", ")));
}

}  // namespace

struct Points::Draw {
  std::int32_t label;
  Placed at;
};

Points::Points(const PointsOptions& options, Split split)
    : kind_(kind_named(options.name)),
      count_(options.count != 0 ? options.count : split == Split::train ? std::int64_t{1} << 21 : 10000),
      first_(split == Split::train ? 0 : most_points),
      seed_(options.seed) {
  if (count_ < 1 || count_ > most_points)
    throw ConfigError(fmt::format("points:{}: a count of {}; it must lie between 1 and {}", options.name, count_, most_points));
  for (std::int32_t i = 0; i < point_kinds[kind_].classes; ++i) class_names_.push_back(fmt::format("{} {}", point_kinds[kind_].class_prefix, i));
}

Points::Draw Points::draw(std::int64_t index) const {
  if (index < 0 || index >= count_) throw Error(fmt::format("{}: there is no point {}; there are {}", name(), index, count_));
  const RandomKey key{seed_, 0x504F4900u + static_cast<std::uint32_t>(kind_)};                      // fits: four kinds
  const PhiloxBlock a = key.block(static_cast<std::uint64_t>(first_ + index), 0), b = key.block(static_cast<std::uint64_t>(first_ + index), 1);
  const NormalPair normal = normal_from_bits(b[2], b[3]);
  const Chance chance{a[0], uniform_from_bits(a[1], a[2]), uniform_from_bits(b[0], b[1]), normal.first, normal.second};
  const Kind& kind = point_kinds[kind_];
  const auto label = narrow<std::int32_t>(below(chance.mode_bits, narrow<std::uint32_t>(kind.classes)));
  return {label, kind.place(label, chance)};
}

std::int32_t Points::label(std::int64_t index) const { return draw(index).label; }

void Points::read(std::int64_t index, const PhiloxBlock&, void* out) const {
  const Placed at = draw(index).at;
  static_cast<float*>(out)[0] = static_cast<float>(at.x);
  static_cast<float*>(out)[1] = static_cast<float>(at.y);
}

std::string Points::name() const { return fmt::format("points:{}", point_kinds[kind_].name); }

Tensor Points::rows(const std::vector<std::int64_t>& samples) const {
  const auto n = static_cast<std::int64_t>(samples.size());
  const Tensor out = Tensor::empty({n, 2}, DType::f32, Device{});
  parallel_for(n, 300, [&](std::int64_t i) { read(samples[static_cast<std::size_t>(i)] % count_, {}, out.data<float>() + 2 * i); });
  return out.to(default_device());
}

Tensor Points::labels(const std::vector<std::int64_t>& samples) const {
  const auto n = static_cast<std::int64_t>(samples.size());
  const Tensor out = Tensor::empty({n}, DType::i64, Device{});
  parallel_for(n, 300, [&](std::int64_t i) { out.data<std::int64_t>()[i] = label(samples[static_cast<std::size_t>(i)] % count_); });
  return out.to(default_device());
}

std::vector<std::string> point_sets() {
  std::vector<std::string> names;
  for (const Kind& kind : point_kinds) names.push_back(kind.name);
  return names;
}

std::shared_ptr<const SampleSource> open_points(DataSpec& spec, Split split) {
  PointsOptions options;
  options.name = spec.needed_path(fmt::format("points:{}", fmt::join(point_sets(), "|")));
  options.count = spec.number("count", 0, 1, most_points);
  options.seed = static_cast<std::uint64_t>(spec.number("seed", 1, 0, std::numeric_limits<std::int64_t>::max()));
  return std::make_shared<Points>(options, split);
}

std::vector<std::string> point_class_names(const DataSpec& spec) {
  DataSpec own = spec;
  return open_points(own, Split::test)->class_names();
}

std::vector<std::array<double, 2>> eight_gaussians_centres() {
  std::vector<std::array<double, 2>> out;
  for (std::int32_t mode = 0; mode < 8; ++mode) {
    const Placed at = eight_gaussians(mode, {});
    out.push_back({at.x, at.y});
  }
  return out;
}

}  // namespace fm
