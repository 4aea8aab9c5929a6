// A shape is a set of points of the plane, |radius| about 1; an image is that set shifted, rotated and scaled. A pixel's coverage is the number of its
// 4x4 sample points that lie inside, so colors come from whole numbers and agree on every machine.
#include "data/shapes.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "tensor/error.h"
#include "tensor/interrupt.h"
#include "tensor/parallel.h"
#include "tensor/random/philox.h"

namespace fm {
namespace {

struct Point {
  double x, y;  // y downwards, as pixels
};

constexpr double shape_pi = std::numbers::pi;

double square_of(double x) { return x * x; }
double radius2(Point p) { return p.x * p.x + p.y * p.y; }

// Whether p is left of the line from a to b, or on it.
bool left_of(Point a, Point b, Point p) { return (b.x - a.x) * (p.y - a.y) - (b.y - a.y) * (p.x - a.x) >= 0; }

bool in_circle(Point p) { return radius2(p) <= square_of(0.88); }
bool in_square(Point p) { return std::max(std::fabs(p.x), std::fabs(p.y)) <= 0.78; }
bool in_triangle(Point p) {
  const Point top{0, -0.95}, right{0.95, 0.7}, left{-0.95, 0.7};
  return left_of(top, right, p) && left_of(right, left, p) && left_of(left, top, p);
}
bool in_diamond(Point p) { return std::fabs(p.x) / 0.72 + std::fabs(p.y) <= 1.0; }
bool in_ring(Point p) { return radius2(p) <= square_of(0.92) && radius2(p) >= square_of(0.5); }
bool in_cross(Point p) {
  const double a = std::fabs(p.x), b = std::fabs(p.y);
  return std::max(a, b) <= 0.9 && std::min(a, b) <= 0.3;
}
// A pentagram: inside at least four of the five lines through its tips (distance cos 72 degrees = 0.309).
bool in_star(Point p) {
  struct Lines {
    std::array<Point, 5> normal;
    Lines() {
      for (int k = 0; k < 5; ++k) normal[std::size_t(k)] = {std::sin(2 * shape_pi * k / 5), -std::cos(2 * shape_pi * k / 5)};
    }
  };
  static const Lines lines;
  int inside = 0;
  for (const Point& n : lines.normal) inside += n.x * p.x + n.y * p.y <= 0.309;
  return inside >= 4;
}
bool in_crescent(Point p) { return radius2(p) <= square_of(0.92) && square_of(p.x - 0.42) + square_of(p.y) >= square_of(0.72); }
// (x^2 + y^2 - 1)^3 <= x^2 y^3 with y upwards
bool in_heart(Point p) {
  const double x = p.x * 1.25, y = 0.12 - p.y * 1.25, a = x * x + y * y - 1;
  return a * a * a <= x * x * y * y * y;
}
bool in_bars(Point p) {
  const double y = std::fabs(p.y);
  return std::fabs(p.x) <= 0.9 && (y <= 0.2 || (y >= 0.5 && y <= 0.9));
}

struct Figure {
  const char* name;
  bool (*inside)(Point);
};
constexpr Figure figures[] = {{"circle", in_circle}, {"square", in_square}, {"triangle", in_triangle},
                              {"diamond", in_diamond}, {"star", in_star}, {"ring", in_ring},
                              {"cross", in_cross}, {"crescent", in_crescent}, {"heart", in_heart}, {"bars", in_bars}};
constexpr std::int64_t figure_count = std::size(figures);

using Colour = std::array<int, 3>;

// Hue in [0,1536), saturation and value in [0,255], whole numbers throughout.
Colour colour_of(int hue, int saturation, int value) {
  const int sector = hue / 256, rise = hue % 256;
  const int low = value * (255 - saturation) / 255, up = low + (value - low) * rise / 255, down = value - (value - low) * rise / 255;
  switch (sector) {
    case 0: return {value, up, low};
    case 1: return {down, value, low};
    case 2: return {low, value, up};
    case 3: return {low, down, value};
    case 4: return {up, low, value};
    default: return {value, low, down};
  }
}

int from_to(std::uint32_t bits, int low, int high) { return low + int(below(bits, std::uint32_t(high - low + 1))); }

// All random properties: position, size, rotation (within 15 degrees, so that a square differs from a diamond), colors.
struct Look {
  Point centre;
  double radius, cosine, sine;
  Colour shape, ground;
};

Look look_of(const ShapesOptions& o, Split split, std::int64_t index) {
  const RandomKey key{o.seed, split == Split::train ? 0x53485000u : 0x53485001u};
  const PhiloxBlock place = key.block(std::uint64_t(index), 0);
  const PhiloxBlock tint = key.block(std::uint64_t(index), 1), more = key.block(std::uint64_t(index), 2);
  Look look;
  look.radius = o.size * (0.26 + 0.16 * uniform_from_bits(place[0]));
  const double room = o.size / 2.0 - look.radius;
  look.centre = {o.size / 2.0 + room * (2 * uniform_from_bits(place[1]) - 1), o.size / 2.0 + room * (2 * uniform_from_bits(place[2]) - 1)};
  const double turn = (2 * uniform_from_bits(place[3]) - 1) * shape_pi / 12;
  look.cosine = std::cos(turn), look.sine = std::sin(turn);
  if (o.channels == 1) {
    look.shape.fill(from_to(tint[0], 150, 255));
    look.ground.fill(from_to(tint[1], 0, 50));
  } else {
    look.shape = colour_of(from_to(tint[0], 0, 1535), from_to(tint[1], 140, 255), from_to(tint[2], 190, 255));
    look.ground = colour_of(from_to(tint[3], 0, 1535), from_to(more[0], 0, 180), from_to(more[1], 10, 80));
  }
  return look;
}

constexpr int sub_pixels = 4;  // sample points of a pixel's side

// How many of the pixel's sample points lie inside, 0..16.
int cover(const Look& look, const Figure& shape, int px, int py) {
  const double reach = look.radius * 1.12 + 1.0;  // no shape goes further
  if (std::fabs(px + 0.5 - look.centre.x) > reach || std::fabs(py + 0.5 - look.centre.y) > reach) return 0;
  int count = 0;
  for (int s = 0; s < sub_pixels * sub_pixels; ++s) {
    const double x = (px + (s % sub_pixels + 0.5) / sub_pixels - look.centre.x) / look.radius;
    const double y = (py + (s / sub_pixels + 0.5) / sub_pixels - look.centre.y) / look.radius;
    count += shape.inside({look.cosine * x + look.sine * y, look.cosine * y - look.sine * x});
  }
  return count;
}

void check(const ShapesOptions& o) {
  const bool fine = o.count >= 1 && o.size >= 8 && (o.channels == 1 || o.channels == 3);
  if (!fine) {
    throw ConfigError(fmt::format("shapes: count {}, size {}, channels {}: needs count >= 1, size >= 8, channels 1 or 3", o.count, o.size,
                                  o.channels));
  }
}

}  // namespace

void draw_shape(const ShapesOptions& o, Split split, std::int64_t index, std::uint8_t* planes) {
  check(o);
  const Look look = look_of(o, split, index);
  const Figure& shape = figures[index % figure_count];
  const int all = sub_pixels * sub_pixels;
  for (int y = 0; y < o.size; ++y) {
    for (int x = 0; x < o.size; ++x) {
      const int n = cover(look, shape, x, y);
      for (int c = 0; c < o.channels; ++c) {
        const std::size_t k = std::size_t(c);
        planes[(c * o.size + y) * o.size + x] = std::uint8_t((look.shape[k] * n + look.ground[k] * (all - n) + all / 2) / all);
      }
    }
  }
}

std::vector<std::string> shape_classes() {
  std::vector<std::string> names;
  for (const Figure& shape : figures) names.push_back(shape.name);
  return names;
}

Dataset draw_shapes(const ShapesOptions& o, Split split) {
  check(o);
  Dataset data{"shapes", o.count, o.channels, o.size, o.size, {}, {}, {}};
  data.class_names = shape_classes();
  check_fits(data.name, o.count, data.sample_size());
  data.pixels.resize(std::size_t(o.count * data.sample_size()));
  for (std::int64_t i = 0; i < o.count; ++i) data.labels.push_back(std::int32_t(i % figure_count));
  constexpr std::int64_t block = 4096;
  for (std::int64_t first = 0; first < o.count; first += block) {
    check_interrupt();
    parallel_for(std::min(block, o.count - first), data.sample_size() * 32,
                 [&](std::int64_t k) { draw_shape(o, split, first + k, data.pixels.data() + (first + k) * data.sample_size()); });
  }
  return data;
}

}  // namespace fm
