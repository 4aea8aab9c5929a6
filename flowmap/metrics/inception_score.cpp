#include "flowmap/metrics/inception_score.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <utility>

#include "flowmap/metrics/frechet.h"
#include "flowmap/metrics/numpy_random.h"
#include "flowmap/metrics/spread.h"
#include "tensor/error.h"
#include "tensor/parallel.h"

namespace fm {
namespace {

constexpr std::int64_t rows_of_a_part = 256;  // sums are over parts of so many rows, then over parts in order

// Sums over some rows: of p, and of sum_c p log p.
struct SoftmaxSums {
  std::vector<double> p;
  double p_log_p = 0;
};

template <class T>
void add_softmax(const T* row, SoftmaxSums& sums) {
  const std::size_t classes = sums.p.size();
  const double largest = static_cast<double>(*std::max_element(row, row + classes));
  double total = 0;
  for (std::size_t c = 0; c < classes; ++c) total += std::exp(static_cast<double>(row[c]) - largest);
  const double log_total = std::log(total);
  for (std::size_t c = 0; c < classes; ++c) {
    const double log_p = static_cast<double>(row[c]) - largest - log_total, p = std::exp(log_p);
    sums.p[c] += p;
    if (p > 0) sums.p_log_p += p * log_p;
  }
}

// exp(mean_i sum_c p_ic (log p_ic - log q_c)), as sum_i p_ic = n q_c
template <class T>
double score_of_rows(const T* logits, std::size_t classes, const std::int64_t* rows, std::int64_t n) {
  std::vector<SoftmaxSums> parts(static_cast<std::size_t>((n + rows_of_a_part - 1) / rows_of_a_part));
  parallel_for(static_cast<std::int64_t>(parts.size()), rows_of_a_part * static_cast<std::int64_t>(classes) * 20, [&](std::int64_t part) {
    SoftmaxSums& sums = parts[static_cast<std::size_t>(part)];
    sums.p.assign(classes, 0.0);
    for (std::int64_t i = part * rows_of_a_part; i < std::min(n, (part + 1) * rows_of_a_part); ++i)
      add_softmax(logits + rows[i] * static_cast<std::int64_t>(classes), sums);
  });
  double mean = 0;
  for (const SoftmaxSums& sums : parts) mean += sums.p_log_p / static_cast<double>(n);
  for (std::size_t c = 0; c < classes; ++c) {
    double q = 0;
    for (const SoftmaxSums& sums : parts) q += sums.p[c] / static_cast<double>(n);
    if (q > 0) mean -= q * std::log(q);
  }
  return std::exp(mean);
}

// The first row and the end of each split of n rows.
std::vector<std::pair<std::int64_t, std::int64_t>> bounds_of_splits(const InceptionSplits& splits, std::int64_t n) {
  std::vector<std::pair<std::int64_t, std::int64_t>> out;
  if (splits.rows > 0)
    for (std::int64_t begin = 0; begin < n; begin += splits.rows) out.emplace_back(begin, std::min(n, begin + splits.rows));
  else
    for (std::int64_t i = 0; i < splits.count; ++i) out.emplace_back(i * n / splits.count, (i + 1) * n / splits.count);
  return out;
}

void check_logits(const Tensor& logits, const InceptionSplits& splits) {
  if (splits.rows < 0 || splits.count < 0 || (splits.rows > 0) == (splits.count > 0))
    throw ConfigError("inception_score: rows of a split " + std::to_string(splits.rows) + ", number of splits " +
                      std::to_string(splits.count) + ": exactly one of them must be above 0");
  if (logits.rank() != 2 || logits.numel() == 0)
    throw ShapeError("inception_score: needs logits (n, C) with at least one row and one class, got " + to_string(logits.shape()));
  if (logits.dim(0) < splits.count)
    throw ShapeError("inception_score: " + std::to_string(logits.dim(0)) + " rows are fewer than the " + std::to_string(splits.count) +
                     " splits: use more samples or fewer splits");
  if (const std::int64_t row = first_row_not_finite(logits); row >= 0)
    throw Error("inception_score: the logits of sample " + std::to_string(row) + " are not finite");
}

}  // namespace

InceptionScore inception_score(const Tensor& logits, const InceptionSplits& splits) {
  check_logits(logits, splits);
  const Tensor here = logits.to(Device{}).to(logits.dtype() == DType::f64 ? DType::f64 : DType::f32).contiguous();
  const std::int64_t n = here.dim(0);
  const auto classes = static_cast<std::size_t>(here.dim(1));
  std::vector<std::int64_t> rows(static_cast<std::size_t>(n));
  std::iota(rows.begin(), rows.end(), std::int64_t{0});
  if (splits.seed) rows = numpy_permutation(*splits.seed, n);
  InceptionScore out;
  for (const auto& [begin, end] : bounds_of_splits(splits, n)) {
    const std::int64_t* some = rows.data() + begin;
    out.splits.push_back(here.dtype() == DType::f64 ? score_of_rows(here.data<double>(), classes, some, end - begin)
                                                    : score_of_rows(here.data<float>(), classes, some, end - begin));
  }
  const Spread spread = spread_of(out.splits);
  out.mean = spread.mean, out.deviation = spread.deviation;
  return out;
}

}  // namespace fm
