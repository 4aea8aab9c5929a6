// The matrix products on a tape, for tests of models' declared costs.
#pragma once

#include <doctest/doctest.h>

#include <cstdint>
#include <map>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

namespace fm::test {

struct Macs {
  std::int64_t linear = 0, attention = 0;
};

inline std::vector<std::int64_t> numbers(const std::string& text) {
  std::vector<std::int64_t> out;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, ',');) out.push_back(std::stoll(part));
  return out;
}

inline std::int64_t product(const std::vector<std::int64_t>& v) {
  std::int64_t p = 1;
  for (const std::int64_t n : v) p *= n;
  return p;
}

// Counts the multiplications in a printed tape, "%5 = linear[1, 25, 20] (%3, %4, const)". Each output element of a linear layer or
// a convolution costs as many multiplications as its weight has elements for each output channel.
inline Macs recorded_products(const std::string& tape) {
  const std::regex line(R"(^%(\d+) = (\w+)\[([\d, ]*)\] \((?:%\d+|const)?(?:, %(\d+))?.*$)");
  std::map<std::string, std::vector<std::int64_t>> shapes;
  Macs macs;
  std::istringstream in(tape);
  for (std::string text; std::getline(in, text);) {
    std::smatch m;
    if (!std::regex_match(text, m, line)) continue;
    const std::vector<std::int64_t> shape = shapes[m[1]] = numbers(m[3]);
    if (m[2] == "linear")
      macs.linear += product(shape) * shapes.at(m[4]).back();
    else if (m[2] == "conv2d")
      macs.linear += product(shape) * product(shapes.at(m[4])) / shapes.at(m[4]).front();
    else if (m[2] == "attention")
      macs.attention += 2 * product(shape) * shape[2];  // (B,H,N,dh)
    else if (m[2] == "attention_qkv")
      macs.attention += 2 * product(shape) * shape[1];  // (B,N,C)
    else
      CHECK(m[2] != "matmul");
  }
  return macs;
}

}  // namespace fm::test
