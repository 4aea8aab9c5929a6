#include "tensor/io/torch_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

#include "tensor/error.h"
#include "tensor/io/file_text.h"
#include "tensor/io/torch_archive.h"

namespace fm {
namespace {

namespace fs = std::filesystem;
constexpr std::string_view pickle_name = "data.pkl";

[[noreturn]] void fail(const fs::path& path, const std::string& what) { throw FileError(fmt::format("{}: {}", path.string(), what)); }

// ---- the zip layout ---------------------------------------------------------------------------------------------------------------

// Returns "<root>/" of the member "<root>/data.pkl".
std::string find_root(const ZipReader& zip) {
  for (const ZipMember& m : zip.members()) {
    const std::string_view name = m.name;
    if (name == pickle_name) return "";
    if (name.ends_with(pickle_name) && name[name.size() - pickle_name.size() - 1] == '/')
      return std::string(name.substr(0, name.size() - pickle_name.size()));
  }
  fail(zip.path(), "the zip file has neither a data.pkl, as a PyTorch checkpoint has, nor .npy members, as a .npz has");
}

bool is_big_endian(const ZipReader& zip, const std::string& root) {
  const ZipMember* member = zip.find(root + "byteorder");
  if (!member) return false;  // a file from before PyTorch 2.1
  const std::string order = zip.read(*member);
  if (order != "little" && order != "big") fail(zip.path(), fmt::format("its byteorder is {}; little and big are read", in_quotes(order)));
  return order == "big";
}

// Limits the total size of all deflated storages by the size of the file: a few kilobytes must not unpack to gigabytes. (ZipReader::read limits
// each member.)
void check_unpacked(const TorchArchive& a) {
  constexpr std::uint64_t most = 64 << 20, ratio = 16;
  std::uint64_t total = 0;
  for (const auto& [index, member] : a.deflated)
    if (__builtin_add_overflow(total, member.size, &total)) total = ~std::uint64_t{0};
  if (total > most && total / ratio > a.file.size)
    fail(a.path, fmt::format("its deflated storages unpack to {} bytes, the file has {}, which may be a zip bomb: store them (zip -0)",
                             total, a.file.size));
}

// Finds the bytes of every storage that tensors use, and checks their sizes.
void find_storages(TorchArchive& a, const std::string& root) {
  std::unordered_map<std::string_view, const ZipMember*> members;
  for (const ZipMember& m : a.zip->members()) members.emplace(m.name, &m);
  a.data.resize(a.tree.storages.size());
  for (std::uint32_t i = 0; i < a.data.size(); ++i) {
    const PickledStorage& s = a.tree.storages[i];
    if (s.root || !s.type) continue;
    const std::string name = fmt::format("{}data/{}", root, s.key);
    const auto found = members.find(name);
    if (found == members.end())
      fail(a.path, fmt::format("damaged PyTorch checkpoint: the member {} is missing; copy or download it again", in_quotes(name)));
    const ZipMember& member = *found->second;
    const std::uint64_t size = std::uint64_t(s.numel) * size_of(*s.type);
    if (member.size != size)
      fail(a.path,
           fmt::format("damaged PyTorch checkpoint: {} has {} bytes where {} elements of torch.{} take {}; copy or download it again",
                       in_quotes(name), member.size, s.numel, one_line(s.type_name), size));
    if (member.method == 8)
      a.deflated.emplace(i, member);
    else
      a.data[i] = a.zip->view(member);
  }
  check_unpacked(a);
}

void open_zip(TorchArchive& a) {
  a.zip = std::make_unique<ZipReader>(a.path);
  const std::string root = find_root(*a.zip);
  if (a.zip->find(root + "constants.pkl"))
    fail(a.path,
         "a TorchScript archive (torch.jit.save), which is a program: load it with torch.jit.load and save its state_dict() with "
         "torch.save");
  const ZipMember& pickle = *a.zip->find(root + std::string(pickle_name));
  a.big_endian = is_big_endian(*a.zip, root);
  std::string_view bytes;
  if (pickle.method == 8) {
    a.unpacked_pickle = a.zip->read(pickle);
    bytes = a.unpacked_pickle;
  } else {
    a.zip->verify(pickle);
    bytes = a.zip->view(pickle);
  }
  a.tree = parse_pickle(bytes, a.path.string());
  find_storages(a, root);
}

}  // namespace

// ---- tensors ----------------------------------------------------------------------------------------------------------------------

Tensor TorchArchive::storage(std::uint32_t index, FileType type) const {
  Tensor& known = flat[{index, type}];
  if (known.defined()) return known;
  const PickledStorage& s = tree.storages[index];
  const std::size_t own = size_of(*s.type);
  const std::string place = path.string() + ": a tensor's storage";
  if (s.root) return known = storage(*s.root, type).slice(0, s.begin, s.begin + s.numel);  // only typed storages have parts
  const std::int64_t count = s.numel * std::int64_t(own) / std::int64_t(size_of(type));
  if (const auto packed = deflated.find(index); packed != deflated.end()) {
    const auto bytes = std::make_shared<std::string>(zip->read(packed->second));
    return known = read_elements({bytes, reinterpret_cast<std::byte*>(bytes->data())}, reinterpret_cast<const std::byte*>(bytes->data()),
                                 count, type, place, big_endian);
  }
  // Each storage has its own owner, so that tensors of different storages do not count as sharing memory.
  const std::string_view bytes = data[index];
  const std::shared_ptr<std::byte> owner =
      zip ? zip->owner_of(bytes)
          : file.part(std::size_t(bytes.data() - file.bytes().data()), std::size_t(bytes.data() + bytes.size() - file.bytes().data()));
  return known = read_elements(owner, reinterpret_cast<const std::byte*>(bytes.data()), count, type, place, big_endian);
}

Tensor TorchArchive::tensor(const PickledTensor& t, const std::string& name) const {
  if (!t.why.empty()) throw UnreadError(name.empty() ? path.string() + ": a tensor" : path.string() + ": " + name, t.why);
  return storage(t.storage, t.type).as_strided(t.shape, t.strides, t.offset);
}

TorchValue open_torch_file(const fs::path& path) {
  auto archive = std::make_shared<TorchArchive>();
  archive->path = path, archive->file = map_file(path);
  if (is_legacy_torch(archive->file.bytes()))
    open_legacy(*archive);
  else
    open_zip(*archive);
  const PickleTree::Id id = archive->tree.root;
  return {std::move(archive), id};
}

// ---- values -----------------------------------------------------------------------------------------------------------------------

const PickleTree& TorchValue::tree() const { return archive_->tree; }

PickleKind TorchValue::kind() const { return tree().kind(id_); }

void TorchValue::require(bool fits, const char* wanted) const {
  if (!fits) fail(archive_->path, fmt::format("{} was found where a {} is expected", with_article(describe()), wanted));
}

std::string TorchValue::describe() const {
  const PickleKind k = kind();
  if (k == PickleKind::dict) return fmt::format("dict of {}", size());
  if (k == PickleKind::opaque) return "object of " + one_line(tree().name(id_));
  if (k == PickleKind::name) return fmt::format("{} {}", name_of(k), one_line(tree().name(id_)));
  return name_of(k);
}

std::size_t TorchValue::size() const {
  const PickleKind k = kind();
  require(k == PickleKind::tuple || k == PickleKind::list || k == PickleKind::set || k == PickleKind::dict, "list or dict");
  return tree().items(id_).size() / (k == PickleKind::dict ? 2 : 1);
}

TorchValue TorchValue::item(std::size_t i) const {
  if (i >= size()) fail(archive_->path, fmt::format("there is no entry {} in a {} of {}", i, name_of(kind()), size()));
  return {archive_, tree().items(id_)[is(PickleKind::dict) ? 2 * i + 1 : i]};
}

TorchValue TorchValue::key(std::size_t i) const {
  require(is(PickleKind::dict), "dict");
  if (i >= size()) fail(archive_->path, fmt::format("there is no entry {} in a dict of {}", i, size()));
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

std::string TorchValue::why_unread() const {
  require(is(PickleKind::tensor), "tensor");
  return tree().tensors[std::size_t(tree().integer(id_))].why;
}

Tensor TorchValue::tensor() const {
  require(is(PickleKind::tensor), "tensor");
  return archive_->tensor(tree().tensors[std::size_t(tree().integer(id_))], "");
}

}  // namespace fm
