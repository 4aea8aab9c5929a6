#include "nn/precision.h"

namespace fm::detail {

// Time embeddings (t_embedder.mlp, r_embedder.mlp) and the table of labels compute in f32, on one row per sample.
bool is_product_weight(const std::string& name, const Tensor& value) {
  const bool embedding = name.find("_embedder.mlp.") != std::string::npos || name.ends_with("embedding_table.weight");
  return value.rank() >= 2 && name.ends_with(".weight") && !embedding;
}

}  // namespace fm::detail
