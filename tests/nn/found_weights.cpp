// load_weights with each kind of path: a file, a checkpoint, a folder of checkpoints, a run. load_model and frozen_model.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "nn/checkpoint.h"
#include "tensor/io/atomic_file.h"
#include "tests/support/temp_folder.h"
#include "tests/support/text.h"
#include "tests/support/error_of.h"

using namespace fm;
using fm::test::error_of;
using fm::test::has;
namespace fs = std::filesystem;

namespace {

const Warn no_warning = [](const std::string& line) { FAIL("unexpected warning: ", line); };

double first_value(const NamedTensors& tensors) { return tensors.at(0).second.select(0, 0).item(); }

struct Two {
  Parameter w{Tensor::arange(50)}, b{Tensor::full({7}, 0.5)};
  template <class V> void visit(V&& v) {
    v("w", w);
    v("b", b);
  }
};

}  // namespace

TEST_CASE("weights load from a file, a checkpoint, a folder of checkpoints, or a run") {
  const TempFolder temp;
  CheckpointFolder folder(temp / "run" / "checkpoints", 3, 0);
  for (const std::int64_t step : {1, 2})
    save_checkpoint(folder, step, {{"model", {{"w", Tensor::full({3}, static_cast<double>(step))}}}, {"ema", {{"w", Tensor::full({3}, -1)}}}}, {{"seed", 7}});
  const auto from = [&](const fs::path& where) { return load_weights(where.string(), no_warning); };
  for (const char* where : {"run", "run/checkpoints", "run/checkpoints/latest", "run/checkpoints/step-00000002", "run:model"}) {
    const Weights w = from(temp / where);
    CHECK(first_value(w.tensors) == 2);
    CHECK(w.step == 2);
    CHECK(w.state->at("seed") == 7);
  }
  CHECK(first_value(from(temp / "run/checkpoints/step-00000001").tensors) == 1);
  CHECK(first_value(from(temp / "run:ema").tensors) == -1);
  const Weights bare = from(temp / "run/checkpoints/step-00000001/ema.safetensors");
  CHECK(first_value(bare.tensors) == -1);
  CHECK(bare.step == -1);
  CHECK(bare.state == nullptr);
  fs::create_directories(temp / "odd:name");
  fs::copy(folder.path(1), temp / "odd:name" / "x:y", fs::copy_options::recursive);
  CHECK(first_value(from(temp / "odd:name" / "x:y").tensors) == 1);
  CHECK(first_value(from(temp / "odd:name" / "x:y:ema").tensors) == -1);

  CHECK(has(error_of([&] { from(temp / "absent"); }), "does not exist"));
  CHECK(has(error_of([&] { from(temp / "absent:ema"); }), "does not exist"));
  CHECK(has(error_of([&] { from(temp / "run:optimizer"); }), "no part \"optimizer\"; it has ema, model"));
  CHECK(has(error_of([&] { from(temp / "run/checkpoints/latest/ema.safetensors:ema"); }), "is one file"));
  CHECK(has(error_of([&] { from(temp.path()); }), "is a folder of trainings: name one of " + (temp / "run").string()));
  CHECK(has(error_of([&] { from(temp / "odd:name"); }), "neither a checkpoint"));
  std::string damaged = read_file(folder.path(2) / "model.safetensors");
  damaged.back() = static_cast<char>(damaged.back() ^ 1);
  write_atomically(folder.path(2) / "model.safetensors", damaged);
  int warnings = 0;
  CHECK(load_weights((temp / "run").string(), [&](const std::string&) { ++warnings; }).step == 1);
  CHECK(warnings == 1);
  CHECK(has(error_of([&] { from(folder.path(2)); }), "do not match their checksum"));      // the user named this checkpoint, so no other is loaded

  Two toy;
  const std::string what = error_of([&] { load_model(toy, bare); });
  CHECK(has(what, "ema.safetensors: "));
  CHECK(has(what, "missing: b"));
  CHECK(has(what, "w (has [3], the model needs [50])"));
}

namespace {

struct Sized {
  std::int64_t config;
  Parameter w;
  explicit Sized(std::int64_t n) : config(n), w(make_parameter({n})) {}
  template <class V> void visit(V&& v) { v("w", w); }
};

}  // namespace

TEST_CASE("a frozen model has its own f32 weights, so the file may be removed") {
  TempFolder temp;
  const fs::path file = temp / "w.safetensors";
  save_safetensors(file, {{"w", Tensor::arange(5000).to(DType::bf16)}});
  const Sized wide = frozen_model<Sized>(5000, load_weights(file.string(), no_warning));
  save_safetensors(file, {{"w", Tensor::arange(5000)}});
  const Sized model = frozen_model<Sized>(5000, load_weights(file.string(), no_warning));
  fs::resize_file(file, 0);                                             // if the model were a view of the mapped file, reading it would now end the process
  CHECK(model.w.value.to_vector<float>() == Tensor::arange(5000).to_vector<float>());
  CHECK(wide.w.value.dtype() == DType::f32);
  CHECK(wide.w.value.to_vector<float>() == Tensor::arange(5000).to(DType::bf16).to_vector<float>());
  CHECK_FALSE(model.w.trainable);
  save_safetensors(file, {{"v", Tensor::arange(50)}});
  const std::string what = error_of([&] { frozen_model<Sized>(5000, load_weights(file.string(), no_warning)); });
  CHECK(has(what, "w.safetensors: "));
  CHECK(has(what, "missing: w; unexpected: v"));
}
