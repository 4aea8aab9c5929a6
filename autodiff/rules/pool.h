// Pooling of images (tensor/ops/pool.h). The mean is linear. The maximum is a choice of elements:  y = x[index],  push dy = dx[index],  pull adds gy at the
// index. Of equal elements the first in row-major order is chosen; all windows that choose an element add to its gradient.
#pragma once

#include "autodiff/var.h"
#include "tensor/ops/pool.h"

namespace fm {

// x (B, C, H, W) -> (B, C, (H + 2 padding - kernel)/stride + 1, ...), in the type of x
Var max_pool2d(const Var& x, PoolWindow window);
Var avg_pool2d(const Var& x, PoolWindow window, PoolCount count);

}  // namespace fm
