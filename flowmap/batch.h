// A training batch, and the same batch on the path: noise, times and labels drawn, rows with s < t first.
#pragma once

#include <functional>

#include "flowmap/labels.h"
#include "flowmap/path.h"
#include "flowmap/time.h"

namespace fm {

struct Batch {
  Tensor z0;                             // data (B, ...), f32 or f64
  Labels y;                              // (B) or undefined
  Draws draws;                           // B sample numbers
  Tensor eps = {};                       // noise that comes with the data, in z0's shape (pairs of a teacher's ODE); undefined: random noise
};

struct PathBatch {
  Tensor z0, eps, z;                     // (B, ...):  z = (1-t) z0 + t eps
  Tensor s, t;                           // (B)
  Labels y;                              // after label dropout
  std::int64_t off_diagonal = 0;         // the number of first rows with s < t (or s != t, if an objective draws s > t too); the others have s = t
  Draws draws;                           // in this order of rows

  std::int64_t rows() const { return z.dim(0); }

  // The defined tensors: without labels or data some are undefined.
  template <class F> void each_tensor(F&& f) {
    for (Tensor* x : {&z0, &eps, &z, &s, &t, &y})
      if (x->defined()) f(*x);
  }
};

// ShapeError unless z0, y and draws have equally many rows.
PathBatch draw_path_batch(const Batch& batch, const PairConfig& pairs, const LabelDropout& labels);

// The same with s = 0 on every row and one time t > 0 each, in the order of the batch: for objectives of u(z, 0, t) alone.
PathBatch draw_jumps_to_data(const Batch& batch, const TimeConfig& time, const LabelDropout& labels);
// With the time of each row given.
PathBatch place_jumps_to_data(const Batch& batch, const std::function<double(std::size_t row)>& time, const LabelDropout& labels);

// The same with pairs that are already drawn.
PathBatch place_on_path(const Batch& batch, const Pairs& pairs, const Labels& dropped);

}  // namespace fm
