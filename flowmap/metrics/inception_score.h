// Inception Score (Salimans et al. 2016) of generated samples, from the logits of a classifier:
//
//   p = softmax(logits),   score of a split = exp( mean_i sum_c p_ic (log p_ic - log q_c) ),   q_c = mean_i p_ic over the split's rows i
//
// The result is the mean over splits. Published numbers use the 1008 logits of the Inception network without the bias of its last layer.
// The score depends on the size of the splits, and on the order of rows if labels are sorted: one published set of samples, sorted by
// class, scores 62 instead of 298. Permute such samples first.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "tensor/tensor.h"

namespace fm {

// Either `rows` consecutive rows for each split, the last split with the remainder, or `count` splits [i n / count, (i + 1) n / count).
// Exactly one of the two is above 0.
struct InceptionSplits {
  std::int64_t rows = 0, count = 0;
  std::optional<std::uint32_t> seed = {};                                    // permute rows by numpy_permutation(seed, n) first

  static InceptionSplits adm() { return {.rows = 5000}; }                    // guided-diffusion: rows in the order of the file
  static InceptionSplits torch_fidelity() { return {.count = 10, .seed = 2020}; }
};

struct InceptionScore {
  double mean = 0, deviation = 0;   // over splits; the deviation divides by the number of splits. guided-diffusion prints the mean only
  std::vector<double> splits;       // the score of each split
};

// logits (n, C), f32 or f64 on any device; softmax and sums in f64, at log p, so a probability that underflows counts as 0. Costs n C
// exponentials; memory beside the logits: C numbers for each 256 rows. The result does not depend on the number of threads.
// ShapeError if logits have no rows or columns, or fewer rows than splits. ConfigError if `splits` has not exactly one of rows and count.
// Error names the first row that is not finite.
InceptionScore inception_score(const Tensor& logits, const InceptionSplits& splits);

}  // namespace fm
