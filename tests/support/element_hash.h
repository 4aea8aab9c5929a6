// The hash behind fills that a Python script can repeat.
#pragma once

#include <cstdint>

namespace fm::test {

// splitmix64 of tensor and element.
inline std::uint64_t hash_of_element(std::uint64_t tensor, std::uint64_t element) {
  std::uint64_t z = (tensor << 32) + element + 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

}  // namespace fm::test
