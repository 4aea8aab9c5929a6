// Reductions. `dims` lists dimensions (negative counts from the end); the kept form leaves them as 1. Over nothing a sum is 0 and a mean NaN,
// and max and argmax are a ShapeError.
#pragma once

#include <vector>

#include "tensor/tensor.h"

namespace fm {

Tensor sum(const Tensor& x, const std::vector<int>& dims, bool keep = false);
Tensor sum(const Tensor& x);                                              // of everything: a scalar tensor
Tensor mean(const Tensor& x, const std::vector<int>& dims, bool keep = false);
Tensor mean(const Tensor& x);
Tensor max(const Tensor& x, int dim, bool keep = false);
Tensor argmax(const Tensor& x, int dim);                                  // i64; the first of equals
Tensor sum_to(const Tensor& x, const Shape& shape);                       // the transpose of broadcasting `shape` to x's shape
// Summed in double: for f32 and bf16 finite exactly if the elements are; for f64 also infinite if a square exceeds 1.8e308.
double sum_squares(const Tensor& x);
std::vector<double> sum_squares(const std::vector<Tensor>& tensors);        // of each; 0 of an undefined one. Waits for the device once
Tensor squares_of(const std::vector<Tensor>& tensors);                      // the same, f64, where the tensors lie
bool all_finite(const Tensor& x);                                           // of any type; waits for the device

}  // namespace fm
