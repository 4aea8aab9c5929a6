// The networks that a recipe can name: the initial flow map from a teacher, and the costs printed by --dry-run.
#include "flowmap/training/chain/recipe.h"

#include <doctest/doctest.h>

#include "tensor/error.h"
#include "tests/support/error_of.h"
#include "tests/support/tensors.h"
#include "tests/support/text.h"

using namespace fm;
using namespace fm::test;

namespace {

Recipe mlp_recipe() {
  Recipe r;
  r.network.name = "mlp", r.space = "identity";
  r.network.of<FlowMlp>().width = 16, r.network.of<FlowMlp>().depth = 2;
  return r;
}

}  // namespace

TEST_CASE("an MLP's flow map is initially the teacher's velocity for every s") {
  const Recipe r = mlp_recipe();
  const Network teacher = r.network.make(false, 1), map = r.network.make(true, 2);
  const Tensor z = normal({5, 2}, 3, DType::f32), t = Tensor::from<float>({0.2f, 0.4f, 0.6f, 0.8f, 1.0f}, {5});
  CHECK(max_difference(evaluate(map.v(), z, t, {}), evaluate(teacher.v(), z, t, {})) > 1e-2);
  r.network.start(map, {"teacher.safetensors", teacher.state(), -1, nullptr});
  for (const double share : {0.0, 0.3, 1.0})
    CHECK(max_difference(evaluate(map.u(), z, t * share, t, {}), evaluate(teacher.v(), z, t, {})) < 1e-6);
}

TEST_CASE("weights of another size and unknown network names are refused") {
  Recipe r = mlp_recipe();
  const Network map = r.network.make(true, 2);
  Recipe wide = r;
  wide.network.of<FlowMlp>().width = 32;
  CHECK(error_of<FileError>([&] { r.network.start(map, {"wide.safetensors", wide.network.make(false, 1).state(), -1, nullptr}); }).find("wide.safetensors") !=
        std::string::npos);
  r.network.name = "transformer";
  CHECK(error_of<ConfigError>([&] { r.network.make(true, 1); }).find("'transformer'") != std::string::npos);
}

TEST_CASE("dit_size gives a network its published size, in a space without images too; a size of another network is refused") {
  Recipe r;
  r.network.name = "sit", r.space = "identity", r.dit_size = "B/4", r.data = "latents";
  r.classes = 7, r.sample_shape = {4, 16, 16};
  r.network.of<Dit>().recompute = true;
  r.resolve();
  const DitConfig& sit = r.network.of<Dit>();
  CHECK(sit.width == 768);
  CHECK(sit.depth == 12);
  CHECK(sit.patch_size == 4);
  CHECK(sit.input_size == 16);
  CHECK(sit.channels == 4);
  CHECK(sit.classes == 7);
  CHECK(sit.recompute);
  CHECK(r.network.size(true) == "DiT 768x12, patch 4, flow map u(z, s, t)");
  r.sample_shape = {4, 18, 18};
  CHECK(has(error_of<ConfigError>([&] { r.resolve(); }), "sit.patch_size 4 does not divide samples [4, 18, 18]"));
  r.sample_shape = {4, 16, 8};
  CHECK(has(error_of<ConfigError>([&] { r.resolve(); }), "network sit models samples [channels, side, side]; those of latents are [4, 16, 8]: set network = \"dit_dh\""));
  r.network.name = "dit_dh", r.sample_shape = {4, 16, 16};
  CHECK(has(error_of<ConfigError>([&] { r.resolve(); }), "DiT^DH: no size 'B/4'; the sizes are S, B, L, XL"));
  r.network.name = "mlp";
  CHECK(has(error_of<ConfigError>([&] { r.resolve(); }), "network mlp has no published sizes: leave dit_size = \"B/4\" out"));
}

TEST_CASE("the cost of a network counts its parameters and matrix products") {
  const Recipe r = mlp_recipe();
  const Network net = r.network.make(true, 1);
  std::int64_t values = 0;
  for (const NamedParameter& p : net.parameters()) values += p.parameter->value.numel();
  const NetworkCost cost = r.network.cost(true);
  CHECK(cost.all() == values);
  CHECK(cost.trained() == values);
  const double inputs = 2 + 2 * 2 * 8;                         // 2 values of z, and 8 sines and 8 cosines each of t and of t - s
  CHECK(cost.flops == 2 * (inputs * 16 + 16 * 16 + 16 * 2));
  CHECK(cost.activations(10, false).kept > 0);
  CHECK_FALSE(cost.recompute);
}
