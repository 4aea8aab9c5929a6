// The random stream of a name: FNV-1a, 64 bits (Fowler, Noll, Vo; draft-eastlake-fnv).
#pragma once

#include <cstdint>
#include <string_view>

namespace fm {

constexpr std::uint64_t name_hash(std::string_view name) {
  std::uint64_t h = 14695981039346656037u;
  for (const char c : name) h = (h ^ static_cast<unsigned char>(c)) * 1099511628211u;
  return h;
}

}  // namespace fm
