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
// torch.save until 1.5: a pickle of the number 0x1950a86a20f9469cfc6c.
constexpr std::string_view old_torch_start = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"sv;

// Archives of both kinds may have other members (a README, a version).
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
  if (zip && !is_npz(file)) return {torch_state_dict(open_torch_file(file), entry, file.string()), {}};
  if (bytes.starts_with(old_torch_start))
    throw FileError(fmt::format("{}: written by torch.save before PyTorch 1.6; load and save it again with a newer one", file.string()));
  if (!entry.empty()) throw FileError(fmt::format("{} is one file and has no part {}", file.string(), in_quotes(entry)));
  if (zip) return read_npz(file);
  if (bytes.starts_with(npy_start)) return {{{file.stem().string(), parse_npy(mapped.data, bytes, file.string())}}, {}};
  return read_safetensors(file);
}

}  // namespace

FileTensors read_tensors(const fs::path& file, const std::string& entry) {
  FileTensors out = read_any(file, entry);
  if (out.tensors.empty() && !out.unread.empty()) throw FileError(fmt::format("{}: no tensor of it can be read{}", file.string(), unread_text(out.unread)));
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
