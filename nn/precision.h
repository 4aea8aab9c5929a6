// Mixed precision. A model's config names the element type of its blocks:
//
//   precision = "f32"     blocks compute in the type of parameters and inputs (f64 in checks)
//   precision = "bf16"    matrix products read bf16 and sum in f32. The activations inside a block, their cotangents and tangents are bf16. The
//                         residual stream, to which every block adds, is f32 with its cotangents and tangents, because rounding errors would
//                         add up over the depth. Norms, softmax and gates compute in f32. Embeddings of times and labels, and the model's
//                         inputs and outputs, are f32. PyTorch's autocast makes the same choices.
//
// Parameters keep their type: f32 parameters, which the optimizer updates with f32 gradients, are rounded to bf16 when a product reads them. For
// sampling, store_weights_as_bf16 halves the memory of the weights.
#pragma once

#include <string>

#include "autodiff/rules/linear.h"
#include "nn/config/visit.h"
#include "nn/module.h"

namespace fm {

// Returns the type in which blocks compute for the model's input x.
inline DType block_type(const std::string& precision, const Var& x) { return precision == "bf16" ? DType::bf16 : x.dtype(); }

namespace detail {
bool is_product_weight(const std::string& name, const Tensor& value);
}

// Converts the weights of matrix products to bf16; embeddings, norms and biases keep their type. Such a model cannot be trained (AdamW refuses
// bf16 parameters).
template <class M> void store_weights_as_bf16(M& module) {
  for_each_parameter(module, [](const std::string& name, Parameter& p) {
    if (detail::is_product_weight(name, p.value)) p.value = p.value.to(DType::bf16);
  });
}

}  // namespace fm
