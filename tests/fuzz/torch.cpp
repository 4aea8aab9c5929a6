// PyTorch checkpoints: an archive, the layout before PyTorch 1.6, or, for bytes that begin like neither, a pickle without an archive.
#include "tensor/io/torch_file.h"

#include "tests/fuzz/fuzz.h"

namespace {

void walk(const fm::TorchValue& value, int& left) {
  using fm::PickleKind;
  if (--left < 0) return;
  (void)value.describe();
  if (value.is(PickleKind::tensor) && value.why_unread().empty()) fm::fuzz::touch(value.tensor());
  if (value.is(PickleKind::tuple) || value.is(PickleKind::list) || value.is(PickleKind::dict) || value.is(PickleKind::set))
    for (std::size_t i = 0; i < value.size(); ++i) walk(value.item(i), left);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const fm::fuzz::MemoryFile file;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  return fm::fuzz::accept_errors([&] {
    if (!bytes.starts_with("PK") && !fm::is_legacy_torch(bytes)) {
      fm::parse_pickle(bytes, "x.pt");
      return;
    }
    file.write(data, size);
    const fm::TorchValue root = fm::open_torch_file(file.path());
    int left = 1000;
    walk(root, left);
    fm::torch_state_dict(root, "", "x.pt");
  });
}
