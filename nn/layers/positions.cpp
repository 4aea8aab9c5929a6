#include "nn/layers/positions.h"

#include <cmath>

#include "tensor/error.h"

namespace fm {
namespace {

void check_multiple(std::int64_t width, std::int64_t of, const char* what) {
  if (width <= 0 || width % of != 0)
    throw ConfigError(std::string(what) + ": width " + std::to_string(width) + " is not a multiple of " + std::to_string(of));
}

// Returns the cosines and sines of angle(n, c) for c < head_width.
template <class Angle> std::pair<Tensor, Tensor> tables_of(std::int64_t tokens, std::int64_t head_width, const Angle& angle) {
  const Shape shape{tokens, head_width};
  Tensor cos_table = Tensor::empty(shape, DType::f32, Device{}), sin_table = Tensor::empty(shape, DType::f32, Device{});
  for (std::int64_t n = 0; n < tokens; ++n)
    for (std::int64_t c = 0; c < head_width; ++c) {
      const double a = angle(n, c);
      cos_table.data<float>()[n * head_width + c] = static_cast<float>(std::cos(a));
      sin_table.data<float>()[n * head_width + c] = static_cast<float>(std::sin(a));
    }
  return {cos_table.to(default_device()), sin_table.to(default_device())};
}

}  // namespace

Tensor sin_cos_positions(std::int64_t rows, std::int64_t columns, std::int64_t width) {
  check_multiple(width, 4, "sin_cos_positions");
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
  check_multiple(head_width, 4, "rope_tables");
  const std::int64_t half = head_width / 2;
  return tables_of(rows * columns, head_width, [&](std::int64_t n, std::int64_t c) {
    const std::int64_t position = c < half ? n / columns : n % columns, m = c % half / 2;
    return static_cast<double>(position) * std::pow(10000.0, -2.0 * static_cast<double>(m) / static_cast<double>(half));
  });
}

Tensor sin_cos_positions(std::int64_t length, std::int64_t width) {
  check_multiple(width, 2, "sin_cos_positions");
  Tensor table = Tensor::empty({length, width}, DType::f32, Device{});
  const std::int64_t q = width / 2;
  float* out = table.data<float>();
  for (std::int64_t n = 0; n < length; ++n, out += width)
    for (std::int64_t k = 0; k < q; ++k) {
      const double at = static_cast<double>(n) * std::pow(10000.0, -static_cast<double>(k) / static_cast<double>(q));
      out[k] = static_cast<float>(std::sin(at));
      out[q + k] = static_cast<float>(std::cos(at));
    }
  return table.to(default_device());
}

std::pair<Tensor, Tensor> rope_tables(std::int64_t length, std::int64_t head_width) {
  check_multiple(head_width, 2, "rope_tables");
  return tables_of(length, head_width, [&](std::int64_t n, std::int64_t c) {
    return static_cast<double>(n) * std::pow(10000.0, -2.0 * static_cast<double>(c / 2) / static_cast<double>(head_width));
  });
}

}  // namespace fm
