// Weights in several files and an index, as Hugging Face writes models that are too large for one file:
//
//   model.safetensors.index.json:  {"metadata": {...}, "weight_map": {"blocks.0.attn.qkv.weight": "model-00001-of-00002.safetensors", ...}}
//   pytorch_model.bin.index.json:  the same with PyTorch's files
#pragma once

#include <filesystem>

#include "tensor/io/weights_file.h"

namespace fm {

inline bool is_shard_index(const std::filesystem::path& file) { return file.filename().string().ends_with(".index.json"); }

// All tensors of the index, as views into the mapped shards, ordered by name, and the unreadable ones. FileError names the index and the
// reason: no JSON, no weight_map, a shard outside the index's folder, missing shards (all of them), or tensors missing from the
// shards (all).
FileTensors load_sharded(const std::filesystem::path& index);

}  // namespace fm
