#include "tensor/io/torch_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <unordered_map>

#include "tensor/error.h"
#include "tensor/io/file_text.h"
#include "tensor/io/half.h"
#include "tensor/io/zip.h"

namespace fm {

struct TorchArchive {
  explicit TorchArchive(const std::filesystem::path& path) : zip(path) {}

  ZipReader zip;
  PickleTree tree;
  std::vector<std::string_view> data;  // bytes of every storage
  mutable std::vector<Tensor> flat;    // storages as vectors, made when asked for

  Tensor storage(std::uint32_t index) const;
};

namespace {

namespace fs = std::filesystem;
constexpr std::string_view pickle_name = "data.pkl";

[[noreturn]] void fail(const fs::path& path, const std::string& what) { throw FileError(fmt::format("{}: {}", path.string(), what)); }

// "<root>/" of the member "<root>/data.pkl".
std::string find_root(const ZipReader& zip) {
  for (const ZipMember& m : zip.members()) {
    const std::string_view name = m.name;
    if (name == pickle_name) return "";
    if (name.ends_with(pickle_name) && name[name.size() - pickle_name.size() - 1] == '/')
      return std::string(name.substr(0, name.size() - pickle_name.size()));
  }
  fail(zip.path(), "a zip file without data.pkl is no PyTorch checkpoint");
}

void check_byte_order(const ZipReader& zip, const std::string& root) {
  const ZipMember* member = zip.find(root + "byteorder");
  if (!member) return;  // before PyTorch 2.1
  const std::string_view order = zip.view(*member);
  if (order != "little")
    fail(zip.path(), fmt::format("its byteorder is {}; only little is read: save it on a little-endian machine", in_quotes(order)));
}

// The bytes of every storage that tensors use, their sizes checked.
std::vector<std::string_view> find_storages(const ZipReader& zip, const PickleTree& tree, const std::string& root) {
  std::unordered_map<std::string_view, const ZipMember*> members;
  for (const ZipMember& m : zip.members()) members.emplace(m.name, &m);
  std::vector<std::string_view> data;
  for (const PickledStorage& s : tree.storages) {
    const std::string name = fmt::format("{}data/{}", root, s.key);
    const auto found = members.find(name);
    if (found == members.end())
      fail(zip.path(), fmt::format("damaged PyTorch checkpoint: the member {} is missing; copy or download it again", in_quotes(name)));
    const std::string_view bytes = zip.view(*found->second);
    if (bytes.size() != std::uint64_t(s.numel) * s.type->size)
      fail(zip.path(),
           fmt::format("damaged PyTorch checkpoint: {} has {} bytes where {} elements of torch.{} take {}; copy or download it again",
                       in_quotes(name), bytes.size(), s.numel, s.type->storage, std::uint64_t(s.numel) * s.type->size));
    data.push_back(bytes);
  }
  return data;
}

}  // namespace

Tensor TorchArchive::storage(std::uint32_t index) const {
  Tensor& known = flat[index];
  if (known.defined()) return known;
  const PickledStorage& s = tree.storages[index];
  auto* bytes = reinterpret_cast<std::byte*>(const_cast<char*>(data[index].data()));  // a private mapping: writable
  const bool wide = s.type->size == size_of(s.type->dtype);
  if (wide && reinterpret_cast<std::uintptr_t>(bytes) % s.type->size == 0) {
    // Owned by this storage alone, so that tensors of different storages do not count as sharing memory.
    return known = Tensor::view_of(zip.owner_of(data[index]), bytes, {s.numel}, s.type->dtype);
  }
  Tensor copy = Tensor::empty({s.numel}, s.type->dtype, Device{});
  if (!wide)
    widen_halves(bytes, s.numel, copy.data<float>());
  else if (s.numel > 0)
    std::memcpy(copy.raw(), bytes, data[index].size());
  return known = copy;
}

TorchValue open_torch_file(const fs::path& path) {
  auto archive = std::make_shared<TorchArchive>(path);
  const std::string root = find_root(archive->zip);
  const ZipMember& pickle = *archive->zip.find(root + std::string(pickle_name));
  check_byte_order(archive->zip, root);
  archive->zip.verify(pickle);
  archive->tree = parse_pickle(archive->zip.view(pickle), path.string());
  archive->data = find_storages(archive->zip, archive->tree, root);
  archive->flat.resize(archive->data.size());
  const PickleTree::Id id = archive->tree.root;
  return {std::move(archive), id};
}

// ---- values -----------------------------------------------------------------------------------------------------------------------

const PickleTree& TorchValue::tree() const { return archive_->tree; }

PickleKind TorchValue::kind() const { return tree().kind(id_); }

void TorchValue::require(bool fits, const char* wanted) const {
  if (!fits) fail(archive_->zip.path(), fmt::format("a {} is where a {} is wanted", name_of(kind()), wanted));
}

std::size_t TorchValue::size() const {
  const PickleKind k = kind();
  require(k == PickleKind::tuple || k == PickleKind::list || k == PickleKind::set || k == PickleKind::dict, "list or dict");
  return tree().items(id_).size() / (k == PickleKind::dict ? 2 : 1);
}

TorchValue TorchValue::item(std::size_t i) const {
  if (i >= size()) fail(archive_->zip.path(), fmt::format("entry {} of a {} of {}", i, name_of(kind()), size()));
  return {archive_, tree().items(id_)[is(PickleKind::dict) ? 2 * i + 1 : i]};
}

TorchValue TorchValue::key(std::size_t i) const {
  require(is(PickleKind::dict), "dict");
  if (i >= size()) fail(archive_->zip.path(), fmt::format("entry {} of a dict of {}", i, size()));
  return {archive_, tree().items(id_)[2 * i]};
}

std::optional<TorchValue> TorchValue::find(std::string_view name) const {
  require(is(PickleKind::dict), "dict");
  const auto& items = tree().items(id_);
  for (std::size_t i = 0; i < items.size(); i += 2)
    if (tree().kind(items[i]) == PickleKind::text && tree().text(items[i]) == name) return TorchValue{archive_, items[i + 1]};
  return std::nullopt;
}

std::int64_t TorchValue::integer() const {
  require(is(PickleKind::integer) || is(PickleKind::boolean), "int");
  return tree().integer(id_);
}

double TorchValue::number() const { return is(PickleKind::real) ? tree().real(id_) : double(integer()); }

std::string TorchValue::text() const {
  require(is(PickleKind::text), "str");
  return std::string(tree().text(id_));
}

Tensor TorchValue::tensor() const {
  require(is(PickleKind::tensor), "tensor");
  const PickledTensor& t = tree().tensors[std::size_t(tree().integer(id_))];
  return archive_->storage(t.storage).as_strided(t.shape, t.strides, t.offset);
}

// ---- state dicts ------------------------------------------------------------------------------------------------------------------

namespace {

constexpr const char* wrappers[] = {"ema", "state_dict", "model", "module"};

// "ema (dict of 382), step (int)", the first few.
std::string entries_of(const TorchValue& dict) {
  constexpr std::size_t most = 12;
  std::string out;
  for (std::size_t i = 0; i < std::min(dict.size(), most); ++i) {
    const TorchValue key = dict.key(i), value = dict.item(i);
    const std::string name = key.is(PickleKind::text) ? in_quotes(key.text()) : fmt::format("{}", key.integer());
    out += fmt::format("{}{} ({}{})", i ? ", " : "", name, name_of(value.kind()),
                       value.is(PickleKind::dict) ? fmt::format(" of {}", value.size()) : "");
  }
  if (dict.size() > most) out += fmt::format(" and {} more", dict.size() - most);
  return out.empty() ? "nothing" : out;
}

TorchValue follow(TorchValue at, std::string_view key, const std::string& file) {
  while (!key.empty()) {
    const std::size_t slash = std::min(key.find('/'), key.size());
    const std::string_view name = key.substr(0, slash);
    if (!at.is(PickleKind::dict)) throw FileError(fmt::format("{}: no entry {} in a {}", file, in_quotes(name), name_of(at.kind())));
    const auto next = at.find(name);
    if (!next) throw FileError(fmt::format("{}: no entry {}; there are {}", file, in_quotes(name), entries_of(at)));
    at = *next;
    key.remove_prefix(std::min(slash + 1, key.size()));
  }
  return at;
}

std::optional<TorchValue> inside_wrapper(const TorchValue& at) {
  if (!at.is(PickleKind::dict)) return std::nullopt;
  for (const char* name : wrappers)
    if (const auto inside = at.find(name); inside && inside->is(PickleKind::dict)) return inside;
  return std::nullopt;
}

}  // namespace

NamedTensors torch_state_dict(const TorchValue& root, const std::string& key, const std::string& file) {
  TorchValue at = follow(root, key, file);
  while (const auto inside = inside_wrapper(at)) at = *inside;
  if (!at.is(PickleKind::dict)) throw FileError(fmt::format("{}: it holds a {}, a dict of tensors is wanted", file, name_of(at.kind())));
  NamedTensors tensors;
  for (std::size_t i = 0; i < at.size(); ++i)
    if (at.item(i).is(PickleKind::tensor) && at.key(i).is(PickleKind::text)) tensors.emplace_back(at.key(i).text(), at.item(i).tensor());
  if (tensors.empty())
    throw FileError(fmt::format("{}: no dict of tensors in it; choose one of its entries as {}:ENTRY: {}", file, file, entries_of(at)));
  return tensors;
}

}  // namespace fm
