// Features of published networks as the metrics take them: the same numbers as the networks give for prepared 8-bit images. The preparation of DINOv2's
// images against Pillow's pixels.
#include "flowmap/training/published_features.h"

#include <doctest/doctest.h>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "nn/loaded.h"
#include "nn/models/inception_file.h"
#include "tensor/ops/copy.h"
#include "tensor/ops/elementwise.h"
#include "tests/support/error_of.h"
#include "tests/support/inception_stand_in.h"
#include "tests/support/near.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tensors.h"
#include "tests/support/text.h"

using namespace fm;
using namespace fm::test;

namespace {

double pixel(const Tensor& images, std::int64_t channel, std::int64_t y, std::int64_t x) {
  constexpr double mean[] = {0.485, 0.456, 0.406}, deviation[] = {0.229, 0.224, 0.225};
  const auto c = static_cast<std::size_t>(channel);
  return 255 * (images.select(0, 0).select(0, channel).select(0, y).select(0, x).item() * deviation[c] + mean[c]);
}

std::shared_ptr<const Inception> stand_in_net() {
  static const auto net = std::make_shared<const Inception>(inception_from(inception_stand_in()));
  return net;
}

Tensor in_unit_range(const Tensor& bytes) { return bytes.to(DType::f32) / 255.0; }

}  // namespace

TEST_CASE("DINOv2's images are resized as Pillow resizes them in 8 bits, and normalized channel by channel") {
  const Tensor y = prepare_for_dinov2(hash_picture(0, 256));
  REQUIRE(y.shape() == Shape{1, 3, 224, 224});
  const int row0[3][3] = {{8, 121, 154}, {45, 124, 159}, {45, 112, 170}}, row100[3][3] = {{163, 232, 156}, {166, 203, 163}, {142, 216, 138}};
  for (std::int64_t x = 0; x < 3; ++x)
    for (std::int64_t c = 0; c < 3; ++c) {
      CHECK(near_within(pixel(y, c, 0, x), row0[x][c], 1e-4));
      CHECK(near_within(pixel(y, c, 100, 100 + x), row100[x][c], 1e-4));
    }
  double sum = 0;
  for (std::int64_t c = 0; c < 3; ++c) {
    constexpr double mean[] = {0.485, 0.456, 0.406}, deviation[] = {0.229, 0.224, 0.225};
    for (const double v : y.select(1, c).to_vector<double>()) sum += std::round(255 * (v * deviation[c] + mean[c]));
  }
  CHECK(sum == 19134563);
  CHECK(has(error_of<DTypeError>([] { prepare_for_dinov2(Tensor::zeros({1, 3, 8, 8})); }), "must be u8"));
  CHECK(has(error_of<ShapeError>([] { prepare_for_dinov2(Tensor::zeros({1, 1, 8, 8}, DType::u8)); }), "must be (N, 3, H, W)"));
}

TEST_CASE("Inception's features are the network's outputs for the prepared 8-bit images, also of more images than one group") {
  const Tensor a = hash_picture(0, 32), b = hash_picture(1, 32);
  std::vector<Tensor> many(16, a);
  many.push_back(b);
  const Features features = inception_features(stand_in_net(), InceptionInput::tf1);
  const Seen seen = features.see(in_unit_range(concat(many, 0)));
  const InceptionOutput first = (*stand_in_net())(prepare_for_inception(a, InceptionInput::tf1)), last = (*stand_in_net())(prepare_for_inception(b, InceptionInput::tf1));
  CHECK(seen.vectors.shape() == Shape{17, 2048});
  CHECK(seen.spatial.shape() == Shape{17, 2023});
  CHECK(seen.logits.shape() == Shape{17, 1008});
  CHECK(seen.classes.empty());
  CHECK(max_difference(seen.vectors.slice(0, 3, 4), first.pool3) < 1e-5);
  CHECK(max_difference(seen.vectors.slice(0, 16, 17), last.pool3) < 1e-5);
  CHECK(max_difference(seen.spatial.slice(0, 16, 17), last.spatial) < 1e-5);
  CHECK(max_difference(seen.logits.slice(0, 16, 17), last.logits_unbiased) < 2e-5);
  CHECK(near(seen.vectors.select(0, 0).select(0, 0).item(), 0.25634216, 1e-4));          // the golden number of tf1 32
  CHECK(features.name == "inception");
  CHECK(features.fingerprint.starts_with("inception tf1 "));
  CHECK(inception_features(stand_in_net(), InceptionInput::clean).fingerprint.substr(16) == features.fingerprint.substr(14));
}

TEST_CASE("grey images are repeated, and values are rounded to the nearest of 8 bits") {
  const Features features = inception_features(stand_in_net(), InceptionInput::tf1);
  const Tensor grey = hash_picture(0, 9).slice(1, 0, 1), rgb = concat(std::vector<Tensor>{grey, grey, grey}, 1);
  const Tensor wanted = features.see(in_unit_range(rgb)).vectors;
  CHECK(max_difference(features.see(in_unit_range(grey)).vectors, wanted) == 0);
  for (const double by : {0.4, -0.4}) {
    const Tensor moved = clamp(in_unit_range(grey) + by / 255, 0, 1);
    CHECK(max_difference(features.see(moved).vectors, wanted) == 0);
  }
}

TEST_CASE("samples that are no images in [0, 1] are refused") {
  const Features features = inception_features(stand_in_net(), InceptionInput::tf1);
  CHECK(has(error_of<ShapeError>([&] { features.see(Tensor::zeros({2, 4, 8, 8})); }), "1 or 3 channels"));
  CHECK(has(error_of<ShapeError>([&] { features.see(Tensor::zeros({2, 8})); }), to_string(Shape{2, 8})));
  Tensor bad = Tensor::zeros({3, 1, 4, 4});
  bad.select(0, 2).select(1, 1).fill(1.25);
  CHECK(has(error_of([&] { features.see(bad); }), "image 2 has a value 1.25: values must lie in [0, 1]"));
  bad.select(0, 1).fill(std::nan(""));
  CHECK(has(error_of([&] { features.see(bad); }), "image 1 has a value nan"));
}

TEST_CASE("texts name features, and preparations that do not fit are refused") {
  CHECK(names_published_features("inception:a.pth"));
  CHECK(names_published_features("dinov2:b.pth"));
  for (const char* text : {"judge", "inception", "inception:", "clip:a.pth"}) CHECK_FALSE(names_published_features(text));
  const auto problem = [](const std::string& text, const std::string& preparation) { return error_of([&] { open_published_features(text, preparation, {}); }); };
  CHECK(has(problem("clip:a.pth", ""), "must be inception:FILE or dinov2:FILE"));
  CHECK(has(problem("inception:a.pth", "pillow"), "must be one of tf1, half-pixel, clean"));
  CHECK(has(problem("dinov2:a.pth", "tf1"), "must be pillow"));
  CHECK(has(problem("inception:/no/such.pth", ""), "/no/such.pth does not exist"));
  CHECK(has(problem("dinov2:/no/such.pth", "pillow"), "/no/such.pth does not exist"));
  CHECK(has(problem("dinov2:/no/such.pth", "pillow"), "dinov2_vitl14_pretrain.pth of facebookresearch/dinov2"));
}

TEST_CASE("a file of Inception gives the features of its network") {
  const TempFolder folder;
  save_safetensors(folder / "inception.safetensors", inception_stand_in());
  const Features features = open_published_features("inception:" + (folder / "inception.safetensors").string(), "", {});
  CHECK(features.fingerprint == inception_features(stand_in_net(), InceptionInput::tf1).fingerprint);
}

TEST_CASE("DINOv2's features are the network's outputs for the prepared images, and their fingerprint is that of the weights") {
  VitEncoderConfig c;
  c.image_size = 224, c.width = 8, c.depth = 1, c.heads = 2, c.mlp_width = 12, c.registers = 0, c.affine_norm = true;
  const auto net = [&](std::uint64_t seed) { return std::make_shared<const Dinov2Features>(Dinov2Features{"dinov2_tiny", VitEncoder(c, seed)}); };
  const auto one = net(1);
  const Features features = dinov2_features(one);
  const Tensor images = concat(std::vector<Tensor>{hash_picture(0, 32), hash_picture(1, 32)}, 0);
  const Seen seen = features.see(in_unit_range(images));
  CHECK(max_difference(seen.vectors, (*one)(prepare_for_dinov2(images))) == 0);
  CHECK(max_difference(seen.vectors.slice(0, 0, 1), seen.vectors.slice(0, 1, 2)) > 1e-3);
  CHECK(features.name == "dinov2_tiny");
  CHECK(features.preparation == "pillow");
  CHECK(features.fingerprint == "dinov2_tiny pillow " + checksum(state_dict(one->encoder)));
  CHECK(dinov2_features(net(2)).fingerprint != features.fingerprint);
}
