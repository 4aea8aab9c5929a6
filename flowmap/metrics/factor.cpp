#include "flowmap/metrics/factor.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "tensor/error.h"
#include "tensor/ops/copy.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/matmul.h"
#include "tensor/parallel.h"

namespace fm {
namespace {

using Int = std::int64_t;
constexpr double eps = std::numeric_limits<double>::epsilon();
constexpr Int block = 32;  // columns of a panel

double dot(const double* x, const double* y, Int n) {
  double s = 0;
#pragma omp simd reduction(+ : s)
  for (Int i = 0; i < n; ++i) s += x[i] * y[i];
  return s;
}

void add(double* y, double c, const double* x, Int n) {  // y += c x
#pragma omp simd
  for (Int i = 0; i < n; ++i) y[i] += c * x[i];
}

void scale(double* x, double c, Int n) {
  for (Int i = 0; i < n; ++i) x[i] *= c;
}

}  // namespace

Tensor semidefinite_factor(const Tensor& s) {
  if (s.rank() != 2 || s.dim(0) != s.dim(1)) throw ShapeError("semidefinite_factor: needs a square matrix, got " + to_string(s.shape()));
  const Int n = s.dim(0);
  Tensor left = s.to(DType::f64).to(Device{}).clone();  // S - R^T R with the rows of R of all finished blocks
  const Tensor r = Tensor::zeros({n, n}, DType::f64, Device{});
  std::vector<double> diagonal(static_cast<std::size_t>(n));  // the diagonal of S - R^T R, with the rows of R so far; -infinity at past pivots
  for (Int i = 0; i < n; ++i) diagonal[static_cast<std::size_t>(i)] = left.data<double>()[i * n + i];
  const double limit = static_cast<double>(n) * eps * *std::max_element(diagonal.begin(), diagonal.end());
  Int rank = 0;
  for (Int begin = 0; begin < n && rank == begin; begin += block) {
    const Int end = std::min(n, begin + block);
    for (; rank < end; ++rank) {
      const auto best = std::max_element(diagonal.begin(), diagonal.end());
      if (!(*best > limit)) break;
      const Int pivot = best - diagonal.begin();
      double* row = r.data<double>() + rank * n;
      std::copy_n(left.data<double>() + pivot * n, n, row);
      for (Int k = begin; k < rank; ++k) add(row, -r.data<double>()[k * n + pivot], r.data<double>() + k * n, n);
      for (Int i = 0; i < n; ++i)
        if (diagonal[static_cast<std::size_t>(i)] == -std::numeric_limits<double>::infinity()) row[i] = 0;  // past pivots have rows of their own in R
      scale(row, 1 / std::sqrt(*best), n);
      row[pivot] = std::sqrt(*best);
      for (Int i = 0; i < n; ++i) diagonal[static_cast<std::size_t>(i)] -= row[i] * row[i];
      *best = -std::numeric_limits<double>::infinity();
    }
    const Tensor rows = r.slice(0, begin, rank);
    if (rank == end && rank < n) matmul_into(left, rows.transpose(0, 1) * -1.0, rows);
  }
  return r.slice(0, 0, rank);
}

namespace {

// y[j] = sum over rows i of v[i] a[i, j], for i >= row and j >= column
void times_columns(const double* a, Int m, Int n, Int row, Int column, const double* v, double* y) {
  constexpr Int width = 256;
  parallel_for((n - column + width - 1) / width, 2 * width * (m - row), [&](Int chunk) {
    const Int begin = column + chunk * width, end = std::min(n, begin + width);
    std::fill(y + begin, y + end, 0.0);
    Int i = row;
    for (; i + 4 <= m; i += 4) {
      const double *a0 = a + i * n, *a1 = a0 + n, *a2 = a1 + n, *a3 = a2 + n;
#pragma omp simd
      for (Int j = begin; j < end; ++j) y[j] += (v[i] * a0[j] + v[i + 1] * a1[j]) + (v[i + 2] * a2[j] + v[i + 3] * a3[j]);
    }
    for (; i < m; ++i) add(y + begin, v[i], a + i * n + begin, end - begin);
  });
}

// x[i] = sum over columns j of a[i, j] u[j], for i >= row and j >= column
void times_rows(const double* a, Int m, Int n, Int row, Int column, const double* u, double* x) {
  parallel_for(m - row, 2 * (n - column), [&](Int r) { x[row + r] = dot(a + (row + r) * n + column, u + column, n - column); });
}

// Finds H = 1 - tau v v^T with v[0] = 1 and H x = (beta, 0, 0, ...), and replaces x by v.
struct Reflector {
  double tau = 0, beta = 0;
};
Reflector reflect(double* x, Int n) {
  const double first = x[0], rest = dot(x + 1, x + 1, n - 1);
  x[0] = 1;
  if (rest == 0) return {0, first};
  const double beta = -std::copysign(std::sqrt(first * first + rest), first);
  scale(x + 1, 1 / (first - beta), n - 1);
  return {(beta - first) / beta, beta};
}

// Makes the first columns and rows of a (m, n), m >= n, bidiagonal. reduce() leaves a as it is; rest() applies the reflections to the rest of a, which
// becomes a - v^T y - x^T u. The rows of v and x have m elements, the rows of y and u have n.
class Panel {
 public:
  Panel(const Tensor& a, Int width)
      : a_(a.data<double>()),
        m_(a.dim(0)),
        n_(a.dim(1)),
        width_(width),
        left_(Tensor::zeros({2 * width, m_}, DType::f64, Device{})),
        right_(Tensor::zeros({2 * width, n_}, DType::f64, Device{})) {}

  void reduce(std::vector<double>& bidiagonal) {
    for (Int i = 0; i < width_; ++i) {
      bidiagonal.push_back(column(i));
      if (i + 1 < n_) bidiagonal.push_back(row(i));
    }
  }

  // The part after the panel, with the panel's reflections applied.
  Tensor rest(const Tensor& a) const {
    Tensor out = a.slice(0, width_, m_).slice(1, width_, n_).clone();
    matmul_into(out, left_.slice(1, width_, m_).transpose(0, 1) * -1.0, right_.slice(1, width_, n_));
    return out;
  }

 private:
  double* v(Int k) const { return left_.data<double>() + k * m_; }
  double* x(Int k) const { return left_.data<double>() + (width_ + k) * m_; }
  double* y(Int k) const { return right_.data<double>() + k * n_; }
  double* u(Int k) const { return right_.data<double>() + (width_ + k) * n_; }

  // Makes column i zero below the diagonal and finds y_i = tau A^T v_i. Returns the element on the diagonal.
  double column(Int i) {
    double* vi = v(i);
    for (Int r = i; r < m_; ++r) vi[r] = a_[r * n_ + i];
    for (Int k = 0; k < i; ++k) {
      add(vi + i, -y(k)[i], v(k) + i, m_ - i);
      add(vi + i, -u(k)[i], x(k) + i, m_ - i);
    }
    const Reflector h = reflect(vi + i, m_ - i);
    const Int from = i + 1, count = n_ - from;
    if (count == 0) return h.beta;
    times_columns(a_, m_, n_, i, from, vi, y(i));
    for (Int k = 0; k < i; ++k) {
      add(y(i) + from, -dot(v(k) + i, vi + i, m_ - i), y(k) + from, count);
      add(y(i) + from, -dot(x(k) + i, vi + i, m_ - i), u(k) + from, count);
    }
    scale(y(i) + from, h.tau, count);
    return h.beta;
  }

  // Makes row i zero to the right of its superdiagonal element and finds x_i = tau A u_i. Returns the superdiagonal element.
  double row(Int i) {
    double* ui = u(i);
    const Int from = i + 1, count = n_ - from, rows = m_ - from;
    std::copy_n(a_ + i * n_ + from, count, ui + from);
    for (Int k = 0; k <= i; ++k) add(ui + from, -v(k)[i], y(k) + from, count);
    for (Int k = 0; k < i; ++k) add(ui + from, -x(k)[i], u(k) + from, count);
    const Reflector h = reflect(ui + from, count);
    times_rows(a_, m_, n_, from, from, ui, x(i));
    for (Int k = 0; k <= i; ++k) add(x(i) + from, -dot(y(k) + from, ui + from, count), v(k) + from, rows);
    for (Int k = 0; k < i; ++k) add(x(i) + from, -dot(u(k) + from, ui + from, count), x(k) + from, rows);
    scale(x(i) + from, h.tau, rows);
    return h.beta;
  }

  const double* a_;
  Int m_, n_, width_;
  Tensor left_, right_;  // left_: the rows of v, then of x; right_: the rows of y, then of u
};

// Replaces d by the eigenvalues of the symmetric tridiagonal matrix with d on the diagonal and e beside it: implicit QL with Wilkinson's shift (Golub &
// Van Loan, 8.3). An element of e counts as zero if it is at most eps times the largest element of d and e, so errors are relative to the norm.
void tridiagonal_eigenvalues(std::vector<double>& d, std::vector<double> e) {
  const std::size_t n = d.size();
  e.resize(n, 0.0);
  double largest = 0;
  for (std::size_t i = 0; i < n; ++i) largest = std::max({largest, std::abs(d[i]), std::abs(e[i])});
  const double zero = eps * largest;
  for (std::size_t l = 0; l < n; ++l) {
    for (int turn = 0;; ++turn) {
      std::size_t m = l;
      while (m + 1 < n && std::abs(e[m]) > zero) ++m;
      if (m == l) break;
      if (turn == 200) throw Error("singular_values: no convergence; the matrix holds numbers that are not finite");
      double g = (d[l + 1] - d[l]) / (2 * e[l]), r = std::hypot(g, 1.0);
      g = d[m] - d[l] + e[l] / (g + std::copysign(r, g));
      double s = 1, c = 1, p = 0;
      bool apart = false;  // the matrix splits into two at i + 1
      std::size_t i = m;
      while (i-- > l) {
        const double f = s * e[i], b = c * e[i];
        r = std::sqrt(f * f + g * g);
        e[i + 1] = r;
        if (r == 0) {
          d[i + 1] -= p;
          e[m] = 0;
          apart = true;
          break;
        }
        s = f / r, c = g / r;
        g = d[i + 1] - p;
        r = (d[i] - g) * s + 2 * c * b;
        p = s * r;
        d[i + 1] = g + p;
        g = c * r - b;
      }
      if (apart) continue;
      d[l] -= p, e[l] = g, e[m] = 0;
    }
  }
}

}  // namespace

std::vector<double> singular_values(const Tensor& matrix) {
  if (matrix.rank() != 2) throw ShapeError("singular_values: needs a matrix, got " + to_string(matrix.shape()));
  const bool wide = matrix.dim(0) < matrix.dim(1);
  Tensor a = (wide ? matrix.transpose(0, 1) : matrix).to(DType::f64).to(Device{}).clone();
  const Int n = a.dim(1);
  double largest = 0;
  for (Int i = 0; i < a.numel(); ++i) largest = std::max(largest, std::abs(a.data<double>()[i]));
  if (n == 0 || largest == 0) return std::vector<double>(static_cast<std::size_t>(n), 0.0);
  a = a * (1 / largest);
  std::vector<double> beside;  // elements on the diagonal and right of it in turn, row by row
  for (Int done = 0; done < n;) {
    const Int width = std::min(block, n - done);
    Panel panel(a, width);
    panel.reduce(beside);
    done += width;
    if (done < n) a = panel.rest(a);
  }
  std::vector<double> values(static_cast<std::size_t>(2 * n), 0.0);
  tridiagonal_eigenvalues(values, beside);
  std::sort(values.begin(), values.end());  // n values <= 0, then their negatives
  values.erase(values.begin(), values.begin() + n);
  for (double& value : values) value = std::abs(value) * largest;
  return values;
}

}  // namespace fm
