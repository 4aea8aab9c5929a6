// Linear operations y = A x:  push dy = A dx,  pull gx = A^T gy. Each rule defines its transpose, and what it does with a tangent that covers
// only the first rows of dimension 0: the rule keeps the tangent if A maps first rows to first rows, else it adds the zero rows.
#pragma once

#include <vector>

#include "autodiff/var.h"
#include "tensor/ops/copy.h"
#include "tensor/ops/index.h"
#include "tensor/ops/reduce.h"

namespace fm {

Var reshape(const Var& x, const Shape& shape);                          // one dimension may be -1
Var permute(const Var& x, const std::vector<int>& dims);
Var transpose(const Var& x, int a, int b);
Var unsqueeze(const Var& x, int dim);
Var slice(const Var& x, int dim, std::int64_t begin, std::int64_t end);
std::vector<Var> chunk(const Var& x, int parts);                        // equal parts of the last dimension; cotangents fill one buffer
Var select(const Var& x, int dim, std::int64_t index);
Var expand(const Var& x, const Shape& shape);
Var concat(const std::vector<Var>& parts, int dim);
Var pad(const Var& x, int dim, std::int64_t before, std::int64_t after);
Var sum(const Var& x, const std::vector<int>& dims, bool keep = false);
Var sum(const Var& x);
Var mean(const Var& x, const std::vector<int>& dims, bool keep = false);
Var mean(const Var& x);
Var gather(const Var& x, const Tensor& index);                          // rows of x
Var cast(const Var& x, DType dtype);

}  // namespace fm
