#include "autodiff/rules/rows.h"

#include <algorithm>

#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/linear.h"

namespace fm {

Var head(const Var& x, std::int64_t rows) { return x.rank() == 0 || rows == x.dim(0) ? x.without_tangent() : slice(x.without_tangent(), 0, 0, rows); }

Var pad_rows(const Var& x, std::int64_t rows) { return x.rank() == 0 || rows == x.dim(0) ? x : pad(x, 0, 0, rows - x.dim(0)); }

Var sum_of(const Var& p, const Var& q) { return !p.defined() ? q : !q.defined() ? p : add(p, q); }

void TangentRows::include(const Var& operand, bool row_wise, std::int64_t output_rows) {
  if (operand.has_tangent()) rows = std::max(rows, row_wise ? operand.tangent_rows() : output_rows);
}

Var TangentRows::value(const Var& operand, bool row_wise) const { return row_wise ? head(operand, rows) : operand.without_tangent(); }

Var TangentRows::tangent(const Var& operand, bool row_wise) const {
  if (!operand.has_tangent()) return {};
  return pad_rows(operand.tangent(), row_wise ? rows : (operand.rank() ? operand.dim(0) : 1));
}

}  // namespace fm
