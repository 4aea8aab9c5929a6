// Helpers for tests of whole models: the fill rule of the golden numbers, frozen lists of names, differences.
#pragma once

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "nn/module.h"
#include "tensor/ops/elementwise.h"
#include "tests/support/element_hash.h"
#include "tests/support/tensors.h"
#include "tests/support/text.h"

namespace fm::test {

// Sets element i of stored tensor number o to 0.08 sin(0.7 (i+1) + 0.31 o). 1 is added in weights of norms and in layer scales; for the frozen
// frequencies W the factor is 1, not 0.08. Tables of positions keep their values.
//
// `skipped(name)`: how many stored tensors of the published model, which the model here does not have, stand before this one.
template <class M, class F> void fill_by_rule(M& model, F&& skipped) {
  int o = -1;
  for_each_tensor(model, [&](const std::string& name, Tensor& t) {
    o += 1 + skipped(name);
    if (has(name, "pos_embed") || has(name, "freqs_")) return;
    const double scale = name.ends_with(".W") ? 1 : 0.08;
    const double base = (has(name, "norm") && name.ends_with("weight")) || name.ends_with("lambda1") ? 1 : 0;
    std::vector<float> values(static_cast<std::size_t>(t.numel()));
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] = static_cast<float>(base + scale * std::sin(0.7 * static_cast<double>(i + 1) + 0.31 * o));
    t.copy_from(Tensor::from(values, t.shape()));
  });
}
template <class M> void fill_by_rule(M& model) {
  fill_by_rule(model, [](const std::string&) { return 0; });
}

// Rule B: numbers of the hash of tensor and element, with the deviation 1/sqrt(fan-in) in weights, so that all layers matter and f32 is well conditioned. Tables of positions keep
// their values, but have a number.
template <class M> void fill_by_rule_b(M& model) {
  std::uint64_t o = 0;
  for_each_tensor(model, [&](const std::string& name, Tensor& t) {
    const std::uint64_t number = o++;
    if (has(name, "pos_embed")) return;
    const bool of_norm = has(name, "norm") && name.ends_with("weight");
    const double fan = static_cast<double>(t.numel()) / static_cast<double>(t.dim(0)), scale = of_norm ? 0.5 : t.rank() == 1 ? 0.2 : std::sqrt(12 / fan);
    std::vector<float> values(static_cast<std::size_t>(t.numel()));
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] = static_cast<float>((of_norm ? 1 : 0) + scale * (static_cast<double>(hash_of_element(number, i) >> 40) / 0x1p24 - 0.5));
    t.copy_from(Tensor::from(values, t.shape()));
  });
}

// 1.5 sin(0.05 (i+1)), the input of the golden numbers.
inline Tensor golden_input(const Shape& shape) {
  std::vector<float> values(static_cast<std::size_t>(shape.numel()));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = 1.5f * static_cast<float>(std::sin(0.05 * static_cast<double>(i + 1)));
  return Tensor::from(values, shape);
}

// A smooth tensor with values of order 1, different for each seed.
inline Tensor wave(const Shape& shape, double seed, DType dtype = DType::f64) {
  const Tensor i = Tensor::arange(shape.numel(), DType::f64);
  return (sin(i * 1.3 + seed) + cos(i * (0.41 * seed)) * 0.3).reshape(shape).to(dtype);
}

// Compares the sums and a few elements of an output with printed numbers.
struct Golden {
  double sum, abs_sum;
  std::vector<double> first, last;
};
inline void check_golden(const Tensor& y, const Golden& g, double sum_tolerance, double tolerance) {
  const auto v = y.to_vector<double>();
  double sum = 0, abs_sum = 0;
  for (const double x : v) sum += x, abs_sum += std::abs(x);
  CHECK(std::abs(sum - g.sum) < sum_tolerance);
  CHECK(std::abs(abs_sum - g.abs_sum) < sum_tolerance);
  for (std::size_t i = 0; i < g.first.size(); ++i) CHECK(std::abs(v[i] - g.first[i]) < tolerance);
  for (std::size_t i = 0; i < g.last.size(); ++i) CHECK(std::abs(v[v.size() - g.last.size() + i] - g.last[i]) < tolerance);
}

// Checks that "name [shape]" of all stored tensors are the lines of tests/nn/names/<file>: tensors in checkpoints of earlier versions are looked up
// by these names. FM_WRITE_NAMES=1 in the environment first writes the file, for an intended change.
template <class M> void check_names(const M& model, const std::string& file) {
  const std::string path = std::string(FM_TESTS_FOLDER) + "/nn/names/" + file;
  if (std::getenv("FM_WRITE_NAMES")) {
    std::ofstream out(path);
    for (const auto& [name, tensor] : state_dict(model)) out << name << " " << to_string(tensor.shape()) << "\n";
  }
  std::ifstream in(path);
  REQUIRE_MESSAGE(in.good(), "no " << file);
  for (const auto& [name, tensor] : state_dict(model)) {
    std::string line;
    std::getline(in, line);
    CHECK(line == name + " " + to_string(tensor.shape()));
  }
  std::string rest;
  CHECK_FALSE(std::getline(in, rest));
}

// Gives every trained parameter values of wave(), so that none starts at zero.
template <class M> void shake(M& model, double scale = 0.3) {
  double seed = 0.5;
  for_each_parameter(model, [&](const std::string& name, Parameter& p) {
    if (!p.trainable) return;
    const Tensor noise = wave(p.value.shape(), seed += 0.37, p.value.dtype());
    std::vector<double> v = noise.to_vector<double>();
    const double base = has(name, "norm") && name.ends_with("weight") ? 1 : 0;
    for (double& x : v) x = base + scale * x;
    p.value.copy_from(Tensor::from(v, p.value.shape()));
  });
}

}  // namespace fm::test
