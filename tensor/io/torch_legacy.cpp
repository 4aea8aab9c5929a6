// The layout of torch.save before PyTorch 1.6, still written with _use_new_zipfile_serialization=False:
//
//   pickle   0x1950a86a20f9469cfc6c      identifies such files
//   pickle   1001                        version of the layout
//   pickle   {...}                       sizes and byte order of the writer's machine
//   pickle   the saved object            storages as persistent ids ('storage', type, key, location, elements, part)
//   pickle   [key, ...]                  the order in which their bytes follow
//   bytes    for each key: the number of elements (int64), then the elements; little-endian on every machine, without alignment
#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

#include "tensor/error.h"
#include "tensor/io/file_text.h"
#include "tensor/io/torch_archive.h"

namespace fm {
namespace {

using namespace std::literals;

constexpr std::int64_t layout_version = 1001;
constexpr std::string_view magic = "\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."sv;  // LONG1 of ten bytes, STOP

[[noreturn]] void damaged(const TorchArchive& a, const std::string& what) {
  throw FileError(fmt::format("{}: damaged PyTorch checkpoint: {}; copy or download it again", a.path.string(), what));
}

// Reads one pickle after another.
class Pickles {
 public:
  explicit Pickles(const TorchArchive& a) : archive_(a), file_(a.path.string()) {}

  PickleTree next(const char* what) {
    PickleTree tree = parse_pickle(archive_.file.bytes().substr(at_), file_, fmt::format("{} from byte {}", what, at_));
    at_ += tree.size;
    return tree;
  }
  std::size_t at() const { return at_; }

 private:
  const TorchArchive& archive_;
  std::string file_;
  std::size_t at_ = 0;
};

// Finds the bytes of each storage. They follow each other in the order of `keys`, which must name every storage exactly once.
void place_storages(TorchArchive& a, const PickleTree& keys, std::size_t at) {
  const std::string_view bytes = a.file.bytes();
  std::unordered_map<std::string_view, std::uint32_t> by_key;
  for (std::uint32_t i = 0; i < a.tree.storages.size(); ++i)
    if (!a.tree.storages[i].root) by_key.emplace(a.tree.storages[i].key, i);
  std::vector<bool> placed(a.tree.storages.size());
  for (const PickleTree::Id id : keys.items(keys.root)) {
    if (keys.kind(id) != PickleKind::text) damaged(a, "a storage's key is no text");
    const auto found = by_key.find(keys.text(id));
    const std::string key = in_quotes(keys.text(id));
    if (found == by_key.end()) damaged(a, fmt::format("no tensor uses its storage {}", key));
    if (placed[found->second]) damaged(a, fmt::format("storage {} occurs twice", key));
    const PickledStorage& s = a.tree.storages[found->second];
    if (!s.type)
      throw FileError(fmt::format("{}: storage {}: {}; without its size the data after it cannot be found", a.path.string(), key,
                                  cannot_read(s.type_name)));
    if (bytes.size() - at < 8) damaged(a, fmt::format("it is cut off before storage {}", key));
    std::uint64_t numel = 0;
    for (std::size_t i = 0; i < 8; ++i) numel |= std::uint64_t(static_cast<unsigned char>(bytes[at + i])) << 8 * i;
    if (numel != std::uint64_t(s.numel)) damaged(a, fmt::format("storage {} has {} elements instead of {}", key, numel, s.numel));
    at += 8;
    const std::size_t size = std::size_t(s.numel) * size_of(*s.type);
    if (size > bytes.size() - at) damaged(a, fmt::format("storage {} takes {} bytes, {} are left", key, size, bytes.size() - at));
    a.data[found->second] = bytes.substr(at, size);
    placed[found->second] = true;
    at += size;
  }
  for (const auto& [key, index] : by_key)
    if (!placed[index]) damaged(a, fmt::format("storage {} is missing", in_quotes(key)));
}

}  // namespace

// The first pickle contains the magic number, in protocols 4 and later inside a frame.
bool is_legacy_torch(std::string_view bytes) {
  if (bytes.size() < 2 || bytes[0] != '\x80') return false;
  bytes.remove_prefix(2);
  if (bytes.starts_with('\x95')) bytes.remove_prefix(std::min<std::size_t>(bytes.size(), 9));
  return bytes.starts_with(magic);
}

void open_legacy(TorchArchive& a) {
  Pickles pickles(a);
  pickles.next("the pickle of the magic number");
  const PickleTree version = pickles.next("the version's pickle");
  if (version.kind(version.root) != PickleKind::integer || version.integer(version.root) != layout_version)
    throw FileError(fmt::format("{}: a PyTorch checkpoint whose layout is not {}: load and save it again with a newer PyTorch",
                                a.path.string(), layout_version));
  pickles.next("the machine's pickle");
  a.tree = pickles.next("its pickle");
  const PickleTree keys = pickles.next("the pickle of storage keys");
  if (keys.kind(keys.root) != PickleKind::list) damaged(a, "its storage keys are no list");
  a.data.resize(a.tree.storages.size());
  place_storages(a, keys, pickles.at());
}

}  // namespace fm
