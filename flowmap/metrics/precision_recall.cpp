#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "flowmap/metrics/frechet.h"
#include "tensor/error.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/matmul.h"
#include "tensor/ops/reduce.h"
#include "tensor/parallel.h"

namespace fm {
namespace {

constexpr std::int64_t distance_rows = 512;  // rows of distances at a time
constexpr double infinity = std::numeric_limits<double>::infinity();

// Two copies of a set of points: one unchanged on the CPU, for exact distances, and one moved towards the origin, for products in f32.
struct Points {
  Tensor exact;              // (n, D) f32
  Tensor moved;              // (n, D) f32, minus a mean: rows of smaller norm have smaller rounding errors
  std::vector<double> size;  // |moved row|^2

  Points(const Tensor& x, const Tensor& mean)
      : exact(x.to(DType::f32).to(Device{}).contiguous()), moved((x.to(DType::f32) - mean).contiguous()) {
    size = sum(square(moved.to(DType::f64)), {1}).to(Device{}).to_vector<double>();
  }
  std::int64_t count() const { return exact.dim(0); }
  std::int64_t width() const { return exact.dim(1); }
};

// |a_i - b_j|^2 as frechet.h defines it.
double exact_distance(const Points& a, std::int64_t i, const Points& b, std::int64_t j) {
  const float *x = a.exact.data<float>() + i * a.width(), *y = b.exact.data<float>() + j * b.width();
  double s = 0;
  for (std::int64_t k = 0; k < a.width(); ++k) {
    const double d = static_cast<double>(x[k]) - static_cast<double>(y[k]);
    s += d * d;
  }
  return s;
}

// Bounds of the squared distances between rows of a and all rows of b, computed as |x|^2 + |y|^2 - 2 x.y. The error bound holds for a sum in any order
// (Higham, Accuracy and Stability, 3.1): (D + 8) eps/2 (|x|^2 + |y|^2) covers the product and the shift of both points, and 1e-36 a possible underflow.
class Estimates {
 public:
  Estimates(const Points& a, std::int64_t begin, std::int64_t end, const Points& b)
      : a_(a), b_(b), begin_(begin), products_(matmul(a.moved.slice(0, begin, end), b.moved.transpose(0, 1)).to(Device{})) {
    slack_ = (static_cast<double>(a.width()) + 8) * std::numeric_limits<float>::epsilon() / 2;
  }
  struct Bounds {
    double low, high;
  };
  Bounds operator()(std::int64_t i, std::int64_t j) const {
    const double sizes = a_.size[static_cast<std::size_t>(i)] + b_.size[static_cast<std::size_t>(j)];
    const double middle = sizes - 2 * static_cast<double>(products_.data<float>()[(i - begin_) * b_.count() + j]),
                 slack = slack_ * sizes + 1e-36;
    if (!std::isfinite(middle)) return {-infinity, infinity};  // a product overflowed
    return {middle - slack, middle + slack};
  }

 private:
  const Points &a_, &b_;
  std::int64_t begin_;
  Tensor products_;
  double slack_;
};

// Calls f(i, estimates) for every row i of a, in parallel.
template <class F>
void for_each_row(const Points& a, const Points& b, const F& f) {
  for (std::int64_t begin = 0; begin < a.count(); begin += distance_rows) {
    const std::int64_t end = std::min(a.count(), begin + distance_rows);
    const Estimates estimates(a, begin, end, b);
    parallel_for(end - begin, b.count() * 4, [&](std::int64_t r) { f(begin + r, estimates); });
  }
}

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

// The exact squared distance of each row to its k-th nearest other row.
std::vector<double> radii(const Points& x, int k) {
  std::vector<double> out(static_cast<std::size_t>(x.count()));
  for_each_row(x, x, [&](std::int64_t i, const Estimates& estimates) {
    Smallest bound(k), exact(k);
    for (std::int64_t j = 0; j < x.count(); ++j)
      if (j != i) bound.add(estimates(i, j).high);
    for (std::int64_t j = 0; j < x.count() && exact.last() > 0; ++j)
      if (j != i && estimates(i, j).low <= bound.last()) exact.add(exact_distance(x, i, x, j));
    out[static_cast<std::size_t>(i)] = exact.last();
  });
  return out;
}

// The share of points that lie in the ball of at least one center.
double covered(const Points& points, const Points& centres, const std::vector<double>& radius) {
  std::vector<char> inside(static_cast<std::size_t>(points.count()), 0);
  for_each_row(points, centres, [&](std::int64_t i, const Estimates& estimates) {
    bool found = false;
    for (std::int64_t j = 0; j < centres.count() && !found; ++j) found = estimates(i, j).high <= radius[static_cast<std::size_t>(j)];
    for (std::int64_t j = 0; j < centres.count() && !found; ++j)
      found = estimates(i, j).low <= radius[static_cast<std::size_t>(j)] &&
              exact_distance(points, i, centres, j) <= radius[static_cast<std::size_t>(j)];
    inside[static_cast<std::size_t>(i)] = found;
  });
  return static_cast<double>(std::count(inside.begin(), inside.end(), 1)) / static_cast<double>(points.count());
}

void refuse_infinite(const Tensor& x, const char* which) {
  if (const std::int64_t row = first_row_not_finite(x); row >= 0)
    throw Error("precision_recall: the features of " + std::string(which) + " sample " + std::to_string(row) + " are not finite");
}

}  // namespace

PrecisionRecall precision_recall(const Tensor& real, const Tensor& generated, int k) {
  if (real.rank() != 2 || generated.rank() != 2 || real.dim(1) != generated.dim(1) || k < 1 || real.dim(0) <= k || generated.dim(0) <= k)
    throw ShapeError("precision_recall: real " + to_string(real.shape()) + ", generated " + to_string(generated.shape()) + ", k " +
                     std::to_string(k) + ": k must be 1 or more, each set needs more than k rows, and all rows the same width");
  refuse_infinite(real, "real");
  refuse_infinite(generated, "generated");
  const Tensor mean = (sum(real.to(DType::f64), {0}) / static_cast<double>(real.dim(0))).to(DType::f32);
  const Points x(real, mean), y(generated, mean);
  return {covered(y, x, radii(x, k)), covered(x, y, radii(y, k))};
}

}  // namespace fm
