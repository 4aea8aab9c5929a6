// Tar files as shards of WebDataset, or an index of a shard if the bytes begin like one.
#include "data/tar_index.h"

#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const fm::fuzz::MemoryFile file;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (bytes.starts_with("fmtarix1")) {
    if (const auto index = fm::parse_tar_index(bytes); index && fm::tar_index_bytes(*index).size() != size) std::abort();
    return 0;
  }
  file.write(data, size);
  return fm::fuzz::accept_errors([&] {
    const fm::TarIndex index = fm::scan_tar(file.path());
    if (!fm::parse_tar_index(fm::tar_index_bytes(index))) std::abort();
  });
}
