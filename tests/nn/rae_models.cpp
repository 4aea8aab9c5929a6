// The RAE decoder and the encoders: golden numbers, names and counts of published checkpoints, and a naive encoder in f64.
#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/linear.h"
#include "nn/layers/positions.h"
#include "nn/models/presets.h"
#include "tests/support/model_check.h"
#include "tests/support/near.h"
#include "tensor/ops/resize.h"

using namespace fm;
using namespace fm::test;

namespace {

RaeDecoderConfig tiny_decoder() {
  RaeDecoderConfig c;
  c.latent_channels = 8, c.latent_size = 4;
  c.width = 16, c.depth = 2, c.heads = 2, c.mlp_width = 24, c.patch_size = 2;
  return c;
}

VitEncoderConfig tiny_encoder(bool affine_norm, const char* kind = "dinov2") {
  VitEncoderConfig c;
  c.kind = kind;
  c.image_size = 20, c.patch_size = 4, c.width = 12, c.depth = 2, c.heads = 2, c.mlp_width = 20, c.registers = 3;
  c.affine_norm = affine_norm;
  return c;
}

// A naive encoder: loops over one image.
struct Naive {
  std::int64_t tokens, width;
  std::vector<double> h;

  static std::vector<double> values(const Parameter& p) { return p.value.to_vector<double>(); }

  static std::vector<double> dense(const std::vector<double>& x, std::int64_t n, const Linear& l) {
    const auto w = values(l.weight), b = values(l.bias);
    const std::int64_t out = l.weight.value.dim(0), in = l.weight.value.dim(1);
    std::vector<double> y(static_cast<std::size_t>(n * out));
    for (std::int64_t i = 0; i < n; ++i)
      for (std::int64_t o = 0; o < out; ++o) {
        double sum = b[static_cast<std::size_t>(o)];
        for (std::int64_t k = 0; k < in; ++k) sum += w[static_cast<std::size_t>(o * in + k)] * x[static_cast<std::size_t>(i * in + k)];
        y[static_cast<std::size_t>(i * out + o)] = sum;
      }
    return y;
  }

  std::vector<double> normed(const LayerNorm& norm) const {
    std::vector<double> y = h;
    for (std::int64_t i = 0; i < tokens; ++i) {
      double* row = y.data() + i * width;
      double mean = 0, variance = 0;
      for (std::int64_t c = 0; c < width; ++c) mean += row[c] / static_cast<double>(width);
      for (std::int64_t c = 0; c < width; ++c) variance += (row[c] - mean) * (row[c] - mean) / static_cast<double>(width);
      for (std::int64_t c = 0; c < width; ++c) {
        row[c] = (row[c] - mean) / std::sqrt(variance + norm.eps);
        if (norm.weight.value.defined())
          row[c] = row[c] * values(norm.weight)[static_cast<std::size_t>(c)] + values(norm.bias)[static_cast<std::size_t>(c)];
      }
    }
    return y;
  }

  std::vector<double> attended(const std::vector<double>& x, const VitAttention& a) const {
    const auto q = dense(x, tokens, a.query), k = dense(x, tokens, a.key), v = dense(x, tokens, a.value);
    const std::int64_t dh = width / a.heads;
    std::vector<double> y(x.size());
    const auto at = [&](const std::vector<double>& m, std::int64_t token, std::int64_t channel) {
      return m[static_cast<std::size_t>(token * width + channel)];
    };
    for (std::int64_t head = 0; head < a.heads; ++head)
      for (std::int64_t i = 0; i < tokens; ++i) {
        std::vector<double> p;
        double total = 0;
        for (std::int64_t j = 0; j < tokens; ++j) {
          double score = 0;
          for (std::int64_t c = head * dh; c < (head + 1) * dh; ++c)
            score += at(q, i, c) * at(k, j, c) / std::sqrt(static_cast<double>(dh));
          p.push_back(std::exp(score));
          total += p.back();
        }
        for (std::int64_t c = head * dh; c < (head + 1) * dh; ++c)
          for (std::int64_t j = 0; j < tokens; ++j)
            y[static_cast<std::size_t>(i * width + c)] += p[static_cast<std::size_t>(j)] / total * at(v, j, c);
      }
    return dense(y, tokens, a.output);
  }

  void add(const std::vector<double>& y, const Parameter& scale) {
    const auto s = scale.value.defined() ? values(scale) : std::vector<double>(static_cast<std::size_t>(width), 1.0);
    for (std::size_t i = 0; i < h.size(); ++i) h[i] += s[i % static_cast<std::size_t>(width)] * y[i];
  }

  void layer(const VitEncoderLayer& l) {
    add(attended(normed(l.norm1), l.attention), l.scale1);
    auto hidden = dense(normed(l.norm2), tokens, l.mlp.fc1);
    const bool by_tanh = l.kind == "siglip2";
    const double root = std::sqrt(2 / M_PI);
    for (double& v : hidden) v *= 0.5 * (1 + (by_tanh ? std::tanh(root * (v + 0.044715 * v * v * v)) : std::erf(v / std::sqrt(2.0))));
    add(dense(hidden, tokens, l.mlp.fc2), l.scale2);
  }
};

// One image (1,3,H,W) f64 -> all tokens after the last norm.
std::vector<double> naive_encode(const VitEncoder& net, const Tensor& image) {
  const VitEncoderConfig& c = net.config;
  const std::int64_t p = c.patch_size, rows = image.dim(2) / p, columns = image.dim(3) / p, d = c.width, grid = c.image_size / p;
  const std::int64_t extra = c.kind == "siglip2" ? 0 : c.kind == "mae" ? 1 : 1 + c.registers, cls_rows = c.kind == "siglip2" ? 0 : 1;
  Naive naive{extra + rows * columns, d, {}};
  const auto positions = Naive::values(net.position_table);
  if (cls_rows) {
    const auto cls = Naive::values(net.cls_token);
    for (std::int64_t k = 0; k < d; ++k) naive.h.push_back(cls[static_cast<std::size_t>(k)] + positions[static_cast<std::size_t>(k)]);
  }
  if (extra > 1) {
    const auto registers = Naive::values(net.register_tokens);
    naive.h.insert(naive.h.end(), registers.begin(), registers.end());
  }
  const auto w = Naive::values(net.patch_embed.weight), b = Naive::values(net.patch_embed.bias), x = image.to_vector<double>();
  const auto interpolation = c.kind == "dinov2" ? Interpolation::bicubic_antialias : Interpolation::bicubic;
  const Resampling down = resampling(grid, rows, interpolation), across = resampling(grid, columns, interpolation);
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t j = 0; j < columns; ++j)
      for (std::int64_t k = 0; k < d; ++k) {
        double sum = b[static_cast<std::size_t>(k)];
        for (std::int64_t e = 0; e < 3 * p * p; ++e) {
          const std::int64_t channel = e / (p * p), y = i * p + e / p % p, z = j * p + e % p;
          sum += w[static_cast<std::size_t>(k * 3 * p * p + e)] * x[static_cast<std::size_t>((channel * rows * p + y) * columns * p + z)];
        }
        for (std::int64_t g = 0; g < grid * grid; ++g)
          sum += down.weight(i, g / grid) * across.weight(j, g % grid) * positions[static_cast<std::size_t>((cls_rows + g) * d + k)];
        naive.h.push_back(sum);
      }
  for (const VitEncoderLayer& l : net.layers) naive.layer(l);
  return naive.normed(net.norm);
}

}  // namespace

TEST_CASE("decoder: agrees with golden numbers of the published code, in f32 and f64") {
  RaeDecoder net(tiny_decoder());
  fill_by_rule(net);
  const Tensor tokens = golden_input({2, 8, 4, 4}).reshape({2, 8, 16}).transpose(1, 2).contiguous();
  const Golden golden{-2.5947590, 131.2136383,
                      {-0.039774, -0.442332, -0.109206, -0.110696, -0.135438, 0.112839, -0.122632, 0.105155},
                      {-0.056477, 0.566002, 0.136354, 0.440602, 0.240288, 0.352480, 0.209692, 0.359210}};
  check_golden(net(tokens).value(), golden, 1e-4, 2e-6);
  to_dtype(net, DType::f64);
  check_golden(net(tokens.to(DType::f64)).value(), golden, 2e-5, 1e-6);
  CHECK_THROWS_AS(net(tokens.slice(1, 0, 9)), ShapeError);
}

TEST_CASE("decoder: numbers of parameters, names and initial values are the published ones") {
  {
    const ShapesOnly shapes;
    CHECK(parameter_count(RaeDecoder(rae_decoder("B"))) == 86435328);
    CHECK(parameter_count(RaeDecoder(rae_decoder("L"))) == 304150272);
    CHECK(parameter_count(RaeDecoder(rae_decoder("XL"))) == 415352704);
    CHECK(parameter_count(RaeDecoder(rae_decoder("B", 512))) == 87025152);
    CHECK(parameter_count(RaeDecoder(rae_decoder("L", 512))) == 304936704);
    CHECK(parameter_count(RaeDecoder(rae_decoder("XL", 512))) == 416237440);
    CHECK(state_dict(RaeDecoder(rae_decoder("XL"))).size() == 456);
  }
  const RaeDecoder net(tiny_decoder(), 1);
  check_names(net, "rae_decoder.txt");
  CHECK(norm(net.cls_token.value) == 0);
  CHECK(norm(net.positions.value.slice(1, 0, 1)) == 0);
  CHECK(norm(net.positions.value) > 1);
}

TEST_CASE("decoder: every parameter gets a gradient") {
  RaeDecoder net(tiny_decoder(), 1);
  shake(net);
  Tape tape;
  const Gradients g = backward(sum(square(net(wave({2, 16, 8}, 1, DType::f32)))));
  for_each_parameter(net, [&](const std::string& name, Parameter& p) {
    CHECK_MESSAGE(g[p].defined(), name);
    if (g[p].defined()) CHECK_MESSAGE(norm(g[p]) > 0, name);
  });
}

TEST_CASE("encoder: agrees with plain loops, at the grid's own size and resized") {
  for (const char* kind : {"dinov2", "siglip2", "mae"})
    for (const bool affine : {false, true})
      for (const Shape& shape : {Shape{1, 3, 20, 20}, Shape{1, 3, 12, 28}, Shape{1, 3, 4, 100}}) {
        VitEncoder net(tiny_encoder(affine, kind), 2);
        shake(net);
        to_dtype(net, DType::f64);
        const Tensor image = wave(shape, 1);
        const auto want = naive_encode(net, image);
        const VitTokens got = net.encode(image);
        std::vector<Tensor> parts;
        if (got.cls.defined()) parts.push_back(got.cls.value().unsqueeze(1));
        if (got.registers.defined()) parts.push_back(got.registers.value());
        parts.push_back(got.patches.value());
        const Tensor all = concat(parts, 1);
        const Tensor expected = Tensor::from(want, all.shape());
        CHECK(max_difference(all, expected) < 2e-14);
        CHECK(max_difference(net(image).value(), got.patches.value()) == 0);
        to_dtype(net, DType::f32);
        CHECK(max_difference(net(image.to(DType::f32)).value().to(DType::f64), got.patches.value()) < 5e-6);
      }
}

TEST_CASE("encoder: counts and names are those of the published checkpoints") {
  const ShapesOnly shapes;
  VitEncoderConfig base = dinov2("B");
  CHECK(state_dict(VitEncoder(base)).size() == 222);
  base.affine_norm = true;
  CHECK(state_dict(VitEncoder(base)).size() == 224);
  check_names(VitEncoder(tiny_encoder(true)), "dino_v2.txt");
  check_names(VitEncoder(tiny_encoder(true, "siglip2")), "siglip2.txt");
  check_names(VitEncoder(tiny_encoder(true, "mae")), "vit_mae.txt");
  // The table has 14 x 14 positions and one for the class token. ViT-B/16 with its last norm has 85,798,656 parameters; the norm has 1,536.
  CHECK(parameter_count(VitEncoder(vit_mae())) == 85798656 - 1536);
  CHECK(parameter_count(VitEncoder(siglip2())) == 85798656 - 1536 + (256 - 197 - 1) * 768);
}

// These settings change all results, but no name and no count of parameters. The values are from the configs of the published models.
TEST_CASE("presets: heads, epsilons, patches, registers, and the images' mean and deviation are the published ones") {
  const auto numbers = [](const VitEncoderConfig& c) {
    return std::vector<double>{double(c.width), double(c.depth), double(c.heads), double(c.mlp_width), double(c.patch_size),
                               double(c.image_size), double(c.register_tokens()), c.eps};
  };
  using Numbers = std::vector<double>;
  CHECK(numbers(dinov2("S")) == Numbers{384, 12, 6, 1536, 14, 518, 4, 1e-6});
  CHECK(numbers(dinov2("B")) == Numbers{768, 12, 12, 3072, 14, 518, 4, 1e-6});
  CHECK(numbers(dinov2("L")) == Numbers{1024, 24, 16, 4096, 14, 518, 4, 1e-6});
  CHECK(numbers(siglip2()) == Numbers{768, 12, 12, 3072, 16, 256, 0, 1e-6});
  CHECK(numbers(vit_mae()) == Numbers{768, 12, 12, 3072, 16, 224, 0, 1e-12});
  for (const VitEncoderConfig& c : {dinov2("B"), siglip2(), vit_mae()}) CHECK(c.has_layer_scale() == (c.kind == "dinov2"));

  const auto decoder = [](const char* size) {
    const RaeDecoderConfig c = rae_decoder(size, 256);
    return Numbers{double(c.width), double(c.depth), double(c.heads), double(c.mlp_width), double(c.patch_size), double(c.latent_size), c.eps};
  };
  CHECK(decoder("B") == Numbers{768, 12, 12, 3072, 16, 16, 1e-12});
  CHECK(decoder("L") == Numbers{1024, 24, 16, 4096, 16, 16, 1e-12});
  CHECK(decoder("XL") == Numbers{1152, 28, 16, 4096, 16, 16, 1e-12});

  const auto dit = [](const char* size, std::int64_t image) {
    const DitDhConfig c = dit_dh(size, image, true);
    return Numbers{double(c.input_size), double(c.patch_size), double(c.width), double(c.depth), double(c.heads), double(c.head_width),
                   double(c.head_depth), double(c.head_heads), c.mlp_ratio, double(c.classes)};
  };
  CHECK(dit("S", 256) == Numbers{16, 1, 384, 12, 6, 2048, 2, 16, 4, 1000});
  CHECK(dit("B", 256) == Numbers{16, 1, 768, 12, 12, 2048, 2, 16, 4, 1000});
  CHECK(dit("L", 256) == Numbers{16, 1, 1024, 24, 16, 2048, 2, 16, 4, 1000});
  CHECK(dit("XL", 512) == Numbers{32, 1, 1152, 28, 16, 2048, 2, 16, 4, 1000});

  const Numbers imagenet_mean{0.485, 0.456, 0.406}, imagenet_std{0.229, 0.224, 0.225}, half{0.5};
  for (const char* encoder : {"dinov2-S", "dinov2-B", "dinov2-L", "mae-B", "siglip2-B"}) {
    CAPTURE(encoder);
    const bool siglip = encoder == std::string("siglip2-B"), dino = std::string(encoder).starts_with("dinov2");
    const RaeConfig c = rae(encoder, "B", 512);
    CHECK(c.image_mean == (siglip ? half : imagenet_mean));
    CHECK(c.image_std == (siglip ? half : imagenet_std));
    CHECK(c.input_size == (dino ? 448 : 512));
    CHECK(c.decoder.latent_channels == c.encoder.width);
    CHECK(c.decoder.latent_size == 32);
  }
  for (const std::int64_t bad : {0, 8, 250, 264}) CHECK_THROWS_AS(rae_latent_size(bad), ConfigError);
  CHECK(rae_latent_size(16) == 1);
  CHECK_THROWS_WITH_AS(dinov2("H"), "DINOv2: no size 'H'; the sizes are S, B, L", ConfigError);
  CHECK_THROWS_AS(rae("clip-B", "B", 256), ConfigError);
}

TEST_CASE("encoder: siglip2 and mae have initial values of the right size") {
  const auto rms = [](const Tensor& t) { return norm(t) / std::sqrt(static_cast<double>(t.numel())); };
  VitEncoderConfig c = tiny_encoder(false, "siglip2");
  c.width = 32, c.mlp_width = 64;
  const VitEncoder siglip(c, 1);
  CHECK(near(rms(siglip.position_table.value), 1 / std::sqrt(32.0), 0.1));
  CHECK(near(rms(siglip.patch_embed.weight.value), 1 / std::sqrt(48.0), 5e-2));
  CHECK(near(rms(siglip.layers[1].attention.key.weight.value), std::sqrt(6.0 / 64 / 3), 2e-2));
  CHECK(near(rms(siglip.layers[1].mlp.fc1.bias.value), 1e-6, 1e-1));
  CHECK(norm(siglip.layers[1].attention.key.bias.value) == 0);
  c.kind = "mae";
  const VitEncoder mae(c, 1);
  CHECK(near(rms(mae.layers[0].mlp.fc2.weight.value), 0.02, 5e-2));
  CHECK(norm(mae.layers[0].mlp.fc2.bias.value) == 0);
  CHECK(near(rms(mae.patch_embed.weight.value), std::sqrt(6.0 / (48 + 32) / 3), 0.1));
  CHECK_FALSE(mae.position_table.trainable);
  CHECK(norm(mae.position_table.value.slice(1, 0, 1)) == 0);
  CHECK(max_difference(mae.position_table.value.slice(1, 1, 26).squeeze(0), sin_cos_positions(5, 5, 32)) == 0);
  CHECK_THROWS_AS(VitEncoder(VitEncoderConfig{.kind = "clip"}), ConfigError);
  CHECK_THROWS_AS(mae.encode(wave({1, 3, 20, 20}, 1, DType::f32), Tensor::zeros({1, 25}, DType::u8)), ConfigError);
}

TEST_CASE("RAE: each kind of encoder has its own preprocessing, and images decode back to pixels") {
  const ShapesOnly shapes;
  for (const char* name : {"dinov2-S", "dinov2-B", "dinov2-L", "siglip2-B", "mae-B"})
    for (const std::int64_t size : {256, 512}) {
      const RaeConfig c = rae(name, "XL", size);
      CHECK(c.encoder.kind == std::string(name).substr(0, std::string(name).find('-')));
      CHECK(c.input_size / c.encoder.patch_size == size / 16);
      CHECK(c.image_mean.size() == (c.encoder.kind == "siglip2" ? 1 : 3));
      CHECK_NOTHROW(Rae(c, 1));
    }
  CHECK_THROWS_AS(rae("clip-B"), ConfigError);
  CHECK_THROWS_AS(rae("siglip2-L"), ConfigError);
  CHECK_THROWS_AS(rae("mae"), ConfigError);
}

TEST_CASE("RAE: images are resized to the encoder's input and normalized channel by channel") {
  for (const char* kind : {"dinov2", "siglip2", "mae"}) {
    RaeConfig c;
    c.encoder = tiny_encoder(false, kind);
    c.decoder = tiny_decoder();
    c.decoder.latent_channels = 12, c.decoder.latent_size = 5;
    c.input_size = 20, c.image_mean = {0.4, 0.5, 0.6}, c.image_std = {0.2, 0.25, 0.3};
    Rae model(c, 1);
    shake(model);
    const Tensor images = wave({2, 3, 24, 24}, 2, DType::f32);
    const Tensor z = model.encode(images);
    CHECK(z.shape() == Shape{2, 12, 5, 5});
    Tensor seen = resize(images, 20, 20, Interpolation::bicubic).clone();
    for (std::int64_t k = 0; k < 3; ++k) {
      const double mean = c.image_mean[static_cast<std::size_t>(k)], deviation = c.image_std[static_cast<std::size_t>(k)];
      seen.slice(1, k, k + 1).copy_from((seen.slice(1, k, k + 1) - mean) / deviation);
    }
    CHECK(max_difference(grid_to_tokens(z), model.encoder(seen).value()) < 3e-6);
    const Tensor back = restored(normalised(images, c), c).value();
    CHECK(max_difference(back, images) < 1e-6);
    CHECK(model.decode(z).shape() == Shape{2, 3, 10, 10});
    c.image_std = {0.2, 0.3};
    CHECK_THROWS_WITH_AS(Rae(c, 1), "Rae: image_std has 2 values, but must have one, or one for each of 3 channels", ConfigError);
  }
}

TEST_CASE("encoder: RAE's tokens have mean zero and variance one") {
  VitEncoder net(tiny_encoder(false), 2);
  shake(net);
  const Tensor z = net(wave({2, 3, 20, 20}, 1, DType::f32)).value();
  CHECK(norm(mean(z, {-1})) < 3e-6);
  CHECK(max_difference(mean(square(z), {-1}), Tensor::ones({2, 25})) < 2e-5);
}

TEST_CASE("encoder: every parameter gets a gradient when some patches are hidden and the grid is resized") {
  VitEncoder net(tiny_encoder(true), 2);
  shake(net);
  Tape tape;
  Tensor mask = Tensor::zeros({2, 9}, DType::u8);
  mask.slice(1, 2, 5).fill(1);
  const VitTokens y = net.encode(wave({2, 3, 12, 12}, 1, DType::f32), mask);
  const Gradients g = backward(sum(exp(y.cls * 0.3)) + sum(exp(y.patches * 0.2)));
  for_each_parameter(net, [&](const std::string& name, Parameter& p) {
    CHECK_MESSAGE(g[p].defined(), name);
    if (g[p].defined()) CHECK_MESSAGE(norm(g[p]) > 0, name);
  });
}

TEST_CASE("encoder: every trained parameter of siglip2 and mae gets a gradient") {
  for (const char* kind : {"siglip2", "mae"}) {
    VitEncoder net(tiny_encoder(true, kind), 2);
    shake(net);
    Tape tape;
    const Gradients g = backward(sum(exp(net(wave({2, 3, 12, 12}, 1, DType::f32)) * 0.2)));
    for_each_parameter(net, [&](const std::string& name, Parameter& p) {
      CHECK_MESSAGE((g[p].defined() && norm(g[p]) > 0) == p.trainable, name);
    });
  }
}

TEST_CASE("encoder: a clone that loads the state of another seed agrees with it bit for bit") {
  VitEncoder a(tiny_encoder(true), 1), b(tiny_encoder(true), 2);
  load_state(b, state_dict(a));
  const Tensor image = wave({2, 3, 20, 20}, 1, DType::f32);
  const VitEncoder c = clone(b);
  b.layers[0].mlp.fc1.weight.value.fill(0);
  CHECK(max_difference(a(image).value(), c(image).value()) == 0);
}
