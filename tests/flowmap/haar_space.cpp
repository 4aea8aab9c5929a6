// The Haar space: the four bands of a block by hand, orthogonality of the transform, and decoding without loss.
#include "flowmap/training/haar_space.h"

#include <doctest/doctest.h>

#include "tensor/error.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/reduce.h"
#include "tests/support/error_of.h"
#include "tests/support/near.h"
#include "tests/support/tensors.h"
#include "tests/support/text.h"

using namespace fm;
using namespace fm::test;

TEST_CASE("the Haar transform of one block agrees with values by hand, and its bands are in the right places") {
  const Tensor block = Tensor::from<float>({1, 2, 3, 10}, {1, 1, 2, 2});
  CHECK(haar(block).to_vector<float>() == std::vector<float>{8, -4, -5, 3});
  // Two images with two channels of 4 x 6. The digits of a level are the numbers of its image, channel, row and column.
  std::vector<float> x;
  const auto level = [](std::int64_t i, std::int64_t c, std::int64_t row, std::int64_t column) { return static_cast<float>(1000 * i + 100 * c + 10 * row + column); };
  for (std::int64_t i = 0; i < 2; ++i)
    for (std::int64_t c = 0; c < 2; ++c)
      for (std::int64_t row = 0; row < 4; ++row)
        for (std::int64_t column = 0; column < 6; ++column) x.push_back(level(i, c, row, column));
  const Tensor bands = haar(Tensor::from(x, {2, 2, 4, 6}));
  REQUIRE(bands.shape() == Shape{2, 8, 2, 3});
  for (std::int64_t i = 0; i < 2; ++i)
    for (std::int64_t c = 0; c < 2; ++c)
      for (std::int64_t row = 0; row < 2; ++row)
        for (std::int64_t column = 0; column < 3; ++column) {
          const auto at = [&](std::int64_t band) { return bands.select(0, i).select(0, band * 2 + c).select(0, row).select(0, column).item(); };
          CHECK(at(0) == 2 * level(i, c, 2 * row, 2 * column) + 11);     // 2 a + 0.5 (0 + 1 + 10 + 11)
          CHECK(at(1) == -1);                                            // a - b = c - d = -1
          CHECK(at(2) == -10);
          CHECK(at(3) == 0);
        }
}

TEST_CASE("the Haar transform is orthogonal: it preserves dot products, and its inverse is its transpose") {
  const Tensor x = normal({3, 2, 8, 6}, 1, DType::f64), y = normal({3, 2, 8, 6}, 2, DType::f64);
  CHECK(near(dot(haar(x), haar(y)), dot(x, y), 1e-13));
  CHECK(near(dot(haar(x), haar(x)), dot(x, x), 1e-14));
  CHECK(max_difference(inverse_haar(haar(x)), x) < 1e-14);
  const Tensor bands = normal({3, 8, 4, 3}, 3, DType::f64);
  CHECK(max_difference(haar(inverse_haar(bands)), bands) < 1e-14);
  CHECK(near(dot(haar(x), bands), dot(x, inverse_haar(bands)), 1e-12));
}

TEST_CASE("levels of images survive the Haar transform and back; dyadic values do so bit for bit") {
  const LatentSpace space(haar_coder({1, 16, 16}));
  std::vector<float> levels;
  for (int i = 0; i < 256; ++i) levels.push_back(static_cast<float>(i * 37 % 256) / 255.0f);
  const Tensor pictures = Tensor::from(levels, {1, 1, 16, 16}), back = space.decode(space.encode(pictures));
  CHECK(space.shape() == Shape{4, 8, 8});
  CHECK(max_difference(back, pictures) < 2e-7);                          // 8-bit levels are 4e-3 apart
  CHECK((back * 255.0 + 0.5).to(DType::u8).to_vector<std::uint8_t>() == (pictures * 255.0 + 0.5).to(DType::u8).to_vector<std::uint8_t>());
  const Tensor dyadic = Tensor::from<float>({0, 1, 0.25f, 0.125f, 0.5f, 0.75f, 1, 0}, {1, 1, 2, 4});
  CHECK(LatentSpace(haar_coder({1, 2, 4})).decode(LatentSpace(haar_coder({1, 2, 4})).encode(dyadic)).to_vector<float>() == dyadic.to_vector<float>());
  CHECK(max(abs(space.decode(Tensor::zeros({1, 4, 8, 8}, DType::f32)).reshape({-1}) - 0.5), 0).item() == 0);
  CHECK(max(space.decode(Tensor::full({1, 4, 8, 8}, 3)).reshape({-1}), 0).item() == 1);                     // clamped
}

TEST_CASE("odd sides are refused, and so are numbers of bands that are not multiples of four") {
  CHECK(has(error_of<ShapeError>([] { haar_coder({3, 27, 28}); }), "haar: images [3, 27, 28] must be (channels, height, width) with even sides"));
  CHECK_THROWS_AS(haar(Tensor::zeros({2, 1, 4, 5})), ShapeError);
  CHECK_THROWS_AS(haar(Tensor::zeros({4, 4})), ShapeError);
  CHECK(has(error_of<ShapeError>([] { inverse_haar(Tensor::zeros({2, 6, 4, 4})); }), "inverse_haar: bands [2, 6, 4, 4]"));
}
