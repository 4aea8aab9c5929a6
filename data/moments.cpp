#include "data/moments.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>

#include "tensor/error.h"
#include "tensor/parallel.h"

namespace fm {
namespace {

constexpr double fixed_point = 0x1p32, limit = 0x1p15;  // |q| < 2^47, q^2 < 2^94: 2^31 rows stay below 2^126
constexpr std::int64_t max_rows = std::int64_t{1} << 31;
constexpr std::int64_t summed_together = 1024;  // elements that a thread sums at a time

}  // namespace

Moments::Moments(const Shape& row)
    : row_(row), sum_(static_cast<std::size_t>(row.numel())), square_sum_(static_cast<std::size_t>(row.numel())) {}

void Moments::add(const Tensor& rows) {
  const Tensor x = rows.contiguous().to(Device{});
  const std::int64_t size = row_.numel(), n = x.dim(0);
  if (x.numel() != n * size) throw ShapeError(fmt::format("Moments: a tensor of shape {} is not a list of rows of shape {}", to_string(x.shape()), to_string(row_)));
  if (count_ + n > max_rows) throw ShapeError(fmt::format("Moments: {} rows, at most {} can be summed exactly", count_ + n, max_rows));
  const float* values = x.data<float>();
  std::atomic<bool> bad = false;
  parallel_for((size + summed_together - 1) / summed_together, summed_together * n * 4, [&](std::int64_t b) {
    const std::int64_t end = std::min(size, (b + 1) * summed_together);
    for (std::int64_t r = 0; r < n; ++r) {
      for (std::int64_t i = b * summed_together; i < end; ++i) {
        const double v = values[r * size + i];
        if (!(std::fabs(v) < limit)) {
          bad = true;
          continue;
        }
        const Wide q = std::llrint(v * fixed_point);
        sum_[std::size_t(i)] += q;
        square_sum_[std::size_t(i)] += q * q;
      }
    }
  });
  if (bad) throw Error("Moments: a value is not finite, or its absolute value is 32768 or more: the encoder's weights or the images are damaged");
  count_ += n;
}

void Moments::add(const Moments& other) {
  if (other.row_ != row_)
    throw ShapeError(fmt::format("Moments: sums of rows of shape {} cannot be added to sums of rows of shape {}", to_string(other.row_), to_string(row_)));
  if (count_ + other.count_ > max_rows)
    throw ShapeError(fmt::format("Moments: {} rows, at most {} can be summed exactly", count_ + other.count_, max_rows));
  count_ += other.count_;
  for (std::size_t i = 0; i < sum_.size(); ++i) sum_[i] += other.sum_[i], square_sum_[i] += other.square_sum_[i];
}

Tensor Moments::mean() const {
  if (count_ < 1) throw ShapeError("Moments: no rows were added");
  Tensor out = Tensor::empty(row_, DType::f64, Device{});
  for (std::size_t i = 0; i < sum_.size(); ++i) {
    const Wide whole = sum_[i] / count_, rest = sum_[i] % count_;
    out.data<double>()[i] = (static_cast<double>(whole) + static_cast<double>(rest) / static_cast<double>(count_)) / fixed_point;
  }
  return out;
}

Tensor Moments::variance() const {
  if (count_ < 1) throw ShapeError("Moments: no rows were added");
  Tensor out = Tensor::empty(row_, DType::f64, Device{});
  const auto n = static_cast<double>(count_);
  for (std::size_t i = 0; i < sum_.size(); ++i) {
    const Wide whole = sum_[i] / count_, rest = sum_[i] % count_;
    const double share = static_cast<double>(rest) / n;
    const double v = static_cast<double>(square_sum_[i] - whole * (sum_[i] + rest)) / n - share * share;
    out.data<double>()[i] = std::max(0.0, v) / (fixed_point * fixed_point);
  }
  return out;
}

NamedTensors Moments::state() const {
  Shape shape = row_;
  shape.push_back(2);
  const auto words = [&](const std::vector<Wide>& sums) {
    Tensor t = Tensor::empty(shape, DType::i64, Device{});
    std::memcpy(t.raw(), sums.data(), t.bytes());
    return t;
  };
  return {{"count", Tensor::from(std::vector<std::int64_t>{count_}, {1})}, {"sum", words(sum_)}, {"square_sum", words(square_sum_)}};
}

Moments Moments::from_state(const Tensor& count, const Tensor& sum, const Tensor& square_sum) {
  const auto fits = [](const Tensor& t) { return t.dtype() == DType::i64 && t.rank() >= 1 && t.dim(-1) == 2; };
  if (count.dtype() != DType::i64 || count.numel() != 1 || !fits(sum) || !fits(square_sum) || sum.shape() != square_sum.shape())
    throw ShapeError(fmt::format("Moments: the stored sums have the shapes {} (count), {} (sum) and {} (square_sum): count must be one i64, the others i64 "
                                 "of the same shape [..., 2]",
                                 to_string(count.shape()), to_string(sum.shape()), to_string(square_sum.shape())));
  Moments m(sum.shape().without(sum.rank() - 1));
  m.count_ = count.data<std::int64_t>()[0];
  std::memcpy(m.sum_.data(), sum.contiguous().raw(), sum.bytes());
  std::memcpy(m.square_sum_.data(), square_sum.contiguous().raw(), square_sum.bytes());
  return m;
}

}  // namespace fm
