#include "nn/layers/positions.h"

#include <cmath>

#include "tensor/error.h"

namespace fm {
namespace {

void check_multiple_of_4(std::int64_t width, const char* what) {
  if (width <= 0 || width % 4 != 0) throw ConfigError(std::string(what) + ": width " + std::to_string(width) + " is not a multiple of 4");
}

}  // namespace

Tensor sin_cos_positions(std::int64_t rows, std::int64_t columns, std::int64_t width) {
  check_multiple_of_4(width, "sin_cos_positions");
  Tensor table = Tensor::empty({rows * columns, width}, DType::f32, Device{});
  const std::int64_t q = width / 4;
  float* out = table.data<float>();
  for (std::int64_t n = 0; n < rows * columns; ++n, out += width)
    for (std::int64_t k = 0; k < q; ++k) {
      const double omega = std::pow(10000.0, -static_cast<double>(k) / static_cast<double>(q));
      const double across = static_cast<double>(n % columns) * omega, down = static_cast<double>(n / columns) * omega;
      out[k] = static_cast<float>(std::sin(across));
      out[q + k] = static_cast<float>(std::cos(across));
      out[2 * q + k] = static_cast<float>(std::sin(down));
      out[3 * q + k] = static_cast<float>(std::cos(down));
    }
  return table.to(default_device());
}

std::pair<Tensor, Tensor> rope_tables(std::int64_t rows, std::int64_t columns, std::int64_t head_width) {
  check_multiple_of_4(head_width, "rope_tables");
  const Shape shape{rows * columns, head_width};
  Tensor cos_table = Tensor::empty(shape, DType::f32, Device{}), sin_table = Tensor::empty(shape, DType::f32, Device{});
  const std::int64_t half = head_width / 2;
  for (std::int64_t n = 0; n < rows * columns; ++n)
    for (std::int64_t c = 0; c < head_width; ++c) {
      const std::int64_t position = c < half ? n / columns : n % columns, m = c % half / 2;
      const double angle = static_cast<double>(position) * std::pow(10000.0, -2.0 * static_cast<double>(m) / static_cast<double>(half));
      cos_table.data<float>()[n * head_width + c] = static_cast<float>(std::cos(angle));
      sin_table.data<float>()[n * head_width + c] = static_cast<float>(std::sin(angle));
    }
  return {cos_table.to(default_device()), sin_table.to(default_device())};
}

}  // namespace fm
