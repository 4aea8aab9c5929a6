#include "nn/models/lpips.h"

#include <fmt/format.h>

#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/linear.h"
#include "autodiff/rules/pool.h"
#include "tensor/error.h"
#include "tensor/ops/copy.h"

namespace fm {
namespace {

LpipsLayer lpips_layer(int index, std::int64_t in, std::int64_t out, std::int64_t kernel, ConvStep step, int pool, bool tap) {
  return {index, pool, tap, Conv2d(in, out, KernelSize{kernel, kernel}, step)};
}

// 3x3 convolutions in blocks of two or three; each block ends with a tap, and a 2x2 pool separates it from the next.
std::vector<LpipsLayer> vgg16_layers() {
  std::vector<LpipsLayer> layers;
  std::int64_t in = 3;
  int index = 0;
  for (const auto& [width, count] : {std::pair<std::int64_t, int>{64, 2}, {128, 2}, {256, 3}, {512, 3}, {512, 3}}) {
    for (int k = 0; k < count; ++k, index += 2, in = width) layers.push_back(lpips_layer(index, in, width, 3, {1, 1}, k == 0 && index > 0 ? 2 : 0, k == count - 1));
    ++index;                                           // the pool's own place
  }
  return layers;
}

// Every layer is tapped; pools of 3x3 with stride 2, whose windows overlap.
std::vector<LpipsLayer> alexnet_layers() {
  std::vector<LpipsLayer> layers;
  layers.push_back(lpips_layer(0, 3, 64, 11, {4, 2}, 0, true));
  layers.push_back(lpips_layer(3, 64, 192, 5, {1, 2}, 3, true));
  layers.push_back(lpips_layer(6, 192, 384, 3, {1, 1}, 3, true));
  layers.push_back(lpips_layer(8, 384, 256, 3, {1, 1}, 0, true));
  layers.push_back(lpips_layer(10, 256, 256, 3, {1, 1}, 0, true));
  return layers;
}

// A tensor (1, 3, 1, 1) of f32 numbers in the type and on the device of `like`. It is made on the device, so that a graph can record it.
Tensor by_channel(float red, float green, float blue, const Tensor& like) {
  const auto one = [&](float value) { return Tensor::full({1, 1, 1, 1}, value, like.dtype(), like.device()); };
  return concat(std::vector<Tensor>{one(red), one(green), one(blue)}, 1);
}

// The mean over positions of the weighted squares of n(f) - n(g): (N).
Var layer_distance(const Var& f, const Var& g, const Parameter& head) {
  const Var squares = square(normalize_channels(f) - normalize_channels(g));
  return mean(conv2d(squares, head, Var(), ConvStep{}), {1, 2, 3});
}

void check_pair(const Shape& in, const Shape& ref, std::int64_t smallest) {
  const auto images = [&](const Shape& s) { return s.rank() == 4 && s[1] == 3 && s[2] >= smallest && s[3] >= smallest; };
  if (!images(in) || !images(ref))
    throw ShapeError(fmt::format("lpips: images of shapes {} and {} must be (N, 3, H, W), with H and W at least {}", to_string(in), to_string(ref), smallest));
  if (in != ref && ref.with(0, in[0]) != in) throw ShapeError(fmt::format("lpips: images of shape {} cannot be compared with images of shape {}: resize one", to_string(in), to_string(ref)));
  if (in[0] != ref[0] && ref[0] != 1)
    throw ShapeError(fmt::format("lpips: {} images cannot be compared with {}: give as many references as images, or one", in[0], ref[0]));
}

}  // namespace

Var LpipsLayer::operator()(const Var& x) const { return relu(conv(pool > 0 ? max_pool2d(x, {pool, 2, 0}) : x)); }

LpipsTrunk::LpipsTrunk(const LpipsConfig& c) : config(checked_config(c, "Lpips")), layers(c.trunk == "vgg" ? vgg16_layers() : alexnet_layers()) {
  set_trainable(*this, false);
}

// VGG16 halves the size four times. AlexNet makes one pixel of 31: its strides are 4, 2 and 2.
std::int64_t LpipsTrunk::smallest_image() const { return config.trunk == "vgg" ? 16 : 31; }

Var LpipsTrunk::scaled(const Var& images) const {
  if (!is_floating(images.dtype())) throw DTypeError(fmt::format("lpips: images of type {}: convert them to f32 numbers in [-1, 1]", name_of(images.dtype())));
  const Tensor& like = layers.front().conv.weight.value;
  return (cast(images, like.dtype()) - by_channel(-.030f, -.088f, -.188f, like)) / by_channel(.458f, .448f, .450f, like);
}

std::int64_t LpipsTrunk::taped_numbers(std::int64_t side) const {
  std::int64_t sum = 0;
  for (const LpipsLayer& layer : layers) {
    const ConvStep& step = layer.conv.step;
    if (layer.pool > 0) side = (side - layer.pool) / 2 + 1;
    side = (side + 2 * step.pad_h - layer.conv.weight.value.dim(2)) / step.stride + 1;
    sum += (layer.tap ? 3 : 1) * layer.conv.weight.value.dim(0) * side * side;
  }
  return sum;
}

std::vector<Var> LpipsTrunk::features(const Var& images) const {
  std::vector<Var> taps;
  Var h = scaled(images);
  for (const LpipsLayer& layer : layers) {
    h = layer(h);
    if (layer.tap) taps.push_back(h);
  }
  return taps;
}

LpipsHeads::LpipsHeads(const LpipsConfig& c) : config(checked_config(c, "Lpips")) {
  const std::vector<std::int64_t> vgg{64, 128, 256, 512, 512}, alex{64, 192, 384, 256, 256};
  for (const std::int64_t width : config.trunk == "vgg" ? vgg : alex) weights.push_back(make_parameter({1, width, 1, 1}, false));
}

Var Lpips::operator()(const Var& in, const Var& ref) const {
  check_pair(in.shape(), ref.shape(), trunk.smallest_image());
  Var f = trunk.scaled(in), g = trunk.scaled(ref), total;
  std::size_t tap = 0;
  for (const LpipsLayer& layer : trunk.layers) {
    f = layer(f), g = layer(g);
    if (!layer.tap) continue;
    const Var d = layer_distance(f, g, heads.weights[tap++]);
    total = total.defined() ? total + d : d;
  }
  return total;
}

// Where the sum of squares s is 0, the root is taken of 1 instead and the factor is 0, so that no infinite derivative arises.
Var normalize_channels(const Var& f) {
  const Var s = sum(square(f), {1}, true);
  const Device device = f.value().device();
  const Tensor zero = Tensor::zeros({}, f.dtype(), device), one = Tensor::ones({}, f.dtype(), device), dead = equal(s.value(), zero);
  return f * where(dead, zero, reciprocal(sqrt(where(dead, one, s)) + 1e-10));
}

std::string size_text(const LpipsConfig& config) { return config.trunk == "vgg" ? "LPIPS with VGG16" : "LPIPS with AlexNet"; }

}  // namespace fm
