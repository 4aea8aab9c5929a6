// Weights in several files and an index, as Hugging Face writes models that are too large for one file:
//
//   model.safetensors.index.json:  {"metadata": {...}, "weight_map": {"blocks.0.attn.qkv.weight": "model-00001-of-00002.safetensors", ...}}
//   pytorch_model.bin.index.json:  the same with PyTorch's files
#pragma once

#include <filesystem>

#include "tensor/io/weights_file.h"

namespace fm {

inline bool is_shard_index(const std::filesystem::path& file) { return file.filename().string().ends_with(".index.json"); }

// Loads all tensors of the index, ordered by name, as views into the mapped shards, and lists unreadable entries. FileError names the index and
// the reason: it is not JSON, it has no weight_map, a shard is outside its folder, or shards or tensors are missing (all are listed).
FileTensors load_sharded(const std::filesystem::path& index);

}  // namespace fm
