// Zip files of images with a dataset.json. Bytes that begin with a brace are a dataset.json without a zip file.
#include "data/zip_pictures.h"

#include "data/dataset_json.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const fm::fuzz::MemoryFile file;
  return fm::fuzz::accept_errors([&] {
    if (size > 0 && data[0] == '{') {
      const auto name = [](std::int64_t i) { return std::string_view(i == 0 ? "a" : "b"); };
      (void)fm::read_dataset_json({reinterpret_cast<const char*>(data), size}, "j", 2, name);
      return;
    }
    file.write(data, size);
    const auto store = fm::zip_store(file.path());
    for (std::int64_t i = 0; i < store->count(); ++i) (void)store->bytes(i), (void)store->member(i);
  });
}
