// Reads the header of a safetensors file, then every tensor.
#include "tensor/io/safetensors.h"

#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const fm::fuzz::MemoryFile file;
  file.write(data, size);
  return fm::fuzz::accept_errors([&] {
    for (const auto& [name, t] : fm::Safetensors(file.path()).tensors()) fm::fuzz::touch(t);
  });
}
