// LPIPS against numbers of the published package in float64, with weights and images that are functions of names (support/hash_fill.h); its layer terms in
// plain loops; its gradient against finite differences.
#include "nn/models/lpips.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <tuple>
#include <vector>

#include "autodiff/check.h"
#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/linear.h"
#include "tensor/ops/copy.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/reduce.h"
#include "tests/support/lpips_stand_in.h"
#include "tests/support/near.h"
#include "tests/support/tensors.h"

using namespace fm;
using namespace fm::test;

namespace {

struct Golden {
  double distance;
  std::vector<double> terms;
  double gradient_norm, gradient_max;
  std::vector<double> first;               // of the gradient
};

const Golden vgg{0.00511163721, {0.0034634179, 0.0010504888, 0.0004007384, 0.00011764238, 7.9349717e-05}, 0.00029145565, 1.0130995e-05,
                 {-2.28847e-06, -1.24354e-06, -1.42008e-06, -1.15278e-06}};
const Golden vgg_near{0.000108742207, {6.3083063e-05, 2.583211e-05, 1.1777285e-05, 4.3280617e-06, 3.7216879e-06}, 6.3596574e-05, 2.627917e-06,
                      {-3.17984e-07, -1.42862e-07, -1.66229e-07, -9.21553e-08}};
const Golden alex{0.00691291782, {0.0052472381, 0.00082115394, 0.00019938547, 0.00032871022, 0.00031643011}, 0.00088358421, 4.2543119e-05,
                  {9.51141e-07, 2.12052e-06, 9.4661e-07, -4.40155e-06}};

Tensor image(const std::vector<std::uint8_t>& bytes, std::int64_t size, DType type) { return image_tensor(bytes, size, size, 2 / 255.0, -1, type); }

Tensor pair_of(const Tensor& a, const Tensor& b) { return concat(std::vector<Tensor>{a, b}, 0); }

// The distances of `in` and the gradient of their sum in `in`.
std::pair<Tensor, Tensor> with_gradient(const Lpips& model, const Tensor& in, const Tensor& ref) {
  Tape tape;
  const Var leaf = tape.variable(in), d = model(leaf, ref);
  const Gradients g = tape.backward({{d, Tensor::ones(d.shape(), d.dtype())}});
  return {d.value(), g[leaf]};
}

void check_golden(const Golden& wanted, double distance, const Tensor& gradient, double of_distance, double of_norm, double of_elements) {
  CHECK(near(distance, wanted.distance, of_distance));
  CHECK(near(norm(gradient), wanted.gradient_norm, of_norm));
  double largest = 0;
  const std::vector<double> g = gradient.to_vector<double>();
  for (const double x : g) largest = std::max(largest, std::fabs(x));
  CHECK(near(largest, wanted.gradient_max, of_norm));
  for (std::size_t i = 0; i < wanted.first.size(); ++i) CHECK(near(g[i], wanted.first[i], of_elements));
}

// The term of one layer by the definition, in double. f and g (1, C, H, W), head (1, C, 1, 1).
double term_by_loops(const Tensor& f, const Tensor& g, const Tensor& head) {
  const std::vector<double> a = f.to_vector<double>(), b = g.to_vector<double>(), w = head.to_vector<double>();
  const std::size_t channels = w.size(), places = a.size() / channels;
  double total = 0;
  for (std::size_t p = 0; p < places; ++p) {
    double norm_a = 0, norm_b = 0;
    for (std::size_t c = 0; c < channels; ++c) norm_a += a[c * places + p] * a[c * places + p], norm_b += b[c * places + p] * b[c * places + p];
    norm_a = std::sqrt(norm_a) + 1e-10, norm_b = std::sqrt(norm_b) + 1e-10;
    for (std::size_t c = 0; c < channels; ++c) total += w[c] * std::pow(a[c * places + p] / norm_a - b[c * places + p] / norm_b, 2);
  }
  return total / static_cast<double>(places);
}

void check_features(const std::vector<Var>& taps, const std::vector<std::pair<double, double>>& mean_and_length) {
  REQUIRE(taps.size() == mean_and_length.size());
  for (std::size_t l = 0; l < taps.size(); ++l) {
    CAPTURE(l);
    CHECK(near(mean(taps[l].value()).item(), mean_and_length[l].first, 2e-8));
    CHECK(near(norm(taps[l].value()), mean_and_length[l].second, 2e-8));
  }
}

void check_terms(const Lpips& model, const std::vector<Var>& f, const std::vector<Var>& g, const Golden& wanted) {
  for (std::size_t l = 0; l < f.size(); ++l) CHECK(near(term_by_loops(f[l].value(), g[l].value(), model.heads.weights[l].value), wanted.terms[l], 2e-7));
}

}  // namespace

TEST_CASE("LPIPS with VGG16 in f64: features, terms, distances and gradients of two pairs") {
  const Lpips model = hash_filled_lpips("vgg", DType::f64);
  const auto a = hash_image(0, 64, 64), b = hash_image(1, 64, 64);
  const Tensor x = image(a, 64, DType::f64), y = image(b, 64, DType::f64), z = image(near_image(a, b), 64, DType::f64);
  const std::vector<Var> f = model.trunk.features(x);
  check_features(f, {{0.67499553, 605.49772}, {0.78796391, 501.16189}, {0.79002989, 358.04533}, {0.7674592, 246.57235}, {0.61290143, 98.03874}});
  check_terms(model, f, model.trunk.features(y), vgg);
  const auto [d, g] = with_gradient(model, pair_of(x, x), pair_of(y, z));
  REQUIRE(d.shape() == Shape{2});
  check_golden(vgg, d.to_vector<double>()[0], g.slice(0, 0, 1), 2e-9, 2e-8, 5e-6);
  check_golden(vgg_near, d.to_vector<double>()[1], g.slice(0, 1, 2), 5e-9, 2e-7, 2e-5);
}

TEST_CASE("LPIPS with AlexNet in f64: features, terms, distance and gradient") {
  const Lpips model = hash_filled_lpips("alex", DType::f64);
  const Tensor x = image(hash_image(0, 64, 64), 64, DType::f64), y = image(hash_image(1, 64, 64), 64, DType::f64);
  const std::vector<Var> f = model.trunk.features(x);
  check_features(f, {{0.64174779, 128.25479}, {0.67566954, 120.44471}, {0.76983607, 82.848514}, {0.59676187, 51.98456}, {0.4944623, 42.278031}});
  check_terms(model, f, model.trunk.features(y), alex);
  const auto [d, g] = with_gradient(model, x, y);
  check_golden(alex, d.item(), g, 2e-9, 2e-8, 1e-5);
}

TEST_CASE("LPIPS in f32, also of images of 256 pixels") {
  const Lpips vgg_model = hash_filled_lpips("vgg", DType::f32), alex_model = hash_filled_lpips("alex", DType::f32);
  const Tensor x = image(hash_image(0, 64, 64), 64, DType::f32), y = image(hash_image(1, 64, 64), 64, DType::f32);
  const auto [d, g] = with_gradient(vgg_model, x, y);
  check_golden(vgg, d.item(), g, 1e-5, 1e-4, 1e-2);
  const auto [e, h] = with_gradient(alex_model, x, y);
  check_golden(alex, e.item(), h, 1e-5, 1e-4, 1e-2);
  const Tensor wide = image(hash_image(0, 256, 256), 256, DType::f32), other = image(hash_image(1, 256, 256), 256, DType::f32);
  CHECK(near(vgg_model(wide, other).value().item(), 0.00557175203, 1e-5));
}

TEST_CASE("LPIPS: the gradient in f64 is that of finite differences, at odd sizes") {
  for (const auto& [trunk, height, width] : {std::tuple<const char*, std::int64_t, std::int64_t>{"vgg", 21, 17}, {"alex", 37, 33}}) {
    const std::string name = trunk;
    CAPTURE(name);
    const Lpips model = hash_filled_lpips(name, DType::f64);
    const Tensor x = image_tensor(hash_image(0, height, width), height, width, 2 / 255.0, -1), y = image_tensor(hash_image(2, height, width), height, width, 2 / 255.0, -1);
    const Tensor g = with_gradient(model, x, y).second;
    const std::vector<double> values = x.to_vector<double>(), gradient = g.to_vector<double>();
    for (const std::size_t at : {values.size() / 2 + 5, values.size() - 1}) {
      const auto moved = [&](double by) {
        std::vector<double> changed = values;
        changed[at] += by;
        return model(Tensor::from(changed, x.shape()), y).value().item();
      };
      const double h = 1e-5, difference = (moved(h) - moved(-h)) / (2 * h);
      CHECK(near(gradient[at], difference, 1e-4));
    }
  }
}

TEST_CASE("LPIPS is symmetric, 0 for equal images, and takes one reference for several images") {
  const Lpips model = hash_filled_lpips("alex", DType::f64);
  const Tensor x = image_tensor(hash_image(0, 37, 33), 37, 33, 2 / 255.0, -1), y = image_tensor(hash_image(2, 37, 33), 37, 33, 2 / 255.0, -1);
  CHECK(model(x, x).value().item() == 0);
  CHECK(model(x, y).value().item() == model(y, x).value().item());
  const Tensor gradient = with_gradient(model, y, x).second;
  Tape tape;
  const Var leaf = tape.variable(y), d = model(x, leaf);                // the gradient in the reference
  CHECK(max_difference(backward(sum(d))[leaf], gradient) < 1e-12 * norm(gradient));
  CHECK(max_difference(model(pair_of(x, y), y).value(), model(pair_of(x, y), pair_of(y, y)).value()) == 0);
}

TEST_CASE("normalize_channels: unit length, all derivatives, and 0 where all channels are 0") {
  const Tensor f = sample_normal({2, 5, 3, 2}, 1);
  CHECK(near(sum_squares(normalize_channels(f).value()), 12, 1e-9));
  CHECK_NOTHROW(check_all([](const std::vector<Var>& v) { return normalize_channels(v[0]); }, {f}, {.name = "normalize_channels"}));
  for (const DType type : {DType::f64, DType::f32}) {
    const Tensor dead = f.to(type).clone();
    dead.slice(2, 1, 2).slice(3, 0, 1).fill(0);        // pixel (1, 0) of both samples
    Tape tape;
    const Var leaf = tape.variable(dead), n = normalize_channels(leaf);
    const Tensor gradient = tape.backward({{n, Tensor::ones(n.shape(), type)}})[leaf];
    CHECK(sum_squares(n.value().slice(2, 1, 2).slice(3, 0, 1)) == 0);
    CHECK(sum_squares(gradient.slice(2, 1, 2).slice(3, 0, 1)) == 0);
    CHECK(all_finite(gradient));
    CHECK(all_finite(n.value()));
    CHECK(sum_squares(gradient) > 1e-3);
    const auto [value, tangent] = jvp([](const Var& v) { return normalize_channels(v); }, at(dead), along(Tensor::ones(dead.shape(), type)));
    CHECK(all_finite(tangent));
    CHECK(sum_squares(tangent.slice(2, 1, 2).slice(3, 0, 1)) == 0);
  }
}

TEST_CASE("LPIPS: dead features give a gradient without NaN") {
  const Tensor x = image(hash_image(0, 64, 64), 64, DType::f32), y = image(hash_image(1, 64, 64), 64, DType::f32);
  Lpips model = hash_filled_lpips("alex", DType::f32);
  model.trunk.layers[4].conv.bias.value.fill(-1e3);   // no feature of the last layer is above 0
  const auto [d, g] = with_gradient(model, x, y);
  CHECK(all_finite(g));
  CHECK(near(d.item(), alex.distance - alex.terms[4], 1e-5));
  model.trunk.layers[0].conv.bias.value.fill(-1e3);   // and none of the first: all later features are constants
  const auto [e, h] = with_gradient(model, x, y);
  CHECK(e.item() == 0);
  CHECK(sum_squares(h) == 0);
}

TEST_CASE("LPIPS: weights are frozen, and a tape keeps no features of a constant reference") {
  const Lpips model = hash_filled_lpips("alex", DType::f32);
  for_each_parameter(model, [](const std::string& name, const Parameter& p) { CHECK_MESSAGE(!p.trainable, name); });
  const Tensor x = image(hash_image(0, 64, 64), 64, DType::f32), y = image(hash_image(1, 64, 64), 64, DType::f32);
  const auto nodes = [&](bool second) {
    Tape tape;
    const Var in = tape.variable(x);
    const Var d = model(in, second ? tape.variable(y) : Var(y));
    return tape.size();
  };
  CHECK(nodes(false) < nodes(true));
  Tape tape;
  const Var d = model(x, y);
  CHECK(tape.size() == 0);
}

TEST_CASE("LPIPS: the numbers on a tape are those of each layer's output, and three times as many where a layer enters the distance") {
  const auto taped = [](const char* trunk, std::int64_t side) { return LpipsTrunk({.trunk = trunk}).taped_numbers(side); };
  CHECK(taped("vgg", 32) == 64 * 1024 * 4 + 128 * 256 * 4 + 256 * 64 * 5 + 512 * 16 * 5 + 512 * 4 * 5);
  CHECK(taped("alex", 63) == 3 * (64 * 15 * 15 + 192 * 7 * 7 + (384 + 256 + 256) * 3 * 3));
}

TEST_CASE("errors of LPIPS name the shapes") {
  const Lpips model = hash_filled_lpips("alex", DType::f32);
  const auto images = [](std::int64_t n, std::int64_t c, std::int64_t h, std::int64_t w) { return Tensor::zeros({n, c, h, w}); };
  const auto refused = [&](const Tensor& in, const Tensor& ref, const char* part) { CHECK_THROWS_WITH_AS(model(in, ref), doctest::Contains(part), ShapeError); };
  refused(images(1, 1, 64, 64), images(1, 1, 64, 64), "[1, 1, 64, 64] must be (N, 3, H, W), with H and W at least 31");
  refused(images(1, 3, 30, 64), images(1, 3, 30, 64), "at least 31");
  refused(images(1, 3, 64, 64), images(1, 3, 64, 63), "lpips: images of shape [1, 3, 64, 64] cannot be compared with images of shape [1, 3, 64, 63]");
  refused(images(3, 3, 64, 64), images(2, 3, 64, 64), "3 images cannot be compared with 2");
  refused(Tensor::zeros({3, 64, 64}), images(1, 3, 64, 64), "must be (N, 3, H, W)");
  CHECK_THROWS_WITH_AS(model(images(1, 3, 64, 64).to(DType::u8), images(1, 3, 64, 64)), "lpips: images of type u8: convert them to f32 numbers in [-1, 1]", DTypeError);
  CHECK_NOTHROW(model(images(1, 3, 31, 31), images(1, 3, 31, 31)));
  CHECK_THROWS_AS(Lpips(LpipsConfig{"squeeze"}), ConfigError);
  CHECK(Lpips(LpipsConfig{"vgg"}).trunk.smallest_image() == 16);
}
