// Tangents that cover only the first rows of dimension 0 (see var.h): how rules bring several operands to a common number of rows.
#pragma once

#include "autodiff/var.h"

namespace fm {

Var head(const Var& x, std::int64_t rows);                         // the first rows of dimension 0 (x itself if it has no more)
Var pad_rows(const Var& x, std::int64_t rows);                     // zero rows added up to `rows`
Var sum_of(const Var& p, const Var& q);                            // p + q, either undefined for a symbolic zero

// The operands of an op whose output has `rows` rows in dimension 0. Operand i is row-wise when its rows are the output's rows; the tangent
// of any other operand affects every row of the output.
struct TangentRows {
  std::int64_t rows = 0;                                           // the rows that the output's tangent covers; 0: no operand has a tangent
  bool any() const { return rows > 0; }
  void include(const Var& operand, bool row_wise, std::int64_t output_rows);
  Var value(const Var& operand, bool row_wise) const;              // the operand restricted to those rows, without tangent
  Var tangent(const Var& operand, bool row_wise) const;            // its tangent on those rows; undefined without a tangent
};

}  // namespace fm
