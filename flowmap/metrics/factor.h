// Two factorisations in f64, on the CPU, whose work is in the engine's own products.
#pragma once

#include <vector>

#include "tensor/tensor.h"

namespace fm {

// R (r, D) with S = R^T R for a symmetric positive semidefinite S (D, D), r its rank: Cholesky with pivots (Golub & Van Loan, 4.2.8), which
// ends when the rest of the diagonal is below D eps of its largest entry. Works for singular S. Blocked: 2 D^3 operations.
Tensor semidefinite_factor(const Tensor& s);

// All min(m, n) singular values of a matrix (m, n), in no order, each to a few eps of the largest. Householder bidiagonalization in blocks
// (LAPACK's xLABRD; Golub & Van Loan, 5.4.8), 4 n^2 (m - n/3) operations, then implicit QL on the tridiagonal matrix with zero diagonal
// whose eigenvalues are +- the singular values (Golub & Kahan 1965). Nothing is squared: a value of 0 results in a few eps, not in
// the root of eps.
std::vector<double> singular_values(const Tensor& matrix);

}  // namespace fm
