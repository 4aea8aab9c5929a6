// Family `copy`: strided copies with type conversion, and operations built from them.
#pragma once

#include <vector>

#include "tensor/tensor.h"

namespace fm {

// Copies `from` to `to`. Shapes must be equal; strides and types may differ. If `from` shares memory with `to` (a transpose of it, say), its old
// contents are copied. ShapeError if two elements of `to` share memory.
void copy(const Tensor& from, const Tensor& to);

Tensor concat(const std::vector<Tensor>& parts, int dim);                   // shapes may differ in dimension `dim` only
Tensor pad(const Tensor& x, int dim, std::int64_t before, std::int64_t after);   // zeros before and after along `dim`

}  // namespace fm
