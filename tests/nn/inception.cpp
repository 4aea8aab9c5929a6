// FID's Inception: the preparations of its images against golden pixels of TensorFlow's, PyTorch's and Pillow's resizing, and the loading of its files.
// Values of the network: inception_golden.cpp.
#include "nn/models/inception.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "nn/models/inception_file.h"
#include "nn/models/inception_input.h"
#include "tests/support/error_of.h"
#include "tests/support/inception_stand_in.h"
#include "tests/support/near.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tensors.h"
#include "tests/support/text.h"
#include "tests/support/torch_writer.h"

using namespace fm;
using namespace fm::test;

namespace {

// Prepared pixels of image 0, moved back to 0..255: channel 0, row 0, from column 0; channel 1, row 150, from column 149; mean.
struct Pixels {
  std::int64_t side;
  InceptionInput input;
  std::vector<double> corner, middle;
  double mean;
};

const std::vector<Pixels> golden_pixels{
    {256, InceptionInput::tf1, {2, 42.2408, 42.58863, 46.82274}, {156.1683, 166.6257, 170.0029, 162.5321}, 127.11566},
    {256, InceptionInput::half_pixel, {2, 38.8612, 43.23579, 45.95987}, {155.0343, 165.4414, 172.0719, 166.3549}, 127.11668},
    {256, InceptionInput::clean, {0, 42.06161, 43.67516, 44.65224}, {154.3707, 166.5461, 173.5321, 168.4124}, 127.11647},
    {32, InceptionInput::tf1, {2, 7.0301, 12.0602, 17.0903}, {191.8149, 192.72, 188.4809, 184.2418}, 155.41019},
    {32, InceptionInput::half_pixel, {2, 2, 2, 2}, {165.393, 167.0198, 168.6466, 170.2735}, 154.2151},
    {32, InceptionInput::clean, {0, 0, 0, 0}, {163.7518, 166.8167, 169.6378, 171.9356}, 154.2163},
    {512, InceptionInput::tf1, {2, 42.58863, 57.09699, 60.46822}, {94.5952, 87.7755, 120.4174, 111.7024}, 127.12474},
    {512, InceptionInput::half_pixel, {27.30359, 33.0843, 61.6357, 62.2444}, {109.2433, 85.05731, 130.1217, 114.8823}, 127.13854},
    {512, InceptionInput::clean, {31.19188, 37.19122, 56.8246, 62.84206}, {106.8975, 95.13448, 119.7005, 114.843}, 127.13656}};

double as_pixel(double v, InceptionInput input) { return input == InceptionInput::half_pixel ? (v + 1) / 2 * 255 : v * 128 + 128; }

// Half a unit of the fourth decimal (seven digits for numbers above 100), and the rounding of the network's range to f32.
void check_pixels(const Tensor& prepared, const Pixels& g) {
  CAPTURE(g.side);
  CAPTURE(name_of(g.input));
  const auto at = [&](std::int64_t c, std::int64_t y, std::int64_t x) { return as_pixel(prepared.select(0, 0).select(0, c).select(0, y).select(0, x).item(), g.input); };
  constexpr double bound = 0.5e-4 + 2e-5;
  for (std::int64_t i = 0; i < 4; ++i) {
    const auto k = static_cast<std::size_t>(i);
    CHECK(std::abs(at(0, 0, i) - g.corner[k]) < bound);
    CHECK(std::abs(at(1, 150, 149 + i) - g.middle[k]) < bound);
  }
  const std::vector<double> all = prepared.to_vector<double>();
  double sum = 0;
  for (const double v : all) sum += as_pixel(v, g.input);
  CHECK(near(sum / static_cast<double>(all.size()), g.mean, 1e-7));
}

std::string problem_of(const NamedTensors& file) {
  return error_of<FileError>([&] { inception_from(file); });
}

NamedTensors without(NamedTensors file, const std::string& name) {
  std::erase_if(file, [&](const auto& entry) { return entry.first == name; });
  return file;
}

NamedTensors with(NamedTensors file, const std::string& name, const Tensor& value) {
  file = without(std::move(file), name);
  file.emplace_back(name, value);
  return file;
}

}  // namespace

TEST_CASE("Inception's preparations have the golden pixels, from u8 and from f32 images") {
  for (const Pixels& g : golden_pixels) {
    const Tensor bytes = hash_picture(0, g.side), prepared = prepare_for_inception(bytes, g.input);
    REQUIRE(prepared.shape() == Shape{1, 3, 299, 299});
    check_pixels(prepared, g);
    CHECK(max_difference(prepare_for_inception(bytes.to(DType::f32), g.input), prepared) == 0);
  }
}

TEST_CASE("an image of side 299 keeps its pixels, and 0 and 255 become the ends of each range") {
  const Tensor bytes = hash_picture(1, 299);
  for (const std::string& name : inception_input_names()) {
    const InceptionInput input = inception_input(name);
    CHECK(name_of(input) == name);
    const std::vector<double> from = bytes.to_vector<double>(), to = prepare_for_inception(bytes, input).to_vector<double>();
    double worst = 0;
    for (std::size_t i = 0; i < from.size(); ++i) worst = std::max(worst, std::abs(as_pixel(to[i], input) - from[i]));
    CHECK(worst < 3e-5);
    for (const int value : {0, 255}) {
      const Tensor flat = prepare_for_inception(Tensor::full({1, 3, 7, 5}, value, DType::u8), input);
      const double wanted = value == 0 ? -1 : input == InceptionInput::half_pixel ? 1 : 0.9921875;
      for (const double v : flat.to_vector<double>()) REQUIRE(std::abs(v - wanted) < 2e-7);
    }
  }
}

TEST_CASE("images of a batch are prepared independently, at sides that differ") {
  const Tensor a = Tensor::from(hash_image(0, 37, 61), {1, 37, 61, 3}).permute({0, 3, 1, 2}), b = Tensor::from(hash_image(1, 37, 61), {1, 37, 61, 3}).permute({0, 3, 1, 2});
  Tensor both = Tensor::empty({2, 3, 37, 61}, DType::u8);
  both.slice(0, 0, 1).copy_from(a), both.slice(0, 1, 2).copy_from(b);
  for (const InceptionInput input : {InceptionInput::tf1, InceptionInput::half_pixel, InceptionInput::clean}) {
    const Tensor y = prepare_for_inception(both, input);
    CHECK(max_difference(y.slice(0, 0, 1), prepare_for_inception(a, input)) == 0);
    CHECK(max_difference(y.slice(0, 1, 2), prepare_for_inception(b, input)) == 0);
  }
  // TensorFlow 1 in double, at an element of the last row and column.
  const auto value = [&](std::int64_t y, std::int64_t x) { return b.select(0, 0).select(0, 2).select(0, y).select(0, x).to(DType::f64).item(); };
  const double v = 298 * 37.0 / 299 - 36, h = 200 * 61.0 / 299;
  const auto left = static_cast<std::int64_t>(h);
  CHECK(v > 0);                                  // the row below does not exist: the last row repeats
  const double wanted = value(36, left) + (h - static_cast<double>(left)) * (value(36, left + 1) - value(36, left));
  const Tensor y = prepare_for_inception(both, InceptionInput::tf1);
  CHECK(near(128 + 128 * y.select(0, 1).select(0, 2).select(0, 298).select(0, 200).item(), wanted, 1e-5));
}

TEST_CASE("images that cannot be prepared are refused") {
  CHECK(has(error_of<ShapeError>([] { prepare_for_inception(Tensor::zeros({1, 1, 8, 8}), InceptionInput::tf1); }), "must be (N, 3, H, W)"));
  CHECK(has(error_of<DTypeError>([] { prepare_for_inception(Tensor::zeros({1, 3, 8, 8}, DType::f64), InceptionInput::tf1); }), "f64"));
  CHECK(has(error_of<ConfigError>([] { inception_input("tf2"); }), "\"tf2\" must be one of tf1, half-pixel, clean"));
}

TEST_CASE("Inception has the published numbers of tensors and parameters") {
  const auto shapes = inception_file_shapes();
  CHECK(shapes.size() == 472);
  std::int64_t parameters = 0, statistics = 0;
  for (const auto& [name, shape] : shapes) (has(name, "running_") ? statistics : parameters) += shape.numel();
  CHECK(parameters == 23850960);
  CHECK(statistics == 2 * 17216);
}

TEST_CASE("a file with counters, the other head and a wrapper's prefix gives the same network") {
  NamedTensors file;
  for (const auto& [name, t] : inception_blank()) {
    file.emplace_back("module." + name, t);
    if (name.ends_with("running_var")) file.emplace_back("module." + name.substr(0, name.rfind('.')) + ".num_batches_tracked", Tensor::zeros({}, DType::i64));
  }
  CHECK(file.size() == 566);
  file.emplace_back("module.AuxLogits.fc.weight", Tensor::zeros({1000, 768}));
  CHECK_NOTHROW(inception_from(file));
}

TEST_CASE("the batch norm is folded into the convolution") {
  const std::string conv = "Mixed_6b.branch7x7_2";
  NamedTensors file = inception_blank();
  const auto set = [&](const std::string& name, const Shape& shape) {
    file = with(std::move(file), conv + name, hash_fill(conv + name, shape));
    return file.back().second;
  };
  const Tensor w = set(".conv.weight", {128, 128, 1, 7}), gamma = set(".bn.weight", {128}), beta = set(".bn.bias", {128}), mean = set(".bn.running_mean", {128}),
               variance = set(".bn.running_var", {128});
  const Inception net = inception_from(file, DType::f64);
  const auto g = gamma.to_vector<double>(), b = beta.to_vector<double>(), m = mean.to_vector<double>(), v = variance.to_vector<double>(), from = w.to_vector<double>();
  const auto weight = net.mixed6b.branch7x7_2.weight.value.to_vector<double>(), bias = net.mixed6b.branch7x7_2.bias.value.to_vector<double>();
  for (std::size_t o = 0; o < 128; ++o) {
    const double a = g[o] / std::sqrt(v[o] + 0.001);
    REQUIRE(near(bias[o], b[o] - m[o] * a, 1e-9));
    for (std::size_t i = o * 896; i < (o + 1) * 896; i += 7) REQUIRE(near(weight[i], from[i] * a, 1e-14));
  }
}

TEST_CASE("files of other networks and incomplete files are refused by name") {
  const NamedTensors blank = inception_blank();
  CHECK(has(problem_of(without(blank, "Mixed_5b.branch1x1.bn.running_mean")), "missing: Mixed_5b.branch1x1.bn.running_mean"));
  CHECK(has(problem_of(with(blank, "Mixed_8a.conv.weight", Tensor::zeros({1}))), "unexpected: Mixed_8a.conv.weight"));
  CHECK(has(problem_of(with(blank, "Mixed_6b.branch7x7_2.conv.weight", Tensor::zeros({128, 128, 7, 1}))), "other shape: Mixed_6b.branch7x7_2.conv.weight"));
  CHECK(has(problem_of(with(blank, "Mixed_5b.branch1x1.bn.running_var", Tensor::full({64}, -1))), "variance cannot be negative"));
  const std::string torchvision = problem_of(with(blank, "fc.weight", Tensor::zeros({1000, 2048})));
  CHECK(has(torchvision, "inception_v3_google"));
  CHECK(has(torchvision, "pt_inception-2015-12-05-6726825d.pth"));
  CHECK(has(problem_of({{"mixed_10/tower/conv/conv2d_params", Tensor::zeros({1, 1, 1, 1})}}), "TensorFlow"));
}

TEST_CASE("errors of files name the file, and the published files that can be read") {
  const TempFolder folder;
  const auto problem = [](const std::filesystem::path& file) { return error_of<FileError>([&] { load_inception(file.string(), {}); }); };
  for (const std::string& message : {problem(folder.path() / "absent.pth"), [&] {
         const auto graph = folder.path() / "classify_image_graph_def.pb";
         std::ofstream(graph) << "\x0a\x29\x0a\x04node";
         return problem(graph);
       }()}) {
    CHECK(has(message, folder.path().string()));
    CHECK(has(message, "weights-inception-2015-12-05-6726825d.pth"));
    CHECK(has(message, "sha256 begins with 6726825d"));
  }
  const auto short_file = folder.path() / "short.pth";
  TorchWriter::write(short_file, {{"fc.bias", Tensor::zeros({1008})}});
  CHECK(has(problem(short_file), "short.pth: load_state: the stored tensors do not fit the model; missing: "));
}
