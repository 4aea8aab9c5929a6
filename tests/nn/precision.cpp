// Models whose blocks compute in bf16: value, tangent and gradients against the same models in f32, with weights stored as f32 or as bf16.
#include "nn/precision.h"

#include "autodiff/jvp.h"
#include "autodiff/rules/elementwise.h"
#include "nn/models/vit_encoder.h"
#include "nn/models/dit_dh.h"
#include "nn/models/rae_decoder.h"
#include "tensor/random/fill.h"
#include "tests/support/model_check.h"

using namespace fm;
using namespace fm::test;

namespace {

DitDhConfig dit_config() {
  DitDhConfig c;
  c.input_size = 4, c.channels = 24, c.classes = 10;
  c.width = 64, c.depth = 4, c.heads = 4;
  c.head_width = 96, c.head_depth = 2, c.head_heads = 3;
  c.mean_flow = true;
  return c;
}

const Tensor x = wave({3, 24, 4, 4}, 1, DType::f32), direction = wave({3, 24, 4, 4}, 2, DType::f32);
const Tensor s = Tensor::from<float>({0.1f, 0.3f, 0.6f}, {3}), t = Tensor::from<float>({0.8f, 0.5f, 0.9f}, {3});
const Tensor labels = Tensor::from<std::int64_t>({3, 10, 0}, {3});

// Returns a copy of the model with the same weights, whose blocks compute in bf16.
template <class M> M in_bf16(const M& model) {
  M copy = clone(model);
  copy.config.precision = "bf16";
  return copy;
}

// A network similar to a trained one: the published initial values, but normal random numbers in place of zeros (modulations, the last layer).
DitDh trained_like(const DitDhConfig& c) {
  DitDh net(c, 1);
  for_each_parameter(net, [](const std::string& name, Parameter& p) {
    if (name.find("adaLN") == std::string::npos && !name.starts_with("final_layer.linear")) return;
    const double deviation = p.value.rank() == 2 ? 1 / std::sqrt(static_cast<double>(p.value.dim(1))) : 0.2;
    p.value.copy_from(random_normal(p.value.shape(), {.seed = 5}) * deviation);
  });
  return net;
}

double relative(const Tensor& got, const Tensor& want) { return norm(got - want) / norm(want); }

}  // namespace

TEST_CASE("DiT^DH in bf16: value and tangent stay within bf16's rounding of f32, and outputs are f32") {
  const DitDh net = trained_like(dit_config());
  const DitDh half = in_bf16(net);
  const auto run = [&](const DitDh& m) {
    return jvp([&](const Var& z, const Var& a, const Var& b) { return m(z, a, b, labels); }, at(x, s, t), along(direction, zero, 1.0));
  };
  const auto [u, du] = run(net);
  const auto [u16, du16] = run(half);
  CHECK(u16.dtype() == DType::f32);
  CHECK(du16.dtype() == DType::f32);
  CHECK(relative(u16.value(), u.value()) < 2e-2);
  CHECK(relative(du16, du) < 4e-2);
  CHECK(relative(u16.value(), u.value()) > 1e-5);                          // the model did compute in bf16
}

TEST_CASE("DiT^DH in bf16: gradients are f32 and agree with those of the f32 model") {
  for (const bool recompute : {false, true}) {
    DitDhConfig c = dit_config();
    c.recompute = recompute;
    const DitDh net = trained_like(c);
    const DitDh half = in_bf16(net);
    const auto gradients = [&](const DitDh& m) {
      Tape tape;
      return backward(mean(square(m(x, s, t, labels))));
    };
    const Gradients g = gradients(net), g16 = gradients(half);
    std::vector<std::pair<std::string, const Parameter*>> own;
    for_each_parameter(net, [&](const std::string& name, const Parameter& p) { own.emplace_back(name, &p); });
    std::size_t i = 0;
    double error = 0, size = 0;
    for_each_parameter(half, [&](const std::string& name, const Parameter& p) {
      const Parameter& wide = *own[i++].second;
      if (!p.trainable) return;
      REQUIRE_MESSAGE(g16[p].defined(), name);
      CHECK_MESSAGE(g16[p].dtype() == DType::f32, name);
      const double e = norm(g16[p] - g[wide]), n = norm(g[wide]);
      CHECK_MESSAGE(e < 0.15 * n, name);
      error += e * e, size += n * n;
    });
    CHECK(std::sqrt(error / size) < 3e-2);
  }
}

TEST_CASE("weights stored as bf16 give the same bits as f32 weights that products round") {
  const DitDh half = in_bf16(trained_like(dit_config()));
  DitDh stored = clone(half);
  store_weights_as_bf16(stored);
  CHECK(stored.blocks[0].attn.qkv.weight.value.dtype() == DType::bf16);
  CHECK(stored.x_embedder.weight.value.dtype() == DType::bf16);
  CHECK(stored.blocks[0].attn.qkv.bias.value.dtype() == DType::f32);
  CHECK(stored.blocks[0].norm1.weight.value.dtype() == DType::f32);
  CHECK(stored.t_embedder.first.weight.value.dtype() == DType::f32);
  CHECK(stored.y_embedder.table.value.dtype() == DType::f32);
  CHECK(max_difference(half(x, s, t, labels).value(), stored(x, s, t, labels).value()) == 0);
}

TEST_CASE("RAE's encoder and decoder in bf16 stay within bf16's rounding of f32, and outputs are f32") {
  VitEncoderConfig ec;
  ec.image_size = 28, ec.patch_size = 7, ec.width = 48, ec.depth = 3, ec.heads = 4, ec.mlp_width = 96;
  const Tensor image = wave({2, 3, 28, 28}, 3, DType::f32);
  const VitEncoder encoder(ec, 2);
  const Var z = encoder(image), z16 = in_bf16(encoder)(image);
  CHECK(z16.dtype() == DType::f32);
  CHECK(relative(z16.value(), z.value()) < 2e-2);

  RaeDecoderConfig dc;
  dc.latent_channels = 48, dc.latent_size = 4, dc.width = 64, dc.depth = 3, dc.heads = 4, dc.mlp_width = 128, dc.patch_size = 4;
  const RaeDecoder decoder(dc, 3);
  const Var y = decoder(z), y16 = in_bf16(decoder)(z);
  CHECK(y16.dtype() == DType::f32);
  CHECK(relative(y16.value(), y.value()) < 2e-2);
}
