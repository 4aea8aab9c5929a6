#include "nn/models/autoencoder_kl.h"

#include <utility>

#include "autodiff/rules/attention.h"
#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/linear.h"
#include "autodiff/rules/resize.h"

namespace fm {
namespace {

constexpr std::int64_t widest_head_on_gpu = 256;             // of the streaming kernels: tensor/kernels/cuda/attention.cu

AutoencoderKLConfig checked(const AutoencoderKLConfig& config) {
  const AutoencoderKLConfig c = checked_config(config, "AutoencoderKL");
  if (c.widths.empty() || c.widths.size() > 16)
    throw ConfigError("AutoencoderKL: widths has " + std::to_string(c.widths.size()) + " levels, but must have 1 to 16");
  for (const std::int64_t width : c.widths)
    if (width % c.groups != 0)
      throw ConfigError("AutoencoderKL: width " + std::to_string(width) + " is not a multiple of the " + std::to_string(c.groups) + " groups");
  return c;
}

Var through_levels(const char* list, const std::vector<VaeLevel>& levels, Var h) {
  for (std::size_t i = 0; i < levels.size(); ++i) {
    const ModulePath path(list + ("." + std::to_string(i)));
    h = levels[i](std::move(h));
  }
  return h;
}

}  // namespace

VaeResnet::VaeResnet(std::int64_t in, std::int64_t out, const AutoencoderKLConfig& c)
    : norm1(in, c.groups, c.eps), norm2(out, c.groups, c.eps), conv1(in, out, 3, 1, 1), conv2(out, out, 3, 1, 1), precision(c.precision) {
  if (in != out) conv_shortcut.emplace(in, out, 1, 1, 0);
}

Var VaeResnet::operator()(const Var& x) const {
  const DType type = block_type(precision, x), stream = x.dtype();
  Var h = conv1(norm1.silu(x, type), type);
  h = norm2.silu(h, type);
  h = conv2(h, stream);
  return (conv_shortcut ? (*conv_shortcut)(cast(x, type), stream) : x) + h;
}

VaeAttention::VaeAttention(std::int64_t width, const AutoencoderKLConfig& c)
    : group_norm(width, c.groups, c.eps), to_q(width, width), to_k(width, width), to_v(width, width), to_out(width, width), precision(c.precision) {}

Var VaeAttention::operator()(const Var& x) const {
  const std::int64_t b = x.dim(0), c = x.dim(1), n = x.dim(2) * x.dim(3);
  const Var tokens = transpose(reshape(group_norm(x, block_type(precision, x)), {b, c, n}), 1, 2);                        // (B,N,C), row-major positions
  const auto head = [&](const Linear& l) { return reshape(l(tokens), {b, 1, n, c}); };
  const Var q = head(to_q), k = head(to_k), v = head(to_v);
  const bool streams = !x.value().device().is_cuda() || c <= widest_head_on_gpu;
  const Var mixed = to_out(reshape(streams ? attention(q, k, v) : attention_reference(q, k, v), {b, n, c}));
  return x + cast(reshape(transpose(mixed, 1, 2), x.shape()), x.dtype());
}

VaeMiddle::VaeMiddle(std::int64_t width, const AutoencoderKLConfig& c) {
  attentions.emplace_back(width, c);
  for (int i = 0; i < 2; ++i) resnets.emplace_back(width, width, c);
}

Var VaeMiddle::operator()(const Var& x) const { return resnets[1](attentions[0](resnets[0](x))); }

VaeResample::VaeResample(std::int64_t width, bool down, const AutoencoderKLConfig& c)
    : conv(width, width, 3, down ? 2 : 1, down ? 0 : 1), precision(c.precision) {}

Var VaeResample::operator()(const Var& x) const {
  const Var h = cast(x, block_type(precision, x));
  return conv(conv.step.stride == 2 ? pad(pad(h, 3, 0, 1), 2, 0, 1) : upsample_nearest(h, 2), x.dtype());
}

VaeLevel::VaeLevel(std::int64_t in, std::int64_t out, std::int64_t count, bool last, bool down_, const AutoencoderKLConfig& c) : down(down_) {
  for (std::int64_t i = 0; i < count; ++i) resnets.emplace_back(i == 0 ? in : out, out, c);
  if (!last) resamplers.emplace_back(out, down, c);
}

Var VaeLevel::operator()(Var h) const {
  for (const VaeResnet& resnet : resnets) h = resnet(h);
  for (const VaeResample& resample : resamplers) h = resample(h);
  return h;
}

VaeEncoder::VaeEncoder(const AutoencoderKLConfig& c)
    : conv_in(c.image_channels, c.widths.front(), 3, 1, 1),
      mid_block(c.widths.back(), c),
      conv_norm_out(c.widths.back(), c.groups, c.eps),
      conv_out(c.widths.back(), 2 * c.latent_channels, 3, 1, 1),
      precision(c.precision) {
  for (std::size_t i = 0; i < c.widths.size(); ++i)
    down_blocks.emplace_back(c.widths[i == 0 ? 0 : i - 1], c.widths[i], c.resnets, i + 1 == c.widths.size(), true, c);
}

Var VaeEncoder::operator()(const Var& image) const {
  const ModulePath path("encoder");
  const DType type = block_type(precision, image), stream = image.dtype();
  const Var h = mid_block(through_levels("down_blocks", down_blocks, conv_in(cast(image, type), stream)));
  return conv_out(conv_norm_out.silu(h, type), stream);
}

VaeDecoder::VaeDecoder(const AutoencoderKLConfig& c)
    : conv_in(c.latent_channels, c.widths.back(), 3, 1, 1),
      mid_block(c.widths.back(), c),
      conv_norm_out(c.widths.front(), c.groups, c.eps),
      conv_out(c.widths.front(), c.image_channels, 3, 1, 1),
      precision(c.precision) {
  for (std::size_t i = c.widths.size(); i-- > 0;)
    up_blocks.emplace_back(c.widths[i + 1 == c.widths.size() ? i : i + 1], c.widths[i], c.resnets + 1, i == 0, false, c);
}

Var VaeDecoder::operator()(const Var& latent) const {
  const ModulePath path("decoder");
  const DType type = block_type(precision, latent), stream = latent.dtype();
  const Var h = through_levels("up_blocks", up_blocks, mid_block(conv_in(cast(latent, type), stream)));
  return conv_out(conv_norm_out.silu(h, type), stream);
}

DiagonalGaussian::DiagonalGaussian(const Var& moments) {
  if (moments.rank() != 4 || moments.dim(1) % 2 != 0)
    throw ShapeError("DiagonalGaussian: moments of shape " + to_string(moments.shape()) + " must be (B, 2 C, h, w): means, then log-variances");
  const std::int64_t channels = moments.dim(1) / 2;
  mean = slice(moments, 1, 0, channels);
  log_variance = clamp(slice(moments, 1, channels, 2 * channels), -30, 20);
}

Var DiagonalGaussian::std() const { return exp(log_variance * 0.5); }

Var DiagonalGaussian::sample(const Var& noise) const {
  if (noise.shape() != mean.shape())
    throw ShapeError("DiagonalGaussian: noise of shape " + to_string(noise.shape()) + " must have the mean's shape, " + to_string(mean.shape()));
  return mean + std() * noise;
}

AutoencoderKL::AutoencoderKL(const AutoencoderKLConfig& c, std::uint64_t seed)
    : config(checked(c)),
      encoder(config),
      decoder(config),
      quant_conv(2 * c.latent_channels, 2 * c.latent_channels, 1, 1, 0),
      post_quant_conv(c.latent_channels, c.latent_channels, 1, 1, 0) {
  reset_parameters(*this, seed);
}

Var AutoencoderKL::moments(const Var& images) const {
  if (images.rank() != 4 || images.dim(1) != config.image_channels || images.dim(2) % config.factor() != 0 || images.dim(3) % config.factor() != 0)
    throw ShapeError("AutoencoderKL: images of shape " + to_string(images.shape()) + " must be (B, " + std::to_string(config.image_channels) +
                     ", H, W), with H and W multiples of " + std::to_string(config.factor()));
  return quant_conv(encoder(images));
}

Var AutoencoderKL::decode(const Var& latents) const {
  if (latents.rank() != 4 || latents.dim(1) != config.latent_channels)
    throw ShapeError("AutoencoderKL: latents of shape " + to_string(latents.shape()) + " must be (B, " + std::to_string(config.latent_channels) + ", h, w)");
  return decoder(post_quant_conv(latents));
}

}  // namespace fm
