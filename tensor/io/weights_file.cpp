#include "tensor/io/weights_file.h"

#include <fmt/format.h>

#include <algorithm>

#include "tensor/error.h"
#include "tensor/io/file_text.h"
#include "tensor/io/npy.h"
#include "tensor/io/safetensors.h"
#include "tensor/io/torch_file.h"

namespace fm {
namespace {

namespace fs = std::filesystem;
using namespace std::literals;

constexpr std::string_view zip_start = "PK\3\4"sv, empty_zip_start = "PK\5\6"sv, npy_start = "\x93NUMPY"sv;

// Whether the bytes begin like a msgpack map whose first key is a short text.
bool is_msgpack_of_names(std::string_view bytes) {
  if (bytes.size() < 4) return false;
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
  const std::size_t key = byte(0) >= 0x81 && byte(0) <= 0x8f ? 1 : byte(0) == 0xde ? 3 : 0;          // fixmap, map 16
  if (key == 0 || byte(key) < 0xa1 || byte(key) > 0xbf) return false;                                // fixstr
  const std::string_view name = bytes.substr(key + 1, byte(key) & 0x1f);
  return std::all_of(name.begin(), name.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
}

// Throws FileError for formats that are recognized but cannot be read.
void refuse_others(std::string_view bytes, const std::string& file) {
  const auto refuse = [&](const char* what) { throw FileError(fmt::format("{}: {}", file, what)); };
  if (bytes.size() >= 262 && bytes.substr(257, 5) == "ustar")
    refuse("a tar archive, which torch.save wrote before PyTorch 0.1.10: load and save it again with a newer PyTorch");
  const bool header_follows = bytes.size() > 8 && bytes.substr(3, 6) == "\0\0\0\0\0{"sv;  // the length of a safetensors header may begin like a pickle
  if (bytes.size() > 8 && bytes[0] == '\x80' && bytes[1] >= 2 && bytes[1] <= 5 && bytes.ends_with('.') && !header_follows)
    refuse("a pickle that torch.save did not write: load it in Python and save its tensors with torch.save or numpy.savez");
  if (bytes.starts_with("\x89HDF")) refuse("an HDF5 file: save its arrays with numpy.savez");
  if (bytes.starts_with("GGUF")) refuse("a GGUF file: use the model's safetensors instead");
  if (is_msgpack_of_names(bytes) && !header_follows)
    refuse("a msgpack file, as Flax writes its checkpoints. Load it in Python and save its arrays under names joined by \"/\": "
           "tree = flax.serialization.msgpack_restore(open(FILE, 'rb').read()); "
           "numpy.savez('weights.npz', **flax.traverse_util.flatten_dict(tree.get('ema_params', tree), sep='/'))");
}

// True for a .npz, false for a PyTorch checkpoint. Both may have other members (a README, a version).
bool is_npz(const fs::path& file) {
  const ZipReader zip(file);
  const auto any = [&](std::string_view end) {
    return std::any_of(zip.members().begin(), zip.members().end(), [&](const ZipMember& m) { return m.name.ends_with(end); });
  };
  return !any("data.pkl") && any(".npy");
}

FileTensors read_npz(const fs::path& file) {
  const NpzReader npz(file);
  FileTensors out;
  for (const std::string& name : npz.names()) {
    try {
      out.tensors.emplace_back(name, npz.read(name));
    } catch (const UnreadError& e) {
      out.unread.push_back({name, e.why()});
    }
  }
  return out;
}

FileTensors read_safetensors(const fs::path& file) {
  FileTensors out;
  out.tensors = Safetensors(file).tensors(out.unread);
  return out;
}

FileTensors read_any(const fs::path& file, const std::string& entry) {
  const MappedFile mapped = map_file(file);
  const std::string_view bytes = mapped.bytes();
  const bool zip = bytes.starts_with(zip_start) || bytes.starts_with(empty_zip_start);
  if ((zip && !is_npz(file)) || is_legacy_torch(bytes)) return torch_state_dict(open_torch_file(file), entry, file.string());
  refuse_others(bytes, file.string());
  if (!entry.empty()) throw FileError(fmt::format("{} is one file and has no part {}", file.string(), in_quotes(entry)));
  if (zip) return read_npz(file);
  if (bytes.starts_with(npy_start)) return {{{file.stem().string(), parse_npy(mapped.data, bytes, file.string())}}, {}};
  return read_safetensors(file);
}

}  // namespace

FileTensors read_tensors(const fs::path& file, const std::string& entry) {
  FileTensors out = read_any(file, entry);
  if (out.tensors.empty() && !out.unread.empty())
    throw FileError(fmt::format("{}: none of its tensors can be read{}", file.string(), unread_text(out.unread)));
  return out;
}

std::string unread_text(const std::vector<UnreadEntry>& unread) {
  constexpr std::size_t most = 3;
  std::string out;
  for (std::size_t i = 0; i < std::min(unread.size(), most); ++i)
    out += fmt::format("; it holds {}, but {}", in_quotes(unread[i].name), unread[i].why);
  return unread.size() > most ? fmt::format("{}; and {} more that cannot be read", out, unread.size() - most) : out;
}

}  // namespace fm
