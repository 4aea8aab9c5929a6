// Mixed precision. A model's config names the element type of its blocks:
//
//   precision = "f32"     all in the type of parameters and inputs (f64 in checks)
//   precision = "bf16"    products read bf16 and sum in f32; the activations inside a block, their cotangents and tangents are bf16. The
//                         residual stream, which every block reads and adds to, is f32, with its cotangents and tangents: its roundings would
//                         add up over the depth. Norms, softmax and gates compute in f32; time and label embeddings, and the model's inputs and
//                         outputs, are f32. PyTorch's autocast divides them the same way.
//
// Parameters keep their own type: f32 ones (the master weights that an optimizer updates, with f32 gradients) are rounded where a product
// reads them. For sampling, store_weights_as_bf16 halves their memory.
#pragma once

#include <string>

#include "autodiff/rules/linear.h"
#include "nn/config/visit.h"
#include "nn/module.h"

namespace fm {

// The type in which blocks compute when x enters the model.
inline DType block_type(const std::string& precision, const Var& x) { return precision == "bf16" ? DType::bf16 : x.dtype(); }

namespace detail {
bool is_product_weight(const std::string& name, const Tensor& value);
}

// The weights of products become bf16; embeddings, norms and biases keep their type. Such a model cannot be trained (AdamW refuses it).
template <class M> void store_weights_as_bf16(M& module) {
  for_each_parameter(module, [](const std::string& name, Parameter& p) {
    if (detail::is_product_weight(name, p.value)) p.value = p.value.to(DType::bf16);
  });
}

}  // namespace fm
