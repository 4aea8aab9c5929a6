// Resampling along one dimension, y[o] = sum_j w[o,j] x[j], and resizing of images, which resamples both dimensions. The weights are those of
// PyTorch's `interpolate` (align_corners = False: output o has its center at input position (o + 1/2) in/out - 1/2, edges repeat).
#pragma once

#include <vector>

#include "tensor/tensor.h"

namespace fm {

enum class Interpolation {
  bilinear,
  bicubic,             // cubic convolution with A = -0.75
  bilinear_antialias,  // triangle widened by the factor of reduction
  bicubic_antialias,   // cubic convolution with A = -0.5 widened by the factor of reduction, weights normalized
};

// A sparse matrix (out, in) whose rows are runs of neighbors: row o has weights[begin[o] .. begin[o+1]) for the inputs from first[o] on.
struct Resampling {
  std::int64_t in = 0, out = 0;
  std::vector<std::int64_t> first, begin;
  std::vector<double> weights;

  Resampling transposed() const;
  double weight(std::int64_t o, std::int64_t j) const;
};

Resampling resampling(std::int64_t in, std::int64_t out, Interpolation kind);

// Bicubic (A = -0.75) with a given scale, where in * scale need not be `out`: output o has its center at input position (o + 1/2)/scale - 1/2. Positions and
// weights are computed in f32, as in PyTorch's `interpolate` with scale_factor. ShapeError unless in, out and scale are positive.
Resampling scaled_bicubic(std::int64_t in, std::int64_t out, double scale);

Tensor resample(const Tensor& x, int dim, const Resampling& r);          // f32, f64, bf16; ShapeError unless x.dim(dim) == r.in
// The last two dimensions become (height, width).
Tensor resize(const Tensor& x, std::int64_t height, std::int64_t width, Interpolation kind);

}  // namespace fm
