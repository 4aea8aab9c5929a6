// Images in PNG and JPEG files.
#include "data/image_file.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return fm::fuzz::accept_errors([&] { fm::decode_image({data, size}, "x.png", 3); });
}
