// Family `copy`: strided copies with type conversion, and operations built from them.
#pragma once

#include <vector>

#include "tensor/tensor.h"

namespace fm {

// Equal shapes; any strides and types. Reads the old contents of `from`, even if it shares memory with `to` (a transpose of it, say).
// ShapeError if elements of `to` share memory.
void copy(const Tensor& from, const Tensor& to);

Tensor concat(const std::vector<Tensor>& parts, int dim);                   // equal shapes but for `dim`
Tensor pad(const Tensor& x, int dim, std::int64_t before, std::int64_t after);   // zeros before and after along `dim`

}  // namespace fm
