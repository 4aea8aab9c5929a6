// Random crops and shifts. A linear ramp stays linear under a bilinear crop, so the crop's box can be read from it. The boxes are compared with the
// distributions that crops.h names, by Kolmogorov's distance of 4,000 samples. By chance it exceeds 1.95 / sqrt(n) once in a thousand.
#include "data/crops.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "tensor/error.h"
#include "tests/support/error_of.h"
#include "tests/support/near.h"

using namespace fm;
using fm::test::error_of;
using fm::test::near;
using fm::test::near_within;
using fm::test::near_zero;

namespace {

constexpr std::int64_t samples = 4000;
using Numbers = std::vector<double>;

Samples numbered(std::int64_t n) {
  Samples out;
  for (std::int64_t i = 0; i < n; ++i) out.push_back(1000 + i);
  return out;
}

// n images (2, height, width) whose channels are (x + 1/2) / width and (y + 1/2) / height.
Tensor ramps(std::int64_t n, std::int64_t height, std::int64_t width) {
  std::vector<float> values;
  for (std::int64_t i = 0; i < n; ++i)
    for (int c = 0; c < 2; ++c)
      for (std::int64_t y = 0; y < height; ++y)
        for (std::int64_t x = 0; x < width; ++x)
          values.push_back(static_cast<float>(c == 0 ? (static_cast<double>(x) + 0.5) / static_cast<double>(width) : (static_cast<double>(y) + 0.5) / static_cast<double>(height)));
  return Tensor::from(values, {n, 2, height, width});
}

struct Box {
  double left, top, width, height;      // pixels
  bool mirrored;
};

// The boxes of crops of ramps, read from their values. The crops must have no jitter.
std::vector<Box> boxes(const Tensor& crops, std::int64_t height, std::int64_t width) {
  const std::vector<double> v = crops.to_vector<double>();
  const std::int64_t n = crops.dim(0), size = crops.dim(3);
  std::vector<Box> out;
  for (std::int64_t i = 0; i < n; ++i) {
    const double* x = v.data() + 2 * i * size * size;
    const double* y = x + size * size;
    const auto last = static_cast<double>(size - 1), s = static_cast<double>(size), w = static_cast<double>(width), h = static_cast<double>(height);
    const double along = (x[size - 1] - x[0]) / last * s * w, down = (y[(size - 1) * size] - y[0]) / last * s * h;
    out.push_back({0.5 * (x[0] + x[size - 1]) * w - 0.5 * std::abs(along), 0.5 * (y[0] + y[(size - 1) * size]) * h - 0.5 * down, std::abs(along), down, along < 0});
  }
  return out;
}

// Kolmogorov's distance between the empirical distribution and U[0, 1), divided by the value that it exceeds by chance once in a thousand.
double distance_from_uniform(Numbers u) {
  std::sort(u.begin(), u.end());
  const auto n = static_cast<double>(u.size());
  double worst = 0;
  for (std::size_t i = 0; i < u.size(); ++i)
    worst = std::max({worst, std::abs(u[i] - static_cast<double>(i) / n), std::abs(u[i] - static_cast<double>(i + 1) / n)});
  return worst * std::sqrt(n) / 1.95;
}

// The largest correlation between two of the lists, divided by four times its standard deviation.
double largest_correlation(const std::vector<Numbers>& all) {
  double worst = 0;
  for (std::size_t a = 0; a < all.size(); ++a)
    for (std::size_t b = 0; b < a; ++b) {
      double sum = 0;
      for (std::size_t i = 0; i < all[a].size(); ++i) sum += 12 * (all[a][i] - 0.5) * (all[b][i] - 0.5);
      worst = std::max(worst, std::abs(sum) / std::sqrt(static_cast<double>(all[a].size())) / 4);
    }
  return worst;
}

}  // namespace

TEST_CASE("a crop's area, aspect and place are uniform and independent") {
  constexpr std::int64_t side = 20;
  const CropRecipe recipe{.size = 8, .scale_low = 0.4, .scale_high = 0.7, .jitter = 0};    // the aspect is the default, 4/3, with which every box fits into the image
  std::vector<Numbers> u(5);
  double mirrored = 0;
  for (const Box& b : boxes(random_crops(ramps(samples, side, side), numbered(samples), {3, 4}, 0, recipe), side, side)) {
    u[0].push_back((b.width * b.height / (side * side) - 0.4) / 0.3);
    u[1].push_back((std::log(b.width / b.height) / std::log(4.0 / 3.0) + 1) / 2);
    u[2].push_back(b.left / (side - b.width));
    u[3].push_back(b.top / (side - b.height));
    u[4].push_back(b.mirrored);
    mirrored += b.mirrored;
  }
  for (std::size_t i = 0; i < 4; ++i) {
    CAPTURE(i);
    CHECK(distance_from_uniform(u[i]) < 1);
    CHECK(*std::min_element(u[i].begin(), u[i].end()) > -1e-4);
    CHECK(*std::max_element(u[i].begin(), u[i].end()) < 1 + 1e-4);
  }
  CHECK(largest_correlation(u) < 1);
  CHECK(near_within(mirrored / samples, 0.5, 0.03));
}

TEST_CASE("a crop stays inside the image, and the share of mirrored crops is the recipe's") {
  const CropRecipe wide{.size = 6, .scale_low = 1, .scale_high = 1, .aspect = 4, .flip = 0.2, .jitter = 0};
  double mirrored = 0;
  for (const Box& b : boxes(random_crops(ramps(samples, 12, 16), numbered(samples), {3, 4}, 0, wide), 12, 16)) {
    const double ratio = b.width < 16 - 1e-3 ? std::pow(b.width, 2) / 192 : 192 / std::pow(b.height, 2);      // the aspect, from the side that is not cut
    CHECK((ratio > 0.25 - 1e-3 && ratio < 4 + 1e-3));
    CHECK((b.width < 16 + 1e-3 && b.height < 12 + 1e-3 && b.left > -1e-3 && b.top > -1e-3));
    CHECK((b.left + b.width < 16 + 1e-3 && b.top + b.height < 12 + 1e-3));
    CHECK((b.width > 16 - 1e-3 || b.height > 12 - 1e-3));                                  // the box has the whole area, so at least one side is as long as the image's
    mirrored += b.mirrored;
  }
  CHECK(near_within(mirrored / samples, 0.2, 0.025));
}

TEST_CASE("a crop of the whole image equals the image; enlarging is bilinear and repeats the edges") {
  const CropRecipe whole{.size = 8, .scale_low = 1, .scale_high = 1, .aspect = 1, .flip = 0, .jitter = 0};
  const Tensor image = random_uniform({3, 2, 8, 8}, {7, 8}, 0, DType::f32);
  const std::vector<double> same = random_crops(image, numbered(3), {3, 4}, 0, whole).to_vector<double>(), given = image.to_vector<double>();
  for (std::size_t i = 0; i < given.size(); ++i) CHECK(near_zero(same[i] - given[i], 1e-6));
  // 2 pixels become 8, at the positions -3/8, -1/8, 1/8, ... 11/8. Positions outside take the values of the edges.
  const std::vector<float> four{0.0f, 1.0f, 0.5f, 0.25f};
  const std::vector<double> got = random_crops(Tensor::from(four, {1, 1, 2, 2}), numbered(1), {3, 4}, 0, whole).to_vector<double>();
  for (int y = 0; y < 8; ++y)
    for (int x = 0; x < 8; ++x) {
      const double px = std::clamp((x + 0.5) / 4 - 0.5, 0.0, 1.0), py = std::clamp((y + 0.5) / 4 - 0.5, 0.0, 1.0);
      const double wanted = (1 - py) * px + py * (0.5 * (1 - px) + 0.25 * px);
      CHECK(near_zero(got[static_cast<std::size_t>(8 * y + x)] - wanted, 1e-6));
    }
  CropRecipe mirror = whole;
  mirror.flip = 1;
  const std::vector<float> pair{0.1f, 0.9f, 0.2f, 0.8f};
  mirror.size = 2;
  const std::vector<double> turned = random_crops(Tensor::from(pair, {1, 1, 2, 2}), numbered(1), {3, 4}, 0, mirror).to_vector<double>();
  CHECK((near(turned[0], 0.9, 1e-6) && near(turned[1], 0.1, 1e-6) && near(turned[2], 0.8, 1e-6) && near(turned[3], 0.2, 1e-6)));
}

TEST_CASE("brightness and contrast are uniform in [1 - jitter, 1 + jitter], and values stay in [0, 1]") {
  CropRecipe recipe{.size = 2, .scale_low = 1, .scale_high = 1, .aspect = 1, .flip = 0};          // jitter is the default, 0.4
  std::vector<float> checks;
  for (std::int64_t i = 0; i < samples; ++i) checks.insert(checks.end(), {0.4f, 0.6f, 0.6f, 0.4f});
  const std::vector<double> v = random_crops(Tensor::from(checks, {samples, 1, 2, 2}), numbered(samples), {3, 4}, 0, recipe).to_vector<double>();
  std::vector<Numbers> u(2);
  for (std::size_t i = 0; i < v.size(); i += 4) {
    const double brightness = (v[i] + v[i + 1]) / 2 / 0.5, contrast = (v[i + 1] - v[i]) / 0.2 / brightness;      // the image has mean 0.5
    u[0].push_back((brightness - 0.6) / 0.8), u[1].push_back((contrast - 0.6) / 0.8);
    CHECK(near(v[i + 2], v[i + 1], 1e-5));
    CHECK(near(v[i + 3], v[i], 1e-5));
  }
  for (const Numbers& one : u) {
    CHECK(distance_from_uniform(one) < 1);
    CHECK((*std::min_element(one.begin(), one.end()) > -1e-4 && *std::max_element(one.begin(), one.end()) < 1 + 1e-4));
  }
  CHECK(largest_correlation(u) < 1);
  const Tensor bright = random_crops(Tensor::full({100, 1, 2, 2}, 0.9), numbered(100), {3, 4}, 0, recipe);
  const std::vector<double> levels = bright.to_vector<double>();
  CHECK(*std::max_element(levels.begin(), levels.end()) == 1);
  recipe.jitter = 1;
  std::vector<float> black_and_white;
  for (int i = 0; i < 100; ++i) black_and_white.insert(black_and_white.end(), {0, 1, 1, 0});
  const std::vector<double> cut = random_crops(Tensor::from(black_and_white, {100, 1, 2, 2}), numbered(100), {3, 4}, 0, recipe).to_vector<double>();
  CHECK(*std::min_element(cut.begin(), cut.end()) == 0);                                          // a contrast above 1 would give a negative value
}

TEST_CASE("a crop depends only on key, draw and sample number") {
  const CropRecipe recipe{.size = 5};
  const Tensor images = random_uniform({4, 2, 9, 7}, {7, 8}, 0, DType::f32);
  const auto crops = [&](const Samples& numbers, const std::vector<std::int64_t>& rows, RandomKey key, std::uint32_t draw) {
    std::vector<float> all = images.to_vector<float>(), chosen;
    for (const std::int64_t r : rows) chosen.insert(chosen.end(), all.begin() + r * 126, all.begin() + (r + 1) * 126);
    return random_crops(Tensor::from(chosen, {std::ssize(rows), 2, 9, 7}), numbers, key, draw, recipe).to_vector<float>();
  };
  const std::vector<float> first = crops({5, 6, 7, 8}, {0, 1, 2, 3}, {1, 2}, 0), part = crops({7, 5}, {2, 0}, {1, 2}, 0);
  CHECK(std::equal(part.begin(), part.begin() + 50, first.begin() + 100));
  CHECK(std::equal(part.begin() + 50, part.end(), first.begin()));
  CHECK(crops({5}, {0}, {1, 2}, 1) != crops({5}, {0}, {1, 2}, 0));
  CHECK(crops({5}, {0}, {1, 3}, 0) != crops({5}, {0}, {1, 2}, 0));
  CHECK(crops({6}, {0}, {1, 2}, 0) != crops({5}, {0}, {1, 2}, 0));
  CHECK(error_of([&] { random_crops(images, {1, 2}, {1, 2}, 0, recipe); }) == "random_crops: images [4, 2, 9, 7] with 2 sample numbers: needs (B, C, H, W) and B numbers");
  CHECK(error_of([&] { random_crops(Tensor::zeros({4, 9, 7}), {1, 2, 3, 4}, {1, 2}, 0, recipe); }) == "random_crops: images [4, 9, 7] with 4 sample numbers: needs (B, C, H, W) and B numbers");
}

// A training that is resumed with a newer version must make the same draws as with the older one, so the random numbers are fixed here.
TEST_CASE("random crops and shifts keep their recorded values") {
  const CropRecipe recipe{.size = 2, .scale_low = 0.1, .scale_high = 0.9, .aspect = 2, .flip = 0.5, .jitter = 0.3};
  const Tensor image = ramps(3, 16, 16);
  const std::vector<double> crops = random_crops(image, {1, 2, 1000000007}, {3, 4}, 5, recipe).to_vector<double>();
  const std::vector<double> shifts = random_shifts(image, {1, 2, 1000000007}, {3, 4}, 5, 3, 0.5).to_vector<double>();
  const Numbers corners{0.8676, 0.4779, 0.3914, 0.5868, 0.7029, 0.5123, 0.3597, 0.7138, 0.9087, 0.3553, 0.3909, 0.7243};       // a corner of each image and channel
  const Numbers middles{0.5312, 0.5938, 0.4688, 0.5312, 0.6562, 0.5938, 0.5312, 0.5938, 0.3438, 0.2812, 0.5938, 0.6562};
  for (std::size_t i = 0; i < 6; ++i)
    for (std::size_t k = 0; k < 2; ++k) {
      CAPTURE(i);
      CHECK(near_within(crops[4 * i + 3 * k], corners[2 * i + k], 1e-4));
      CHECK(near_within(shifts[256 * i + 120 + 17 * k], middles[2 * i + k], 1e-4));
    }
}

TEST_CASE("random shifts are whole pixels, equally frequent and filled with zeros; the given share is mirrored") {
  constexpr std::int64_t reach = 2, height = 7, width = 9;
  std::vector<float> one;
  for (int i = 0; i < 2 * height * width; ++i) one.push_back(static_cast<float>(i + 1));
  std::vector<float> all;
  for (std::int64_t i = 0; i < samples; ++i) all.insert(all.end(), one.begin(), one.end());
  const std::vector<float> out = random_shifts(Tensor::from(all, {samples, 2, height, width}), numbered(samples), {3, 4}, 0, reach, 0.25).to_vector<float>();
  std::map<std::pair<std::int64_t, std::int64_t>, int> shifts;
  int mirrored = 0, wrong = 0;
  for (std::int64_t i = 0; i < samples; ++i) {
    const float* image = out.data() + i * 2 * height * width;
    const auto middle = static_cast<std::int64_t>(image[3 * width + 4]) - 1;                       // index of the source of the middle pixel, which is always inside
    const bool turned = image[3 * width + 3] > image[3 * width + 4];
    const std::int64_t dy = 3 - middle / width, dx = 4 - (turned ? width - 1 - middle % width : middle % width);
    for (std::int64_t c = 0; c < 2; ++c)
      for (std::int64_t y = 0; y < height; ++y)
        for (std::int64_t x = 0; x < width; ++x) {
          const std::int64_t from_y = y - dy, from_x = turned ? width - 1 - (x - dx) : x - dx;
          const bool inside = from_y >= 0 && from_y < height && from_x >= 0 && from_x < width;
          const float wanted = inside ? one[static_cast<std::size_t>((c * height + from_y) * width + from_x)] : 0;
          wrong += image[(c * height + y) * width + x] != wanted;
        }
    ++shifts[{dy, dx}];
    mirrored += turned;
  }
  CHECK(wrong == 0);
  CHECK(shifts.size() == 25);
  for (const auto& one_shift : shifts) {                                                          // about 160 of each shift
    CHECK((std::max(std::abs(one_shift.first.first), std::abs(one_shift.first.second)) <= reach && one_shift.second > 100 && one_shift.second < 225));
  }
  CHECK(near_within(static_cast<double>(mirrored) / samples, 0.25, 0.03));
  const Tensor few = random_uniform({3, 1, 4, 5}, {7, 8}, 0, DType::f32);
  CHECK(random_shifts(few, numbered(3), {3, 4}, 0, 0, 0).to_vector<float>() == few.to_vector<float>());
  CHECK(random_shifts(few, {1, 2, 3}, {3, 4}, 0, 2, 0).to_vector<float>() != random_shifts(few, {1, 2, 3}, {3, 4}, 1, 2, 0).to_vector<float>());
  CHECK(error_of([&] { random_shifts(few, {1}, {3, 4}, 0, 2, 0); }) == "random_shifts: images [3, 1, 4, 5] with 1 sample numbers: needs (B, C, H, W) and B numbers");
}
