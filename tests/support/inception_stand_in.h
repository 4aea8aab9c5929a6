// A file of FID's Inception with the values of hash_fill.h, and images as its preparations take them.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "nn/models/inception.h"
#include "tests/support/hash_fill.h"

namespace fm::test {

// Names and shapes of the published file, without counters: 472.
inline std::vector<std::pair<std::string, Shape>> inception_file_shapes() {
  const ShapesOnly shapes;
  const Inception net;
  std::vector<std::pair<std::string, Shape>> out;
  for (const auto& [name, t] : state_dict(net)) {
    if (name.starts_with("fc.")) out.emplace_back(name, t.shape());
    if (t.rank() != 4) continue;
    const std::string conv = name.substr(0, name.rfind('.'));
    out.emplace_back(conv + ".conv.weight", t.shape());
    for (const char* of_norm : {".bn.weight", ".bn.bias", ".bn.running_mean", ".bn.running_var"}) out.emplace_back(conv + of_norm, Shape{t.dim(0)});
  }
  return out;
}

inline NamedTensors inception_stand_in() {
  NamedTensors out;
  for (const auto& [name, shape] : inception_file_shapes()) out.emplace_back(name, hash_fill(name, shape));
  return out;
}

// The same without values: all elements 0 in one place of memory, variances 1.
inline NamedTensors inception_blank() {
  NamedTensors out;
  for (const auto& [name, shape] : inception_file_shapes()) out.emplace_back(name, Tensor::full(Shape::filled(shape.rank(), 1), name.ends_with("running_var") ? 1 : 0).expand(shape));
  return out;
}

// Image m of hash_fill.h as u8 (1,3,side,side).
inline Tensor hash_picture(int m, std::int64_t side) {
  return Tensor::from(hash_image(m, side, side), {1, side, side, 3}).permute({0, 3, 1, 2}).contiguous();
}

}  // namespace fm::test
