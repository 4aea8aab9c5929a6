// Tensors by name from one file of any format, told by its first bytes and not by its name.
#pragma once

#include <filesystem>
#include <string>

#include "tensor/io/safetensors.h"

namespace fm {

// safetensors; a PyTorch checkpoint (tensor/io/torch_file.h), of which `entry` chooses a state dict; a .npz; a single .npy, whose tensor
// has the file's stem for a name. Views of the mapped file where alignment and type allow it.
//
// FileError names the file and what is wrong: damaged, of no such format, of PyTorch's format from before 1.6, without such an entry.
NamedTensors read_tensors(const std::filesystem::path& file, const std::string& entry = {});

}  // namespace fm
