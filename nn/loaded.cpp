#include "nn/loaded.h"

#include <fmt/format.h>

#include <set>

#include "tensor/io/crc32c.h"

namespace fm {

std::string checksum(const NamedTensors& tensors) {
  std::uint32_t crc = 0;
  for (const auto& [name, t] : tensors) {
    const Tensor x = t.contiguous().to(Device{});
    crc = crc32c(name + to_string(x.shape()), crc);
    crc = crc32c({static_cast<const char*>(x.raw()), x.bytes()}, crc);
  }
  return fmt::format("{:08x}", crc);
}

std::string loaded_line(const std::string& role, const std::string& size, const StateDict& state, const LoadedFrom& from) {
  std::int64_t elements = 0;
  std::set<std::string> types;
  for (const auto& [name, t] : state) elements += t.numel(), types.insert(name_of(t.dtype()));
  return fmt::format("{}: {}, {} numbers in {}, {}checksum {}, {}{}", role, size, elements, fmt::join(types, " and "),
                     from.step < 0 ? "" : fmt::format("step {}, ", from.step), checksum(state), from.file, from.read_as.empty() ? "" : "; " + from.read_as);
}

}  // namespace fm
