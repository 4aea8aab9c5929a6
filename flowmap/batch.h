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
  Tensor eps = {};                       // noise that comes with the data, as z0 (pairs of a teacher's ODE); undefined: it is drawn
};

struct PathBatch {
  Tensor z0, eps, z;                     // (B, ...):  z = (1-t) z0 + t eps
  Tensor s, t;                           // (B)
  Labels y;                              // after label dropout
  std::int64_t off_diagonal = 0;         // the first so many rows have s < t (s != t where an objective draws s > t, too), the others s = t
  Draws draws;                           // in this order of rows

  std::int64_t rows() const { return z.dim(0); }

  // The tensors that there are: no labels, no data leave some undefined.
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
