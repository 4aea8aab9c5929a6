#include "nn/models/inception_input.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <utility>

#include "tensor/error.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/resize.h"
#include "tensor/parallel.h"

namespace fm {
namespace {

constexpr std::int64_t inception_side = 299;
constexpr std::array<std::pair<const char*, InceptionInput>, 3> input_names{{
    {"tf1", InceptionInput::tf1}, {"half-pixel", InceptionInput::half_pixel}, {"clean", InceptionInput::clean}}};

// The two inputs between which an output lies, and its distance from the lower one.
struct Between {
  std::int64_t low, high;
  float distance;
};

// Positions in f32, as TensorFlow and PyTorch compute them. `half`: from the centers of pixels, not from their corners.
std::vector<Between> positions_of(std::int64_t in, bool half) {
  const float scale = static_cast<float>(in) / static_cast<float>(inception_side);
  std::vector<Between> all;
  for (std::int64_t i = 0; i < inception_side; ++i) {
    const float at = half ? std::max(0.0f, scale * (static_cast<float>(i) + 0.5f) - 0.5f) : static_cast<float>(i) * scale;
    const std::int64_t low = std::min(static_cast<std::int64_t>(at), in - 1);
    all.push_back({low, std::min(low + 1, in - 1), at - static_cast<float>(low)});
  }
  return all;
}

float mix_as_tensorflow(float a, float b, float d) { return a + (b - a) * d; }
float mix_as_pytorch(float a, float b, float d) { return (1 - d) * a + d * b; }

// One plane (height, width) -> (299, 299). Mixes horizontally first.
template <class Mix>
void resize_plane(const float* x, std::int64_t width, const std::vector<Between>& down, const std::vector<Between>& across, Mix mix, float* y) {
  for (const Between& v : down) {
    const float *top = x + v.low * width, *bottom = x + v.high * width;
    for (const Between& h : across)
      *y++ = mix(mix(top[h.low], top[h.high], h.distance), mix(bottom[h.low], bottom[h.high], h.distance), v.distance);
  }
}

// Calls f(in, out) for each plane of the images, with the values of the plane in f32.
template <class F> void for_each_plane(const Tensor& images, const Tensor& out, const F& f) {
  const std::int64_t pixels = images.dim(2) * images.dim(3);
  dispatch(images.dtype(), [&]<class T>(T) {
    parallel_for(images.dim(0) * 3, inception_side * inception_side * 8, [&](std::int64_t plane) {
      const T* from = images.data<T>() + plane * pixels;
      std::vector<float> values(static_cast<std::size_t>(pixels));
      std::transform(from, from + pixels, values.begin(), [](T v) { return static_cast<float>(v); });
      f(values, out.data<float>() + plane * inception_side * inception_side);
    });
  });
}

Tensor prepared_tf1(const Tensor& images) {
  const Tensor out = Tensor::empty({images.dim(0), 3, inception_side, inception_side}, DType::f32, Device{});
  const std::vector<Between> down = positions_of(images.dim(2), false), across = positions_of(images.dim(3), false);
  for_each_plane(images, out, [&](std::vector<float>& in, float* y) {
    resize_plane(in.data(), images.dim(3), down, across, mix_as_tensorflow, y);
    std::transform(y, y + inception_side * inception_side, y, [](float v) { return (v - 128) / 128; });
  });
  return out;
}

Tensor prepared_half_pixel(const Tensor& images) {
  const Tensor out = Tensor::empty({images.dim(0), 3, inception_side, inception_side}, DType::f32, Device{});
  const std::vector<Between> down = positions_of(images.dim(2), true), across = positions_of(images.dim(3), true);
  for_each_plane(images, out, [&](std::vector<float>& in, float* y) {
    std::transform(in.begin(), in.end(), in.begin(), [](float v) { return v / 255; });
    resize_plane(in.data(), images.dim(3), down, across, mix_as_pytorch, y);
    std::transform(y, y + inception_side * inception_side, y, [](float v) { return 2 * v - 1; });
  });
  return out;
}

// Each pass sums in f64; its result is rounded to f32.
Tensor resized_across(const Tensor& x, int dim) {
  return resample(x.to(DType::f64), dim, resampling(x.dim(dim), inception_side, Interpolation::bicubic_antialias)).to(DType::f32);
}

Tensor prepared_clean(const Tensor& images) {
  const Tensor wide = resized_across(images.to(DType::f32), -1);
  return (clamp(resized_across(wide, -2), 0, 255) - 128.0) * (1.0 / 128);
}

void check_images(const Tensor& images) {
  if (!images.defined() || images.rank() != 4 || images.dim(1) != 3 || images.dim(2) < 1 || images.dim(3) < 1)
    throw ShapeError(fmt::format("prepare_for_inception: images of shape {} must be (N, 3, H, W)", images.defined() ? to_string(images.shape()) : "(undefined)"));
  if (images.dtype() != DType::u8 && images.dtype() != DType::f32)
    throw DTypeError(fmt::format("prepare_for_inception: images in {} must be u8, or f32 with values in 0..255", name_of(images.dtype())));
}

}  // namespace

std::string name_of(InceptionInput input) {
  for (const auto& [name, value] : input_names)
    if (value == input) return name;
  throw ConfigError("InceptionInput: a value that has no name");
}

std::vector<std::string> inception_input_names() {
  std::vector<std::string> names;
  for (const auto& entry : input_names) names.emplace_back(entry.first);
  return names;
}

InceptionInput inception_input(const std::string& name) {
  for (const auto& [known, value] : input_names)
    if (name == known) return value;
  throw ConfigError(fmt::format("preparation of Inception's images \"{}\" must be one of {}", name, fmt::join(inception_input_names(), ", ")));
}

Tensor prepare_for_inception(const Tensor& images, InceptionInput input) {
  check_images(images);
  const Tensor here = images.to(Device{}).contiguous();
  const Tensor out = input == InceptionInput::tf1 ? prepared_tf1(here) : input == InceptionInput::half_pixel ? prepared_half_pixel(here) : prepared_clean(here);
  return out.to(default_device());
}

}  // namespace fm
