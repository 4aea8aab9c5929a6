#include "flowmap/metrics/neighbours.h"

#include <cmath>
#include <limits>
#include <string>

#include "tensor/error.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/matmul.h"
#include "tensor/ops/reduce.h"

namespace fm {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

// Keeps the k smallest of the numbers that are added.
class Smallest {
 public:
  explicit Smallest(int k) : values_(static_cast<std::size_t>(k), infinity) {}
  double last() const { return values_.front(); }
  void add(double x) {
    if (!(x < values_.front())) return;
    std::pop_heap(values_.begin(), values_.end());
    values_.back() = x;
    std::push_heap(values_.begin(), values_.end());
  }

 private:
  std::vector<double> values_;  // a heap, the largest in front
};

void refuse_infinite(const char* metric, const Tensor& x, const char* which) {
  if (const std::int64_t row = first_row_not_finite(x); row >= 0)
    throw Error(std::string(metric) + ": the features of " + which + " sample " + std::to_string(row) + " are not finite");
}

}  // namespace

SearchPoints::SearchPoints(const Tensor& x, const Tensor& mean)
    : exact(x.to(DType::f32).to(Device{}).contiguous()), moved((x.to(DType::f32) - mean).contiguous()) {
  for (std::int64_t begin = 0; begin < count(); begin += DistanceBounds::rows) {  // no f64 copy of all points
    const Tensor rows = moved.slice(0, begin, std::min(count(), begin + DistanceBounds::rows));
    const std::vector<double> sizes = sum(square(rows.to(DType::f64)), {1}).to_vector<double>();
    size.insert(size.end(), sizes.begin(), sizes.end());
  }
}

double squared_distance(const SearchPoints& a, std::int64_t i, const SearchPoints& b, std::int64_t k) {
  const float *x = a.exact.data<float>() + i * a.width(), *y = b.exact.data<float>() + k * b.width();
  double s = 0;
  for (std::int64_t j = 0; j < a.width(); ++j) {
    const double d = static_cast<double>(x[j]) - static_cast<double>(y[j]);
    s += d * d;
  }
  return s;
}

DistanceBounds::DistanceBounds(const SearchPoints& a, std::int64_t begin, std::int64_t end, const SearchPoints& b)
    : a_(a), b_(b), begin_(begin), products_(matmul(a.moved.slice(0, begin, end), b.moved.transpose(0, 1)).to(Device{})) {
  slack_ = (static_cast<double>(a.width()) + 8) * std::numeric_limits<float>::epsilon() / 2;
}

DistanceBounds::Bounds DistanceBounds::operator()(std::int64_t i, std::int64_t j) const {
  const double sizes = a_.size[static_cast<std::size_t>(i)] + b_.size[static_cast<std::size_t>(j)];
  const double middle = sizes - 2 * static_cast<double>(products_.data<float>()[(i - begin_) * b_.count() + j]),
               slack = slack_ * sizes + 1e-36;
  if (!std::isfinite(middle)) return {-infinity, infinity};  // a product overflowed
  return {middle - slack, middle + slack};
}

std::vector<double> squared_radii(const SearchPoints& x, int k) {
  std::vector<double> out(static_cast<std::size_t>(x.count()));
  for_each_row_of_bounds(x, x, [&](std::int64_t i, const DistanceBounds& bounds) {
    Smallest bound(k), exact(k);
    for (std::int64_t j = 0; j < x.count(); ++j)
      if (j != i) bound.add(bounds(i, j).high);
    for (std::int64_t j = 0; j < x.count() && exact.last() > 0; ++j)
      if (j != i && bounds(i, j).low <= bound.last()) exact.add(squared_distance(x, i, x, j));
    out[static_cast<std::size_t>(i)] = exact.last();
  });
  return out;
}

bool is_within(const SearchPoints& a, std::int64_t i, const SearchPoints& b, std::int64_t j, double radius, Ball ball,
               const DistanceBounds& bounds) {
  const DistanceBounds::Bounds d = bounds(i, j);
  return within(d.high, radius, ball) || (within(d.low, radius, ball) && within(squared_distance(a, i, b, j), radius, ball));
}

SearchSets search_sets(const char* metric, const Tensor& real, const Tensor& generated) {
  refuse_infinite(metric, real, "real");
  refuse_infinite(metric, generated, "generated");
  const Tensor mean = mean_of_rows(real).to(DType::f32);
  return {SearchPoints(real, mean), SearchPoints(generated, mean)};
}

}  // namespace fm
