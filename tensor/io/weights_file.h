// Reads named tensors from one file of any supported format. The format is recognized by the first bytes, not by the name of the file.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "tensor/io/element_type.h"

namespace fm {

struct FileTensors {
  NamedTensors tensors;
  std::vector<UnreadEntry> unread;  // entries of the file that cannot be read as tensors, with the reasons
};

// Reads safetensors, a PyTorch checkpoint (tensor/io/torch_file.h), a .npz or a .npy. In a PyTorch checkpoint `entry` chooses a state dict. The
// tensor of a .npy has the name of the file without its ending. Tensors are views of the mapped file if alignment and type allow it.
//
// A FileError names the file and the fault: the file is damaged, has an unknown format, lacks the entry, or has no readable tensors.
FileTensors read_tensors(const std::filesystem::path& file, const std::string& entry = {});

// Returns text about the first few entries of `unread`, for errors about missing tensors: "; it holds "scale", but elements of complex64 cannot
// be read: ...". Empty if there are none.
std::string unread_text(const std::vector<UnreadEntry>& unread);

}  // namespace fm
