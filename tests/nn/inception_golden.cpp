// FID's Inception with rule-filled weights (hash_fill.h) against golden numbers of pytorch-fid's module in f64 (evaluation.md 7.3): after each stage, and
// the outputs for several images and preparations; f32 against the same numbers. tests/golden/inception_modules.py compares all values with the modules.
#include "nn/models/inception.h"

#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

#include "nn/models/inception_file.h"
#include "nn/models/inception_input.h"
#include "tensor/ops/copy.h"
#include "tensor/ops/pool.h"
#include "tensor/ops/reduce.h"
#include "tests/support/inception_stand_in.h"
#include "tests/support/near.h"
#include "tests/support/tensors.h"

using namespace fm;
using namespace fm::test;

namespace {

const NamedTensors& stand_in() {
  static const NamedTensors file = inception_stand_in();
  return file;
}

struct Printed {
  double mean, l2;
  std::vector<double> first, last = {};
};

// A number of eight printed digits, or a 0 that is exact. `slack`: error besides that, relative to the value, or to 0.1 for smaller values.
void check_eight_digits(double value, double wanted, double slack) {
  if (wanted == 0) CHECK(value == 0);
  else CHECK(near_within(value, wanted, 0.51 * std::pow(10.0, std::floor(std::log10(std::abs(wanted))) - 7) + slack * std::max(std::abs(wanted), 0.1)));
}

void check_exact(const std::string& what, const Tensor& y, const Printed& p, double slack = 0) {
  CAPTURE(what);
  const std::vector<double> v = y.to_vector<double>();
  double sum = 0, squares = 0;
  for (const double x : v) sum += x, squares += x * x;
  check_eight_digits(sum / static_cast<double>(v.size()), p.mean, slack);
  check_eight_digits(std::sqrt(squares), p.l2, slack);
  for (std::size_t i = 0; i < p.first.size(); ++i) check_eight_digits(v[i], p.first[i], slack);
  for (std::size_t i = 0; i < p.last.size(); ++i) check_eight_digits(v[v.size() - p.last.size() + i], p.last[i], slack);
}

Tensor input(int image, std::int64_t side, InceptionInput how, DType type) { return prepare_for_inception(hash_picture(image, side), how).to(type); }

// The outputs of images 0 and 1 of side 256, tf1.
const Printed pool3_0{0.69752758, 53.210962, {0.26396224, 0.078254884, 0.0081409126, 0.86118016, 1.9955536, 1.3268803, 0, 2.4443921}};
const Printed spatial_0{0.59712265, 42.182315, {0, 0.042640309, 0.83629013, 0, 0, 0, 0.43187739, 0.53414649}, {0, 0, 0, 1.4855894}};
const Printed logits_0{-0.033105159, 54.760784, {-0.99989159, 0.84045803, 1.7158491, -0.9320272, 0.26357345, -0.76228064, -1.5670176, 2.2086966}};
const Printed biased_0{-0.033266899, 54.809172, {-1.0043613, 0.83660439, 1.6718617}};
const Printed pool3_1{0.70072591, 53.451578, {0.26213072, 0.074639405, 0.006147087, 0.87844633, 2.0145068, 1.3223649, 0, 2.4796105}};
const Printed spatial_1{0.59761189, 42.235588, {0.029841149, 0.21737288, 0.92481177, 0, 0, 0, 0.3490367, 0.85682491}};
const Printed logits_1{-0.033276042, 54.983534, {-1.0049242, 0.84421141, 1.7412501, -0.91940245}};

}  // namespace

TEST_CASE("the weights of the golden numbers are the ones that the rule gives") {
  for (const auto& [name, t] : stand_in()) {
    if (name == "fc.weight") CHECK(near(norm(t), 44.881981, 3e-8));
    if (name == "Mixed_7c.branch_pool.conv.weight") CHECK(near(norm(t), 19.599646, 3e-8));
    if (name == "Conv2d_1a_3x3.bn.running_var") CHECK(near(t.select(0, 0).item(), 1.1258096, 1e-7));
  }
}

TEST_CASE("Inception in f64: every stage has the published module's values") {
  const Inception net = inception_from(stand_in(), DType::f64);
  const auto pooled = [](const Tensor& x) { return max_pool2d(x, PoolWindow{3, 2, 0}); };
  Tensor h = input(0, 256, InceptionInput::tf1, DType::f64);
  const auto stage = [&](const std::string& name, const Tensor& y, const Printed& p) { check_exact(name, h = y, p); };
  stage("input", h, {-0.0069089386, 229.5537, {}});
  stage("1a", net.conv1a(h), {0.23271964, 369.65049, {}, {0}});
  stage("2a", net.conv2a(h), {0.26773017, 404.80474, {}, {0.0391098}});
  stage("2b", net.conv2b(h), {0.34742501, 748.39927, {}, {0}});
  stage("pool", pooled(h), {0.4803637, 453.97999, {}, {0.016977447}});
  check_exact("feature 64", mean(h, {2, 3}), {0.4803637, 5.4969376, {1.1724534, 1.4601039}});
  stage("3b", net.conv3b(h), {0.43329544, 514.8845, {}, {0.12979162}});
  stage("4a", net.conv4a(h), {0.40060425, 740.46045, {}, {0}});
  stage("pool", pooled(h), {0.51469307, 428.31212, {}, {0}});
  check_exact("feature 192", mean(h, {2, 3}), {0.51469307, 11.244083, {2.0482547e-05, 2.3526981}});
  stage("5b", net.mixed5b(h), {0.4672968, 456.74535, {}, {0.7803987}});
  stage("5c", net.mixed5c(h), {0.42907876, 463.27399, {}, {0.39054509}});
  stage("5d", net.mixed5d(h), {0.41675576, 419.35173, {}, {0}});
  stage("6a", net.mixed6a(h), {0.47312903, 369.638, {}, {0}});
  stage("6b", net.mixed6b(h), {0.41507961, 356.87582, {}, {0}});
  stage("6c", net.mixed6c(h), {0.45984848, 395.35467, {}, {1.0209305}});
  stage("6d", net.mixed6d(h), {0.50386231, 423.19968, {}, {0}});
  stage("6e", net.mixed6e(h), {0.49730555, 443.05398, {}, {0}});
  check_exact("feature 768", mean(h, {2, 3}), {0.49730555, 23.619849, {2.5562651, 1.4812168}});
  stage("7a", net.mixed7a(h), {0.67370731, 331.31059, {}, {0}});
  stage("7b", net.mixed7b(h), {0.68936697, 449.02486, {}, {0.43173981}});
  stage("7c", net.mixed7c(h), {0.69752758, 467.23368, {}, {1.6622283}});
}

TEST_CASE("Inception in f64: the outputs of a batch are the published module's") {
  const Inception net = inception_from(stand_in(), DType::f64);
  const auto image = [](int m) { return input(m, 256, InceptionInput::tf1, DType::f64); };
  const InceptionOutput y = net(concat(std::vector<Tensor>{image(0), image(1)}, 0));
  const auto row = [](const Tensor& t, std::int64_t i) { return t.slice(0, i, i + 1); };
  check_exact("pool3", row(y.pool3, 0), pool3_0);
  check_exact("spatial", row(y.spatial, 0), spatial_0);
  check_exact("unbiased logits", row(y.logits_unbiased, 0), logits_0);
  check_exact("logits", row(net.logits(y), 0), biased_0);
  check_exact("pool3 of image 1", row(y.pool3, 1), pool3_1);
  check_exact("spatial of image 1", row(y.spatial, 1), spatial_1);
  check_exact("unbiased logits of image 1", row(y.logits_unbiased, 1), logits_1);
}

TEST_CASE("Inception in f64: each preparation gives the published module's features") {
  const Inception net = inception_from(stand_in(), DType::f64);
  const auto seen = [&](std::int64_t side, InceptionInput how) { return net(input(0, side, how, DType::f64)); };
  const InceptionOutput small = seen(32, InceptionInput::tf1);
  check_exact("tf1 32", small.pool3, {0.54223019, 41.267243, {0.25634216, 0.067733071, 0.017878901, 0.62534804, 1.5903106, 1.0212909, 0, 1.7469625}});
  check_exact("tf1 32, spatial", small.spatial, {0.43480867, 31.805239, {0.27752164, 0.088114297, 0.49252295, 0, 0, 0, 0.30207436, 0.56024328}});
  const InceptionOutput kept = seen(299, InceptionInput::tf1);                   // not resized
  check_exact("tf1 299", kept.pool3, {0.78234521, 59.689356, {0.28874041, 0.083102681, 0.0035920147, 1.0998793, 2.1880859, 1.5181977, 0, 2.6647439}});
  check_exact("tf1 299, spatial", kept.spatial, {0.65356091, 46.357345, {0.10729607, 0.1779818, 0.95674455, 0, 0, 0, 0.33232647, 0.88231583}});
  check_exact("tf1 299, unbiased logits", kept.logits_unbiased,
              {-0.039747527, 61.393632, {-1.0845799, 0.98232734, 1.9429863, -0.98700656, 0.29677754, -0.87512831, -1.783347, 2.4339126}});
  check_exact("half-pixel 299", seen(299, InceptionInput::half_pixel).pool3,
              {0.78627138, 59.990381, {0.29053392, 0.08395815, 0.0036716628, 1.1034232, 2.202122, 1.5178094, 0, 2.6764893}});
  // PyTorch contracts products and sums of its interpolation, which moves pixels by a rounding of f32.
  check_exact("half-pixel 32", seen(32, InceptionInput::half_pixel).pool3,
              {0.54232845, 41.284822, {0.25146972, 0.066402665, 0.017746959, 0.63720226, 1.6151838, 1.017114, 0.0002211369, 1.7523356}}, 4e-7);
  check_exact("half-pixel 256", seen(256, InceptionInput::half_pixel).pool3,
              {0.70116304, 53.490188, {0.26725348, 0.077780079, 0.0064025797, 0.86264966, 2.0033587, 1.3346615, 0, 2.4524862}}, 4e-7);
  check_exact("clean 256", seen(256, InceptionInput::clean).pool3,
              {0.72099591, 55.002221, {0.26814224, 0.087459207, 0.005242292, 0.91589275, 2.0470981, 1.3739117, 0, 2.5191388}});
}

TEST_CASE("Inception in f32: outputs within 2e-5 of the f64 numbers, and no image depends on the other images of its batch") {
  const Inception net = inception_from(stand_in());
  const auto image = [](int m) { return input(m, 256, InceptionInput::tf1, DType::f32); };
  const InceptionOutput both = net(concat(std::vector<Tensor>{image(0), image(1)}, 0)), alone = net(image(1));
  const auto check = [](const std::string& what, const Tensor& y, std::int64_t row, const Printed& p) {
    CAPTURE(what);
    const std::vector<double> v = y.slice(0, row, row + 1).to_vector<double>();
    for (std::size_t i = 0; i < p.first.size(); ++i) CHECK(std::abs(v[i] - p.first[i]) < 2e-5);
    for (std::size_t i = 0; i < p.last.size(); ++i) CHECK(std::abs(v[v.size() - p.last.size() + i] - p.last[i]) < 2e-5);
    CHECK(near(norm(y.slice(0, row, row + 1)), p.l2, 1e-6));
  };
  check("pool3", both.pool3, 0, pool3_0);
  check("spatial", both.spatial, 0, spatial_0);
  check("unbiased logits", both.logits_unbiased, 0, logits_0);
  check("logits", net.logits(both), 0, biased_0);
  check("pool3 of image 1", both.pool3, 1, pool3_1);
  CHECK(max_difference(both.pool3.slice(0, 1, 2), alone.pool3) < 1e-5);
  CHECK(max_difference(both.spatial.slice(0, 1, 2), alone.spatial) < 1e-5);
  CHECK(max_difference(both.logits_unbiased.slice(0, 1, 2), alone.logits_unbiased) < 2e-5);
}
