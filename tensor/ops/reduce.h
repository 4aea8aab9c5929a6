// Reductions over the dimensions `dims`; negative numbers count from the end. With `keep` these dimensions stay, with size 1. Over no elements a
// sum is 0, a mean is NaN, and max and argmax throw ShapeError.
#pragma once

#include <vector>

#include "tensor/tensor.h"

namespace fm {

Tensor sum(const Tensor& x, const std::vector<int>& dims, bool keep = false);
Tensor sum(const Tensor& x);                                              // of all elements: a scalar tensor
Tensor mean(const Tensor& x, const std::vector<int>& dims, bool keep = false);
Tensor mean(const Tensor& x);
Tensor max(const Tensor& x, int dim, bool keep = false);
Tensor argmax(const Tensor& x, int dim);                                  // i64; the first of equal elements
Tensor sum_to(const Tensor& x, const Shape& shape);                       // the transpose of broadcasting `shape` to x's shape
// Sum of squares, in double. For f32 and bf16 it is finite exactly if all elements are. For f64 it is also infinite if it exceeds 1.8e308.
double sum_squares(const Tensor& x);
std::vector<double> sum_squares(const std::vector<Tensor>& tensors);        // one for each tensor, 0 for an undefined one. Waits for the device once
Tensor squares_of(const std::vector<Tensor>& tensors);                      // the same as an f64 tensor, on their device
bool all_finite(const Tensor& x);                                           // of any type; waits for the device

}  // namespace fm
