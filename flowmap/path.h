// The linear path between data and noise, and arithmetic with one number per row.
//   z_t = (1-t) z0 + t eps,      conditional ("one-point") velocity  dz_t/dt = eps - z0
#pragma once

#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/linear.h"

namespace fm {

// One number per row, in a shape that multiplies z: (B) -> (B, 1, ..., 1).
inline Shape column_shape(std::int64_t rows, int rank) { return Shape::filled(rank, 1).with(0, rows); }
inline Tensor column(const Tensor& per_row, int rank) { return per_row.reshape(column_shape(per_row.dim(0), rank)); }
inline Var column(const Var& per_row, int rank) { return reshape(per_row, column_shape(per_row.dim(0), rank)); }

inline Tensor interpolate(const Tensor& z0, const Tensor& eps, const Tensor& t) {
  const Tensor tt = column(t, z0.rank());
  return (1.0 - tt) * z0 + tt * eps;
}

inline Tensor conditional_velocity(const Tensor& z0, const Tensor& eps) { return eps - z0; }

// The first k rows, and all rows from k on. Undefined tensors (no labels) stay undefined.
inline Tensor first_rows(const Tensor& x, std::int64_t k) { return !x.defined() || x.dim(0) == k ? x : x.slice(0, 0, k); }
inline Tensor rows_from(const Tensor& x, std::int64_t k) { return !x.defined() || k == 0 ? x : x.slice(0, k, x.dim(0)); }

// Rows (z | k) of two variables: z (B, ...) flattened, then k (B, numbers). And z of such rows, in its shape.
inline Tensor with_second(const Tensor& z, const Tensor& k) { return concat(std::vector<Tensor>{z.reshape({z.dim(0), z.numel() / z.dim(0)}), k}, 1); }
inline Tensor first_of_both(const Tensor& rows, const Shape& z) { return rows.slice(1, 0, z.numel() / z[0]).contiguous().reshape(z); }

// z - step u with one step per row, (B): the end of a jump or of an Euler step.
inline Tensor moved(const Tensor& z, const Tensor& step, const Tensor& u) { return z - column(step, z.rank()) * u; }

// a - b, where b covers only the first rows of a (nothing is subtracted from the others) or is undefined.
inline Tensor minus_first_rows(const Tensor& a, const Tensor& b) {
  if (!b.defined() || b.dim(0) == 0) return a;
  if (b.dim(0) == a.dim(0)) return a - b;
  return concat(std::vector<Tensor>{first_rows(a, b.dim(0)) - b, rows_from(a, b.dim(0))}, 0);
}

// a with its first rows replaced by `head`.
inline Tensor with_first_rows(const Tensor& a, const Tensor& head) {
  return head.dim(0) == a.dim(0) ? head : concat(std::vector<Tensor>{head, rows_from(a, head.dim(0))}, 0);
}

// The rows of all parts, one part after the other.
inline Var joined_rows(const std::vector<Var>& parts) { return parts.size() == 1 ? parts[0] : concat(parts, 0); }

// Sums of a row's elements: (B, ...) -> (B).
template <class X> X row_sums(const X& x) {
  std::vector<int> dims;
  for (int i = 1; i < x.rank(); ++i) dims.push_back(i);
  return dims.empty() ? x : sum(x, dims);
}

}  // namespace fm
