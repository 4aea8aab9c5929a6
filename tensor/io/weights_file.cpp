#include "tensor/io/weights_file.h"

#include <fmt/format.h>

#include "tensor/error.h"
#include "tensor/io/file_text.h"
#include "tensor/io/npy.h"
#include "tensor/io/torch_file.h"

namespace fm {
namespace {

namespace fs = std::filesystem;
using namespace std::literals;

constexpr std::string_view zip_start = "PK\3\4"sv, npy_start = "\x93NUMPY"sv;
// torch.save until 1.5: a pickle of the number 0x1950a86a20f9469cfc6c.
constexpr std::string_view old_torch_start = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"sv;

bool is_npz(const fs::path& file) {
  const ZipReader zip(file);
  for (const ZipMember& m : zip.members())
    if (!m.name.ends_with(".npy")) return false;
  return !zip.members().empty();
}

NamedTensors read_npz(const fs::path& file) {
  const NpzReader npz(file);
  NamedTensors tensors;
  for (const std::string& name : npz.names()) tensors.emplace_back(name, npz.read(name));
  return tensors;
}

}  // namespace

NamedTensors read_tensors(const fs::path& file, const std::string& entry) {
  const MappedFile mapped = map_file(file);
  const std::string_view bytes = mapped.bytes();
  const bool zip = bytes.starts_with(zip_start);
  if (zip && !is_npz(file)) return torch_state_dict(open_torch_file(file), entry, file.string());
  if (bytes.starts_with(old_torch_start))
    throw FileError(fmt::format("{}: written by torch.save before PyTorch 1.6; load and save it again with a newer one", file.string()));
  if (!entry.empty()) throw FileError(fmt::format("{} is one file and has no part {}", file.string(), in_quotes(entry)));
  if (zip) return read_npz(file);
  if (bytes.starts_with(npy_start)) return {{file.stem().string(), parse_npy(mapped.data, bytes, file.string())}};
  return Safetensors(file).tensors();
}

}  // namespace fm
