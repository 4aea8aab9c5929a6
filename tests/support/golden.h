// The common format of the golden scripts in Python and the tests: numbers by name, and files of named rows.
#pragma once

#include <doctest/doctest.h>

#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "tensor/random/name_hash.h"

namespace fm::test {

// Number i of the sequence that belongs to a name, in [-1, 1), computed as draw() of tests/golden/{frechet,energy}.py: SplitMix64 of the name's hash.
inline double named_number(const std::string& name, std::int64_t i) {
  std::uint64_t z = name_hash(name) + (static_cast<std::uint64_t>(i) + 1) * 0x9E3779B97F4A7C15u;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
  z = (z ^ z >> 27) * 0x94D049BB133111EBu;
  z ^= z >> 31;
  return 2 * (static_cast<double>(z >> 40) / 0x1p24) - 1;
}

// A file of lines "name number number ...".
inline std::map<std::string, std::vector<double>> golden_rows(const std::string& file) {
  std::map<std::string, std::vector<double>> found;
  std::ifstream in(file);
  REQUIRE_MESSAGE(in.good(), file);
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string name;
    words >> name;
    for (double v; words >> v;) found[name].push_back(v);
  }
  return found;
}

}  // namespace fm::test
