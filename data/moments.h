// Mean and population variance of every element of a row over a stream of rows, from exact integer sums: the same bits for any order, any
// batches, any threads, and any partial sums that are added up later.
//
//   q = round(2^32 x),  S = sum q,  T = sum q^2 in 128 bits;   mean = S/n,  var = (T - m (S + r))/n - (r/n)^2,  S = n m + r
//
// q keeps 32 bits after the binary point (an error below 1.2e-10), and all sums of q are exact. Subtracting m, the integer part of the mean, before
// the division avoids cancellation.
#pragma once

#include <cstdint>
#include <vector>

#include "tensor/io/safetensors.h"
#include "tensor/tensor.h"

namespace fm {

class Moments {
 public:
  Moments() = default;
  explicit Moments(const Shape& row);

  // rows (n, row...) f32. Error if a value is not finite or its absolute value is 2^15 or more; ShapeError for more than 2^31 rows in all.
  void add(const Tensor& rows);
  void add(const Moments& other);

  std::int64_t count() const { return count_; }
  const Shape& row() const { return row_; }
  Tensor mean() const;  // f64, of the row's shape; ShapeError without rows
  Tensor variance() const;

  // The sums as tensors "count", "sum", "square_sum" (i64, two words each, the lower first), to be kept in a file.
  NamedTensors state() const;
  static Moments from_state(const Tensor& count, const Tensor& sum, const Tensor& square_sum);

 private:
  __extension__ using Wide = __int128;
  Shape row_;
  std::int64_t count_ = 0;
  std::vector<Wide> sum_, square_sum_;
};

}  // namespace fm
