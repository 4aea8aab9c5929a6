#include "flowmap/training/haar_space.h"

#include "tensor/error.h"
#include "tensor/ops/copy.h"
#include "tensor/ops/elementwise.h"

namespace fm {
namespace {

struct Quads {
  Tensor a, b, c, d;                     // the four pixels of a block, or its four bands
};

Quads transformed(const Quads& q) {
  const Tensor top = q.a + q.b, bottom = q.c + q.d, left = q.a - q.b, right = q.c - q.d;
  return {(top + bottom) * 0.5, (left + right) * 0.5, (top - bottom) * 0.5, (left - right) * 0.5};
}

Shape bands_of(const Shape& picture) {
  if (picture.rank() != 3 || picture[1] % 2 != 0 || picture[2] % 2 != 0)
    throw ShapeError("haar: images " + to_string(picture) + " must be (channels, height, width) with even sides");
  return {4 * picture[0], picture[1] / 2, picture[2] / 2};
}

}  // namespace

Tensor haar(const Tensor& x) {
  const Shape bands = bands_of(x.rank() == 4 ? Shape{x.dim(1), x.dim(2), x.dim(3)} : x.shape());
  const std::int64_t n = x.dim(0), channels = x.dim(1), h = bands[1], w = bands[2];
  const Tensor blocks = x.contiguous().reshape({n * channels, h, 2, w, 2});
  const auto place = [&](std::int64_t row, std::int64_t column) {
    return blocks.select(4, column).select(2, row).contiguous().reshape({n, channels, h, w});
  };
  const Quads q = transformed({place(0, 0), place(0, 1), place(1, 0), place(1, 1)});
  return concat(std::vector<Tensor>{q.a, q.b, q.c, q.d}, 1);
}

Tensor inverse_haar(const Tensor& bands) {
  if (bands.rank() != 4 || bands.dim(1) % 4 != 0)
    throw ShapeError("inverse_haar: bands " + to_string(bands.shape()) + " must be (n, 4 channels, height, width)");
  const std::int64_t n = bands.dim(0), channels = bands.dim(1) / 4, h = bands.dim(2), w = bands.dim(3);
  const auto band = [&](std::int64_t i) { return bands.slice(1, i * channels, (i + 1) * channels).contiguous().reshape({n * channels, h, 1, w, 1}); };
  const Quads q = transformed({band(0), band(1), band(2), band(3)});
  const auto beside = [](const Tensor& x, const Tensor& y, int dim) { return concat(std::vector<Tensor>{x, y}, dim); };
  return beside(beside(q.a, q.b, 4), beside(q.c, q.d, 4), 2).reshape({n, channels, 2 * h, 2 * w});
}

LatentCoder haar_coder(const Shape& picture) {
  return {.name = "haar",
          .shape = bands_of(picture),
          .encode = [](const Tensor& images) { return haar(images * 2.0 - 1.0); },
          .decode = [](const Tensor& raw) { return clamp(inverse_haar(raw) * 0.5 + 0.5, 0, 1); }};
}

}  // namespace fm
