// A training batch, and the same batch on the path, after noise, times and label dropout are drawn. Rows with s < t come first.
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
  Tensor eps = {};                       // noise that a teacher's ODE pairs with the data, in z0's shape; undefined: random noise
  Tensor beside = {};                    // (B, numbers): a second variable k of each sample, that a teacher moves together with z (REG's class token)
};

struct PathBatch {
  Tensor z0, eps, z;                     // (B, ...):  z = (1-t) z0 + t eps
  Tensor s, t;                           // (B)
  Labels y;                              // after label dropout
  std::int64_t off_diagonal = 0;         // the first off_diagonal rows have s < t (s != t if an objective draws s > t too); the other rows have s = t
  Draws draws;                           // in the order of these rows
  Tensor beside, beside_noise;           // (B, numbers): k, and noise of its own, N(0, 1), on whose path it is at the same time t. Undefined without Batch::beside

  std::int64_t rows() const { return z.dim(0); }

  // Calls f with each defined tensor. Labels, data, noise and the second variable can be undefined.
  template <class F> void each_tensor(F&& f) {
    for (Tensor* x : {&z0, &eps, &z, &s, &t, &y, &beside, &beside_noise})
      if (x->defined()) f(*x);
  }
};

// Draws noise, label dropout and pairs of times. ShapeError unless z0, y, draws and beside have equally many rows, and eps has z0's shape.
PathBatch draw_path_batch(const Batch& batch, const PairConfig& pairs, const LabelDropout& labels);

// Draws the same with s = 0 and one time t > 0 in every row, for objectives that train u(z, 0, t) alone. Rows keep the batch's order.
PathBatch draw_jumps_to_data(const Batch& batch, const TimeConfig& time, const LabelDropout& labels);
// As draw_jumps_to_data(), with t = time(row).
PathBatch place_jumps_to_data(const Batch& batch, const std::function<double(std::size_t row)>& time, const LabelDropout& labels);

// Places the batch on the path at given pairs of times. `dropped`: the labels after dropout, in the batch's order.
PathBatch place_on_path(const Batch& batch, const Pairs& pairs, const Labels& dropped);

}  // namespace fm
