// The network of FD-DINOv2 with rule-filled weights (hash_fill.h) against golden numbers of Meta's module (evaluation.md 3): positions and features.
#include "nn/models/dinov2_features.h"

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "nn/models/presets.h"
#include "nn/models/published_names.h"
#include "tensor/ops/copy.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/resize.h"
#include "tests/support/error_of.h"
#include "tests/support/hash_fill.h"
#include "tests/support/near.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tensors.h"
#include "tests/support/text.h"
#include "tests/support/torch_writer.h"

using namespace fm;
using namespace fm::test;

namespace {

// Meta's file of size S with the values of the rule, `depth` blocks of it.
NamedTensors meta_file(std::int64_t registers = 0, std::int64_t depth = 12) {
  VitEncoderConfig c = dinov2("S");
  c.registers = registers, c.affine_norm = true, c.depth = depth;
  const ShapesOnly shapes;
  const VitEncoder net(c);
  NamedTensors blank, file;
  for (const auto& [name, t] : state_dict(net)) blank.emplace_back(name, t);
  for (const auto& [name, t] : to_published_names(blank, "meta")) file.emplace_back(name, hash_fill(name, t.shape()));
  return file;
}

// Image m of side 224, (x/255 - mean)/deviation.
Tensor normalized_image(int m) {
  const Tensor mean = Tensor::from(std::vector<double>{0.485, 0.456, 0.406}, {3, 1, 1}), deviation = Tensor::from(std::vector<double>{0.229, 0.224, 0.225}, {3, 1, 1});
  return (image_tensor(hash_image(m, 224, 224), 224, 224, 1 / 255.0) - mean) / deviation;
}

void check_weights(const Resampling& r, std::int64_t o, std::int64_t first, const std::vector<double>& wanted) {
  double sum = 0;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const double w = r.weight(o, first + static_cast<std::int64_t>(i));
    CHECK(near_within(w, wanted[i], 4e-7));     // rounding of the polynomials in f32
    sum += w;
  }
  CHECK(near(sum, 1.0, 1e-6));                   // no weight lies outside of these
}

std::string problem_of(const NamedTensors& file) {
  const TempFolder folder;
  TorchWriter::write(folder / "model.pth", file);
  return error_of<FileError>([&] { load_dinov2_features((folder / "model.pth").string(), {}); });
}

}  // namespace

TEST_CASE("positions are resized with the scale 16.1/37 and PyTorch's f32 weights") {
  const Resampling r = scaled_bicubic(37, 16, 16.1 / 37);
  check_weights(r, 0, 0, {0.3339549, 0.7769287, -0.110883});
  check_weights(r, 8, 18, {-0.023901, 0.9974241, 0.0273227, -0.0008454});
  check_weights(r, 15, 34, {-0.0701676, 0.9692134, 0.1009545});
  CHECK_THROWS_AS(scaled_bicubic(37, 16, 0), ShapeError);
}

TEST_CASE("DINOv2's positions for 16x16 patches are those of Meta's module") {
  const Tensor table = hash_fill("pos_embed", {1, 1370, 384}), resized = dinov2_positions(table, 16);
  REQUIRE(resized.shape() == Shape{1, 257, 384});
  CHECK(near(norm(resized), 77.982418, 1e-7));
  const double wanted[] = {0.16188297, 0.087782055, 0.1755054, -0.28889582};
  for (std::int64_t i = 0; i < 4; ++i) CHECK(near(resized.select(1, 1).select(1, i).item(), wanted[i], 4e-6));
  CHECK(max_difference(resized.slice(1, 0, 1), table.slice(1, 0, 1)) == 0);
  // Rows and columns keep their order: a table that depends on the row alone stays constant along the columns.
  Tensor rows = Tensor::zeros({1, 26, 1});
  rows.slice(1, 1, 26).reshape({5, 5}).copy_from(Tensor::arange(5, DType::f32).reshape({5, 1}));
  const Tensor small = dinov2_positions(rows, 3).slice(1, 1, 10).reshape({3, 3});
  CHECK(max_difference(small.select(1, 0), small.select(1, 2)) < 4e-6);
  CHECK(small.select(1, 0).select(0, 2).item() > small.select(1, 0).select(0, 0).item() + 1);
  CHECK_THROWS_AS(dinov2_positions(Tensor::zeros({1, 1369, 4}), 16), ShapeError);
}

TEST_CASE("the features of dinov2_vits14 are those of Meta's module, in f64 and f32") {
  const TempFolder folder;
  NamedTensors file = meta_file();
  CHECK(file.size() == 175);
  TorchWriter::write(folder / "dinov2_vits14_pretrain.pth", file);
  Dinov2Features net = load_dinov2_features((folder / "dinov2_vits14_pretrain.pth").string(), {});
  CHECK(net.name == "dinov2_vits14");
  const Tensor images = concat(std::vector<Tensor>{normalized_image(0), normalized_image(1)}, 0), single = net(images.to(DType::f32));
  to_dtype(net.encoder, DType::f64);
  const Tensor y = net(images);
  REQUIRE(y.shape() == Shape{2, 384});
  CHECK(max_difference(single, y) < 1e-5);
  const auto check = [&](std::int64_t row, double mean, double l2, const std::vector<double>& first) {
    const std::vector<double> v = y.slice(0, row, row + 1).to_vector<double>();
    double sum = 0;
    for (const double x : v) sum += x;
    CHECK(near(sum / 384, mean, 1e-5));
    CHECK(near(norm(y.slice(0, row, row + 1)), l2, 1e-7));
    for (std::size_t i = 0; i < first.size(); ++i) CHECK(near_within(v[i], first[i], 5e-7));
  };
  check(0, 0.0034799083, 19.650621, {0.88207673, 0.44802428, -0.0051854317, 1.0541121, 0.89007333, -0.21909141, 0.12168991, 0.76034494});
  check(1, 0.0031401722, 19.648886, {0.47973484, 0.49178877, -0.33763413, 1.0671768});
  CHECK(has(error_of<ShapeError>([&] { net(Tensor::zeros({1, 3, 256, 256}, DType::f64)); }), "(N, 3, 224, 224)"));
}

TEST_CASE("files of other models are refused by name") {
  CHECK(has(problem_of(meta_file(4, 1)), "with registers; FD-DINOv2 uses dinov2_vitl14_pretrain.pth, which has none"));
  CHECK(has(problem_of(meta_file(0, 1)), "missing: encoder.layer.{1-11}.norm1.weight"));
  NamedTensors wide = meta_file(0, 1);
  for (auto& [name, t] : wide)
    if (name == "pos_embed") t = Tensor::zeros({1, 1370, 1536});
  CHECK(has(problem_of(wide), "width 1536 is not that of DINOv2 S, B or L"));
  for (auto& [name, t] : wide)
    if (name == "pos_embed") t = Tensor::zeros({1, 257, 384});
  CHECK(has(problem_of(wide), "has 257 positions, but DINOv2's files have 1370; FD-DINOv2 uses dinov2_vitl14_pretrain.pth"));
}
