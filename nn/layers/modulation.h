// adaLN: a linear layer computes the shift, scale and gate of every channel from a condition. The caller applies SiLU to the condition, once for all
// blocks. The layer is named "1" because published models have a sequence of SiLU ("0") and Linear ("1").
#pragma once

#include <vector>

#include "autodiff/rules/linear.h"
#include "nn/layers/linear.h"
#include "tensor/narrow.h"

namespace fm {

struct Modulation {
  Linear linear;
  std::int64_t parts = 0;

  Modulation() = default;
  Modulation(std::int64_t width, std::int64_t parts_) : linear(width, parts_ * width), parts(parts_) {}
  template <class V> void visit(V&& v) { v("1", linear); }
  void reset(const Init&) {                     // shift 0, scale 0, gate 0: the block is the identity
    fill(linear.weight, 0);
    fill(linear.bias, 0);
  }
  // Maps a condition after its SiLU, (B,C) or (B,N,C), to `parts` tensors of the same shape (views).
  std::vector<Var> operator()(const Var& activated) const { return chunk(linear(activated), narrow<int>(parts)); }
};

}  // namespace fm
