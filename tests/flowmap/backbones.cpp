// Every network of the list, through the interface that trainings use: declared costs against actual ones, the start of a flow map from a
// teacher's weights, and errors for weights and samples that do not fit.
#include "flowmap/training/backbones.h"

#include <doctest/doctest.h>

#include <set>

#include "flowmap/objective/flow_matching.h"
#include "flowmap/objective/mean_flow.h"
#include "tensor/memory/allocator.h"
#include "tests/support/error_of.h"
#include "tests/support/near.h"
#include "tests/support/recorded_products.h"
#include "tests/support/tensors.h"
#include "tests/support/text.h"

using namespace fm;
using namespace fm::test;

namespace {

constexpr std::int64_t classes = 5;
const Shape sample{48, 8, 8};

// The config of the network `name` for these samples. The transformers are made small, because their defaults are for images of 256 pixels.
NetworkConfig config_of(const std::string& name) {
  NetworkConfig c;
  c.name = name;
  DitDhConfig& dit = c.of<DitDh>();
  dit.width = 96, dit.depth = 4, dit.heads = 4, dit.head_width = 160, dit.head_heads = 4;
  DitConfig& sit = c.of<Dit>();
  sit.width = 96, sit.depth = 4, sit.heads = 4;
  c.fit({sample, classes, "a test"});
  return c;
}

Batch batch_of(std::int64_t rows) {
  const Samples samples = consecutive(0, rows);
  return {random_normal_rows(samples, sample, {1, 1}), Tensor::full({rows}, 2, DType::i64), Draws{1, 0, samples}};
}

void fill_at_random(const Network& network, std::uint64_t seed) {
  std::uint32_t number = 0;
  for (const NamedParameter& p : network.parameters()) p.parameter->value.copy_from(random_normal(p.parameter->value.shape(), {seed, ++number}) * 0.1);
}

}  // namespace

TEST_CASE("the list contains each network under one name and one section") {
  const std::vector<std::string> names = backbone_names();
  CHECK(names.front() == "dit_dh");                            // the default of configs without the key `network`
  std::set<std::string> sections;
  for (const std::string& name : names) sections.insert(config_of(name).section());
  CHECK(sections.size() == names.size());
  NetworkConfig wrong;
  wrong.name = "unet";
  CHECK(error_of<ConfigError>([&] { wrong.make(true, 1); }).starts_with("there is no network 'unet': known are dit_dh, mlp"));
}

TEST_CASE("a network's cost has its number of parameters and the products that a tape records") {
  for (const std::string& name : backbone_names())
    for (const bool two_times : {false, true}) {
      CAPTURE(name);
      CAPTURE(two_times);
      const NetworkConfig config = config_of(name);
      const Network network = config.make(two_times, 1);
      CHECK(network.two_times() == two_times);
      const NetworkCost cost = config.cost(two_times);
      std::int64_t all = 0, trained = 0;
      for (const NamedParameter& p : network.parameters()) all += p.parameter->value.numel(), trained += p.parameter->trainable ? p.parameter->value.numel() : 0;
      CHECK(cost.all() == all);
      CHECK(cost.trained() == trained);
      const Batch b = batch_of(1);
      const Tensor t = Tensor::full({1}, 0.7), s = Tensor::full({1}, 0.2);
      Tape tape;
      const Var out = two_times ? network.u()(b.z0, s, t, b.y) : network.v()(b.z0, t, b.y);
      CHECK(out.shape() == b.z0.shape());
      const Macs macs = recorded_products(tape.to_string());
      CHECK(cost.flops == 2 * static_cast<double>(macs.linear + macs.attention));
    }
}

TEST_CASE("the predicted memory of a step is within 5 % of the measured memory") {
  constexpr std::int64_t rows = 16;
  for (const std::string& name : backbone_names())
    for (const bool two_times : {false, true}) {
      CAPTURE(name);
      CAPTURE(two_times);
      const NetworkConfig config = config_of(name);
      const Network network = config.make(two_times, 1);
      const Batch b = batch_of(rows);
      const LabelDropout labels{0.1, classes};
      const std::size_t before = memory_stats().live;
      Tape tape;
      const Nets nets{.net = network.u()};
      const Var loss = two_times ? loss_on(MeanFlowConfig{.labels = labels}, nets, b).loss : loss_on(FlowMatchingConfig{.labels = labels}, nets, b).loss;
      const double kept = static_cast<double>(memory_stats().live - before);
      CHECK(near(static_cast<double>(config.cost(two_times).activations(rows, false).kept), kept, 0.05));
    }
}

TEST_CASE("a flow map starts from its teacher's weights; except in DiT^DH, s has no effect at first") {
  for (const std::string& name : backbone_names()) {
    CAPTURE(name);
    const NetworkConfig config = config_of(name);
    const Network teacher = config.make(false, 1), map = config.make(true, 2);
    fill_at_random(teacher, 7);
    config.start(map, {"teacher.safetensors", teacher.state(), -1, nullptr});
    const Batch b = batch_of(4);
    const Tensor t = Tensor::from<float>({0.2f, 0.4f, 0.7f, 1.0f}, {4});
    const Tensor v = evaluate(teacher.v(), b.z0, t, b.y);
    CHECK(max(abs(v.reshape({-1})), 0).item() > 1e-2);
    if (name == "dit_dh") continue;                            // its embedding of t - s is not set to 0, as in the published code, so u differs from v
    for (const double share : {0.0, 0.5, 1.0}) CHECK(max_difference(evaluate(map.u(), b.z0, t * share, t, b.y), v) < 1e-5);
  }
}

TEST_CASE("weights of another size are refused with the file's name; unsuitable samples and settings are refused") {
  for (const std::string& name : backbone_names()) {
    CAPTURE(name);
    const NetworkConfig config = config_of(name);
    NetworkConfig other = config;
    other.fit({Shape{24, 8, 8}, classes, "a test"});
    CHECK(has(error_of<FileError>([&] { config.start(config.make(true, 1), {"other.safetensors", other.make(true, 1).state(), -1, nullptr}); }), "other.safetensors"));
    const Network loaded = config.load(true, {"own.safetensors", config.make(true, 3).clone().state(), -1, nullptr});
    for (const NamedParameter& p : loaded.parameters()) CHECK(!p.parameter->trainable);
    CHECK(config.precision() == "f32");
    CHECK(loaded.in_f64().state().front().second.dtype() == DType::f64);
    CHECK(loaded.state().front().second.dtype() == DType::f32);
  }
  NetworkConfig mlp = config_of("mlp"), dit = config_of("dit_dh");
  CHECK(has(error_of<ConfigError>([&] { mlp.set_precision("bf16"); }), "network mlp computes only in f32"));
  dit.set_precision("bf16");
  CHECK(dit.make(true, 1).precision() == "bf16");
  CHECK(has(error_of<ConfigError>([&] { dit.fit({Shape{2}, classes, "points"}); }), "those of points are [2]: set network"));
  CHECK(has(error_of<ConfigError>([&] { dit.fit({sample, 0, "points"}); }), "takes labels"));
  CHECK(dit.decides("dit.width"));
  CHECK(!dit.decides("dit.precision"));
  CHECK(!dit.decides("mlp.width"));                            // a setting of another network has no effect
}
