// NumPy files: a .npz, or a .npy if the bytes do not begin like a .npz.
#include "tensor/io/npy.h"

#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const fm::fuzz::MemoryFile file;
  file.write(data, size);
  return fm::fuzz::accept_errors([&] {
    if (size < 2 || data[0] != 'P') return fm::fuzz::touch(fm::read_npy(file.path()));
    const fm::NpzReader npz(file.path());
    for (const std::string& name : npz.names()) fm::fuzz::touch(npz.read(name));
  });
}
