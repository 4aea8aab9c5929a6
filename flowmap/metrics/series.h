// Statistics of sequences by channel, for comparing generated sequences with real ones. x (n, C, L): n samples of C channels with L values.
//
//   mean         m(c,l) = 1/n sum_i x(i,c,l)
//   variance     v(c,l) = 1/n sum_i (x(i,c,l) - m(c,l))^2
//   correlation  r(c,k) = [ 1/(n (L-k)) sum_i sum_{l<L-k} (x(i,c,l) - m(c,l)) (x(i,c,l+k) - m(c,l+k)) ] / [ 1/L sum_l v(c,l) ]
//   power        p(c,f) = 2/(n L^2) sum_i | sum_l x(i,c,l) exp(-2 pi sqrt(-1) f l / L) |^2, half of it for f = 0 and f = L/2
//
// r(c,0) is 1 if the channel varies (else NaN). A sine of amplitude A and a whole frequency f has the power A^2/2 at f and none elsewhere; all of p(c,f),
// f = 0 .. L/2, add up to the mean of x^2 (Parseval).
#pragma once

#include "tensor/tensor.h"

namespace fm {

struct SeriesStatistics {
  Tensor mean, variance;         // f64 (C, L)
  Tensor correlation;            // f64 (C, lags)
  Tensor power;                  // f64 (C, frequencies)
};

// x f32 or f64 on any device; sums in f64, in an order that does not depend on the number of threads. `lags` and `frequencies` are limited to
// L and L/2 + 1. Costs n C L (lags + 2 frequencies) multiplications. ShapeError unless x is (n, C, L) with at least one value, and for
// `lags` or `frequencies` below 1. Error names the first sample that is not finite.
SeriesStatistics series_statistics(const Tensor& x, std::int64_t lags, std::int64_t frequencies);

// Differences between the statistics of generated sequences and of real ones (m', v', r', p'). All are 0 for equal statistics, and have no unit:
//
//   mean         sqrt( sum_cl (m - m')^2 / sum_cl v' )
//   variance     sqrt( mean_cl (v - v')^2 ) / mean_cl v'
//   correlation  sqrt( mean (r - r')^2 ) over lags 1 .. L/2, at most 128, and the channels that vary in either
//   power        sum_cf |p - p'| / sum_cf p' over frequencies up to 128; the total power of all higher frequencies counts as one more
//
// An error is NaN where it is undefined: if real samples are all zero or do not vary, or (correlation) if a channel varies in only one of the two sets.
struct SeriesErrors {
  double mean, variance, correlation, power;
};

// Both sets are (n, C, L) with L of 2 or more. The numbers of samples n of the two sets may differ. ShapeError if C or L differ.
SeriesErrors series_errors(const Tensor& generated, const Tensor& real);

}  // namespace fm
