// Tensors by name from one file of any format, recognized by its first bytes and not by its name.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "tensor/io/element_type.h"

namespace fm {

struct FileTensors {
  NamedTensors tensors;
  std::vector<UnreadEntry> unread;  // entries that are in the file and no tensors here, with why
};

// safetensors; a PyTorch checkpoint (tensor/io/torch_file.h), where `entry` chooses a state dict; a .npz; a single .npy, whose tensor
// has the file's stem for a name. Views of the mapped file if alignment and type allow it.
//
// FileError names the file and the fault: damaged, an unknown format, the entry does not exist, or no readable tensors.
FileTensors read_tensors(const std::filesystem::path& file, const std::string& entry = {});

// "; it also holds "scale", which cannot be read: elements of complex64 ...", the first few: for errors about tensors that are missed.
std::string unread_text(const std::vector<UnreadEntry>& unread);

}  // namespace fm
