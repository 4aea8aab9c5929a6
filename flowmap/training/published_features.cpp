#include "flowmap/training/published_features.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "autodiff/tape.h"
#include "data/pillow_resize.h"
#include "nn/loaded.h"
#include "nn/models/inception_file.h"
#include "nn/models/presets.h"
#include "tensor/error.h"
#include "tensor/interrupt.h"
#include "tensor/narrow.h"
#include "tensor/ops/copy.h"
#include "tensor/ops/elementwise.h"
#include "tensor/parallel.h"

namespace fm {
namespace {

constexpr const char *inception_kind = "inception", *dinov2_kind = "dinov2", *pillow_preparation = "pillow";
constexpr std::int64_t images_at_a_time = 16;
constexpr int dinov2_side = 224;

// Images (n,1 or 3,H,W) in [0,1] -> (n,3,H,W) u8 on the CPU.
Tensor as_bytes(const Tensor& samples, const std::string& name) {
  if (samples.rank() != 4 || (samples.dim(1) != 1 && samples.dim(1) != 3))
    throw ShapeError(fmt::format("features of {} are of images with 1 or 3 channels, (n, 1 or 3, H, W), but the samples have shape {}", name, to_string(samples.shape())));
  const Tensor x = samples.to(Device{}).to(DType::f32).contiguous();
  const Tensor bytes = Tensor::empty(x.shape(), DType::u8, Device{});
  const std::int64_t image = x.numel() / std::max<std::int64_t>(1, x.dim(0));
  parallel_for(x.dim(0), image, [&](std::int64_t n) {
    for (std::int64_t i = n * image; i < (n + 1) * image; ++i) {
      const float v = x.data<float>()[i];
      if (!(v >= 0 && v <= 1)) throw Error(fmt::format("features of {}: image {} has a value {}: values must lie in [0, 1]; clamp the samples", name, n, v));
      bytes.data<std::uint8_t>()[i] = static_cast<std::uint8_t>(std::lround(255 * v));
    }
  });
  return bytes.dim(1) == 3 ? bytes : bytes.expand(bytes.shape().with(1, 3));
}

// Calls f with some images at a time, which returns their features.
template <class F> Seen seen_in_groups(const Tensor& samples, const std::string& name, const F& f) {
  const Tensor images = as_bytes(samples, name);
  SeenParts parts;
  for (std::int64_t i = 0; i < images.dim(0); i += images_at_a_time) {
    check_interrupt();
    parts.add(f(images.slice(0, i, std::min(i + images_at_a_time, images.dim(0)))));
  }
  if (parts.empty()) throw ShapeError(fmt::format("features of {}: no images were given", name));
  return parts.joined();
}

// One u8 image (3,H,W) -> the planes of the resized image.
std::vector<std::uint8_t> resized_for_dinov2(const std::uint8_t* planes, int height, int width) {
  const Image small = pillow_resize(image_from_planes(planes, 3, height, width), dinov2_side, dinov2_side, PillowFilter::bicubic);
  std::vector<std::uint8_t> out(std::size_t{3} * dinov2_side * dinov2_side);
  planes_from_image(small, out.data());
  return out;
}

}  // namespace

Tensor prepare_for_dinov2(const Tensor& images) {
  if (images.rank() != 4 || images.dim(1) != 3)
    throw ShapeError(fmt::format("prepare_for_dinov2: images of shape {} must be (N, 3, H, W)", to_string(images.shape())));
  if (images.dtype() != DType::u8) throw DTypeError(fmt::format("prepare_for_dinov2: images in {} must be u8", name_of(images.dtype())));
  const Tensor in = images.to(Device{}).contiguous(), out = Tensor::empty({in.dim(0), 3, dinov2_side, dinov2_side}, DType::f32, Device{});
  const std::int64_t pixels = std::int64_t{dinov2_side} * dinov2_side, image = 3 * in.dim(2) * in.dim(3);
  parallel_for(in.dim(0), image * 16, [&](std::int64_t n) {
    const auto small = resized_for_dinov2(in.data<std::uint8_t>() + n * image, narrow<int>(in.dim(2), "an image's height"), narrow<int>(in.dim(3), "an image's width"));
    float* y = out.data<float>() + n * 3 * pixels;
    for (std::int64_t i = 0; i < 3 * pixels; ++i)
      y[i] = (static_cast<float>(small[static_cast<std::size_t>(i)]) / 255 - static_cast<float>(imagenet_mean[i / pixels])) / static_cast<float>(imagenet_std[i / pixels]);
  });
  return out.to(default_device());
}

Features inception_features(std::shared_ptr<const Inception> net, InceptionInput input) {
  std::string fingerprint = fmt::format("{} {} {}", inception_kind, name_of(input), checksum(state_dict(*net)));
  return {inception_kind, std::move(fingerprint), [net = std::move(net), input](const Tensor& samples) {
            return seen_in_groups(samples, inception_kind, [&](const Tensor& images) {
              const InceptionOutput y = (*net)(prepare_for_inception(images, input));
              return Seen{y.pool3.to(Device{}), {}, y.spatial.to(Device{}), y.logits_unbiased.to(Device{})};
            });
          }, false, name_of(input)};
}

Features dinov2_features(std::shared_ptr<const Dinov2Features> net) {
  std::string name = net->name, fingerprint = fmt::format("{} {} {}", name, pillow_preparation, checksum(state_dict(net->encoder)));
  return {name, std::move(fingerprint), [net = std::move(net), name](const Tensor& samples) {
            return seen_in_groups(samples, name, [&](const Tensor& images) { return Seen{(*net)(prepare_for_dinov2(images)).to(Device{}).contiguous(), {}, {}, {}}; });
          }, false, pillow_preparation};
}

FeaturesText parse_features(const std::string& text) {
  const std::size_t colon = text.find(':');
  return colon == std::string::npos ? FeaturesText{text, {}} : FeaturesText{text.substr(0, colon), text.substr(colon + 1)};
}

std::string to_text(const FeaturesText& features) { return features.file.empty() ? features.network : features.network + ":" + features.file; }

bool names_published_features(const std::string& text) {
  const auto [network, file] = parse_features(text);
  return !file.empty() && (network == inception_kind || network == dinov2_kind);
}

Features open_published_features(const std::string& text, const std::string& preparation, const Warn& warn) {
  if (!names_published_features(text)) throw ConfigError(fmt::format("features \"{}\" must be {}:FILE or {}:FILE", text, inception_kind, dinov2_kind));
  const auto [network, file] = parse_features(text);
  if (network == inception_kind) {
    const InceptionInput input = preparation.empty() ? InceptionInput::tf1 : inception_input(preparation);
    return inception_features(std::make_shared<const Inception>(load_inception(file, warn)), input);
  }
  if (!preparation.empty() && preparation != pillow_preparation)
    throw ConfigError(fmt::format("preparation \"{}\" of {}'s images must be {}; {} are for {}", preparation, dinov2_kind, pillow_preparation,
                                  fmt::join(inception_input_names(), ", "), inception_kind));
  return dinov2_features(std::make_shared<const Dinov2Features>(load_dinov2_features(file, warn)));
}

}  // namespace fm
