// Class tokens of images as REG takes them: the network's input and its positions against PyTorch's own functions (tests/golden/class_tokens.py).
#include "flowmap/training/class_tokens.h"

#include <doctest/doctest.h>

#include "nn/models/presets.h"
#include "tests/support/error_of.h"
#include "tests/support/hash_fill.h"
#include "tests/support/near.h"
#include "tests/support/tensors.h"
#include "tests/support/text.h"

using namespace fm;
using namespace fm::test;

namespace {

// (1, 3, side, side) in [0, 1].
Tensor image(std::int64_t side) {
  const std::uint64_t key = name_hash("image " + std::to_string(side));
  std::vector<float> values;
  for (std::int64_t i = 0; i < 3 * side * side; ++i) values.push_back(static_cast<float>(0.5 + 0.5 * hash_value(key, static_cast<std::uint64_t>(i))));
  return Tensor::from(values, {1, 3, side, side});
}

void check_ends(const Tensor& x, double size, const std::vector<double>& first, const std::vector<double>& last) {
  CHECK(near(norm(x), size, 1e-6));
  const std::vector<double> v = x.to_vector<double>();
  for (std::size_t i = 0; i < first.size(); ++i) CHECK(near_within(v[i], first[i], 4e-6));
  for (std::size_t i = 0; i < last.size(); ++i) CHECK(near_within(v[v.size() - last.size() + i], last[i], 4e-6));
}

std::shared_ptr<const Dinov2Features> small_network() {
  VitEncoderConfig c = dinov2("S");
  c.image_size = 224, c.registers = 0, c.affine_norm = true, c.depth = 1, c.width = 16, c.heads = 2, c.mlp_width = 32;
  return std::make_shared<const Dinov2Features>(Dinov2Features{"small", VitEncoder(c, 3)});
}

}  // namespace

TEST_CASE("images are normalized and resized as REG's code does it, small and large ones") {
  check_ends(class_token_input(image(16)), 437.97115442780864, {0.6863906331594876, 0.687616801136154, 0.687954721444684, 0.6871726773020858}, {-1.620279393557649, -1.5994428565940777});
  check_ends(class_token_input(image(256)), 436.7516553917622, {-0.6806728699015718, -0.8658497884722435, -0.09192582040942482, 0.5819591580716572},
             {0.92922832651701, 1.928596058917756});
  CHECK(has(error_of<ShapeError>([] { class_token_input(Tensor::zeros({1, 2, 8, 8})); }), "images with 1 or 3 channels"));
}

TEST_CASE("positions are resized as by timm, which is not Meta's own way") {
  const Tensor table = hash_fill("pos_embed", {1, 1370, 384}), timm = dinov2_positions(table, 16, Dinov2Positions::timm);
  REQUIRE(timm.shape() == Shape{1, 257, 384});
  check_ends(timm.slice(1, 1, 257).contiguous(), 32.17346400039192, {0.02502967044711113, -0.01170754712074995, 0.07784561812877655, -0.1645461916923523},
             {0.1309037059545517, 0.003065682714805007});
  CHECK(max_difference(timm.slice(1, 0, 1), table.slice(1, 0, 1)) == 0);
  CHECK(max_difference(timm, dinov2_positions(table, 16)) > 0.05);
}

TEST_CASE("the coder gives one token an image, whatever their number, and the same for a grey image and its three equal channels") {
  const LatentCoder coder = class_token_coder(small_network());
  CHECK(coder.shape == Shape{16, 1, 1});
  CHECK(coder.preprocessing == "class token of small, bicubic to 224 pixels");
  CHECK(coder.encoder().front().first == "class tokens");
  std::vector<Tensor> parts;
  for (std::int64_t i = 0; i < 18; ++i) parts.push_back(image(8) * (1.0 - 0.05 * static_cast<double>(i)));
  const Tensor tokens = coder.encode(concat(parts, 0));
  REQUIRE(tokens.shape() == Shape{18, 16, 1, 1});
  for (const std::int64_t i : {0, 15, 16, 17}) CHECK(max_difference(tokens.slice(0, i, i + 1), coder.encode(parts[static_cast<std::size_t>(i)])) < 1e-5);
  CHECK(max_difference(tokens.slice(0, 0, 1), tokens.slice(0, 17, 18)) > 1e-3);
  const Tensor grey = image(8).slice(1, 0, 1).contiguous();
  CHECK(max_difference(coder.encode(grey), coder.encode(concat(std::vector<Tensor>{grey, grey, grey}, 1))) < 1e-6);
}
