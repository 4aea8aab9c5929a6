// Gradient checks, for every rule of the engine and for users' own functions. All in f64.
//
//   check_push    jvp against a central difference of fourth order along a random direction:
//                 f'(x) d ~ (8 (f(x+hd) - f(x-hd)) - (f(x+2hd) - f(x-2hd))) / 12h
//   check_pull    <gy, push(dx)> = <pull(gy), dx>: both are gy^T J dx, so they agree to rounding
//   check_taped   the backward pass of <g, dy> + <e, y> of jvp_taped (second derivatives) against differences of the constant jvp
//   check_rows    a tangent of the first rows only against the same tangent extended by zero rows, in both modes
//
// Each returns its numbers and throws AutodiffError (one line) when the error is above the tolerance. `f` must give the same function each
// time it is called (the same random draws).
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "autodiff/jvp.h"

namespace fm {

using CheckedFunction = std::function<Var(const std::vector<Var>&)>;

struct CheckOptions {
  std::string name = "f";                 // in messages
  std::vector<bool> tangents;             // inputs with a tangent (the others are symbolic zeros); empty: all inputs
  std::int64_t rows = 1;                  // check_rows: rows that the tangents cover
  double push_tolerance = 1e-7;
  double pull_tolerance = 1e-12;
  double taped_tolerance = 1e-7;
  double rows_tolerance = 1e-12;
  double step = 1e-4;                     // h, for inputs of order one
  std::uint64_t seed = 1;
};

struct CheckReport {
  std::string check;                      // "check_push of softmax"
  double computed = 0, expected = 0;      // at the element with the largest difference
  double error = 0, tolerance = 0;        // relative to the largest number compared
  bool passed() const { return error <= tolerance; }    // false for a NaN
  std::string to_string() const;
};

CheckReport check_push(const CheckedFunction& f, const std::vector<Tensor>& inputs, const CheckOptions& options = {});
CheckReport check_pull(const CheckedFunction& f, const std::vector<Tensor>& inputs, const CheckOptions& options = {});
CheckReport check_taped(const CheckedFunction& f, const std::vector<Tensor>& inputs, const CheckOptions& options = {});
CheckReport check_rows(const CheckedFunction& f, const std::vector<Tensor>& inputs, const CheckOptions& options = {});

// The four checks with tangents on all inputs together, on each alone, and on all but it; each number of rows up to one less than the
// largest. Returns the reports (all passed, else it has thrown).
std::vector<CheckReport> check_all(const CheckedFunction& f, const std::vector<Tensor>& inputs, const CheckOptions& options = {});

// Standard normal numbers, a function of (seed, element) alone.
Tensor sample_normal(const Shape& shape, std::uint64_t seed, DType dtype = DType::f64);
// Uniform in [low, high).
Tensor sample_uniform(const Shape& shape, double low, double high, std::uint64_t seed, DType dtype = DType::f64);

}  // namespace fm
