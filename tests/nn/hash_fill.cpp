// The weights and images of golden tests (support/hash_fill.h) against numbers computed by a program in another language.
#include "tests/support/hash_fill.h"

#include <doctest/doctest.h>

#include <numeric>

#include "tensor/ops/reduce.h"
#include "tests/support/near.h"

using namespace fm;
using namespace fm::test;

TEST_CASE("hash_fill: hashes, values and lengths") {
  CHECK(name_hash("fc.bias") == 0x145e200af8fe4b85u);
  CHECK(hash_bits(name_hash("fc.bias"), 0) == 0x7a475b25a1f155d4u);
  CHECK(hash_bits(name_hash("fc.bias"), 1) == 0x7b113d8f5014f983u);
  CHECK(hash_bits(name_hash("Conv2d_1a_3x3.conv.weight"), 0) == 0x56bb588695e8d49cu);
  const auto check = [](const std::string& name, const Shape& shape, const std::vector<double>& wanted) {
    CAPTURE(name);
    const std::vector<double> values = hash_fill(name, shape).to_vector<double>();
    for (std::size_t i = 0; i < wanted.size(); ++i) CHECK(near(values[i], wanted[i], 1e-7));
  };
  check("fc.bias", {1008}, {-0.0044697402, -0.0038536428});
  check("Conv2d_1a_3x3.conv.weight", {32, 3, 3, 3}, {-0.15198445, 0.12142248, -0.30463365, 0.34881023});
  check("Conv2d_1a_3x3.bn.running_var", {32}, {1.1258096, 0.63593781});
  check("features.0.bias", {64}, {-0.036402702, 0.01372081});
  check("lin0.model.1.weight", {1, 64, 1, 1}, {0.00039918721, 0.011215014});
  CHECK(hash_fill("bn.num_batches_tracked", {1}).item() == 0);
  CHECK(near(std::sqrt(sum_squares(hash_fill("fc.weight", {1008, 2048}, DType::f64))), 44.881981, 1e-7));
  CHECK(near(std::sqrt(sum_squares(hash_fill("Mixed_7c.branch_pool.conv.weight", {192, 2048, 1, 1}, DType::f64))), 19.599646, 1e-7));
}

TEST_CASE("hash_fill: images of several sizes") {
  const auto a = hash_image(0, 64, 64), b = hash_image(1, 64, 64);
  const auto total = [](const std::vector<std::uint8_t>& bytes) { return std::accumulate(bytes.begin(), bytes.end(), 0L); };
  CHECK(total(a) == 1915785);
  CHECK(total(b) == 1839774);
  CHECK(total(hash_image(2, 64, 64)) == 1686695);
  CHECK(total(near_image(a, b)) == 1907024);
  CHECK(total(hash_image(0, 299, 299)) == 34294115);
  CHECK(total(hash_image(1, 256, 256)) == 25001375);
  CHECK(total(hash_image(0, 32, 32)) == 473748);
  const std::vector<double> planes = image_tensor(a, 64, 64).to_vector<double>();
  CHECK(std::vector<double>(planes.begin(), planes.begin() + 6) == std::vector<double>{2, 49, 40, 52, 64, 58});
  CHECK(std::vector<double>(planes.begin() + 4096, planes.begin() + 4099) == std::vector<double>{118, 126, 127});
  CHECK(std::vector<double>(planes.begin() + 8192, planes.begin() + 8195) == std::vector<double>{155, 149, 175});
}
