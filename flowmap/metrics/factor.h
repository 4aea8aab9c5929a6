// Two factorizations in f64, on the CPU, built on the engine's own products.
#pragma once

#include <vector>

#include "tensor/tensor.h"

namespace fm {

// Returns R (r, D) with S = R^T R, for a symmetric positive semidefinite S (D, D) of rank r. S may be singular. Cholesky factorization with pivots
// (Golub & Van Loan, 4.2.8), in blocks, 2 D^3 operations. It ends when the remaining diagonal is below D eps times the largest entry of S's diagonal.
Tensor semidefinite_factor(const Tensor& s);

// Returns all min(m, n) singular values of a matrix (m, n), in no particular order. The error of each is a few eps times the largest. The first
// step is a Householder bidiagonalization in blocks (LAPACK's xLABRD; Golub & Van Loan, 5.4.8), 4 n^2 (m - n/3) operations. The second step is implicit QL on
// the tridiagonal matrix with zero diagonal whose eigenvalues are +- the singular values (Golub & Kahan 1965). Nothing is squared, so a singular value of 0 comes out
// as a few eps, not as the square root of eps.
std::vector<double> singular_values(const Tensor& matrix);

}  // namespace fm
