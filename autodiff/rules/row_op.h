// The rule of a fused op y = f(x) that works on each row (last dimension) alone.
#pragma once

#include "autodiff/var.h"

namespace fm {

struct RowOp {
  const char* name;
  Tensor (*value)(const Tensor& x);
  Tensor (*push)(const Tensor& saved, const Tensor& dx);       // `saved` is y or x on the rows of dx
  Tensor (*pull)(const Tensor& saved, const Tensor& gy);
  bool saves_output;
  Var (*reference)(const Var& x);
};

Var row_op(const RowOp& op, const Var& x);

}  // namespace fm
