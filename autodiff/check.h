// Gradient checks in f64, for every rule of the engine and for users' own functions.
//
//   check_push    jvp against a central difference of fourth order along a random direction:
//                 f'(x) d ~ (8 (f(x+hd) - f(x-hd)) - (f(x+2hd) - f(x-2hd))) / 12h
//   check_pull    <gy, push(dx)> = <pull(gy), dx>: both are gy^T J dx, so they agree to rounding
//   check_taped   gradients of <g, dy> + <e, y> with y and dy from jvp_taped, against central differences of the same sum from jvp
//   check_rows    a tangent that covers only the first rows against the same tangent extended by zero rows, in jvp and jvp_taped
//
// Each returns a report, or throws AutodiffError if the error is above the tolerance. `f` must compute the same function at every call (with
// the same random draws).
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "autodiff/jvp.h"

namespace fm {

using CheckedFunction = std::function<Var(const std::vector<Var>&)>;

struct CheckOptions {
  std::string name = "f";                 // name of the function in messages
  std::vector<bool> tangents;             // for each input: true if it has a tangent, false for a symbolic zero; empty: all true
  std::int64_t rows = 1;                  // check_rows: rows that the tangents cover
  double push_tolerance = 1e-7;
  double pull_tolerance = 1e-12;
  double taped_tolerance = 1e-7;
  double rows_tolerance = 1e-12;
  double step = 1e-4;                     // h; the default suits inputs of order one
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

// Runs the four checks with tangents on all inputs, on each input alone, and on all inputs but one. check_rows runs for each number of rows
// below the largest dimension 0 of the inputs. Returns the reports of the passed checks; the first failed one throws.
std::vector<CheckReport> check_all(const CheckedFunction& f, const std::vector<Tensor>& inputs, const CheckOptions& options = {});

// Standard normal numbers, a function of (seed, element) alone.
Tensor sample_normal(const Shape& shape, std::uint64_t seed, DType dtype = DType::f64);
// Uniform in [low, high).
Tensor sample_uniform(const Shape& shape, double low, double high, std::uint64_t seed, DType dtype = DType::f64);

}  // namespace fm
