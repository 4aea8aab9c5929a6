// A REG teaches a network without a class token, through the programs: class tokens of DINOv2 are encoded once beside the latents, a stage on data takes
// them, CMT rolls both variables out, and samples of the teacher move both.
#include <doctest/doctest.h>

#include "data/dataset.h"
#include "data/latent_cache.h"
#include "data/source.h"
#include "flowmap/training/class_tokens.h"
#include "nn/models/presets.h"
#include "nn/models/published_names.h"
#include "tensor/ops/resize.h"
#include "tests/apps/tiny_run.h"
#include "tests/support/hash_fill.h"
#include "tests/support/sit_stand_ins.h"
#include "tests/support/tensors.h"

using namespace fm;
using namespace fm::test;

namespace {

constexpr std::int64_t numbers = 384, images = 6;          // of DINOv2 S

struct Files {
  TempFolder folder;
  fs::path reg = folder / "reg.pt", dino = folder / "dinov2_vits14_pretrain.pth", recipe = folder / "recipe.toml";

  Files() {
    DitConfig c = small_sit();
    c.class_token = numbers;
    TorchWriter::write(reg, with_projectors(state_dict(random_sit(c, 4))), "ema");
    VitEncoderConfig encoder = dinov2("S");
    encoder.registers = 0, encoder.affine_norm = true;
    NamedTensors blank, file;
    const ShapesOnly shapes;
    const VitEncoder net(encoder);
    for (const auto& [name, t] : state_dict(net)) blank.emplace_back(name, t);
    for (const auto& [name, t] : to_published_names(blank, "meta")) file.emplace_back(name, hash_fill(name, t.shape()));
    TorchWriter::write(dino, file);
    write_atomically(recipe, "space = \"vae\"\nnetwork = \"sit\"\ndata = \"shapes?count=6,size=16,channels=3\"\nvae_weights = \"" + sit_stand_ins().vae.string() +
                                 "\"\nteacher_weights = \"" + reg.string() + "\"\nclass_token_weights = \"" + dino.string() + R"("
guidance = 2.0
[sit]
patch_size = 2
width = 16
depth = 2
heads = 1
[vae.model]
widths = [32, 32]
resnets = 1
[latents]
flip = true
shard = 4
[judge.loop]
steps = 0
[cmt.loop]
steps = 1
batch = 2
[cmt.objective]
points = 4
pairs = 3
[mfd.loop]
steps = 2
batch = 3
[map.loop]
steps = 1
batch = 2
)");
  }
};

const Files& files() {
  static const Files made;
  return made;
}

Result train_reg(const std::string& stage, const fs::path& out, const Arguments& more = {}) {
  return run_program_file(own_folder().parent_path() / "apps/flowmap_train",
                          Arguments{stage, "--config", files().recipe.string(), "--threads", "2", "--out", out.string()} + more);
}

Tensor cached(const LatentCache& cache, bool mirrored) {
  Tensor out = Tensor::empty({cache.count(), cache.info().latent.numel()}, DType::f32);
  for (std::int64_t i = 0; i < cache.count(); ++i) cache.read(i, mirrored, out.data<float>() + i * cache.info().latent.numel());
  return out;
}

}  // namespace

TEST_CASE("a REG teaches: CMT, MFD on class tokens that are encoded once, and its own samples") {
  const TempFolder folder;
  const fs::path out = folder / "run", tokens = out / "latents_class_tokens";
  Result r = train_reg("cmt", out);
  REQUIRE_MESSAGE(r.code == 0, r.err);
  CHECK_MESSAGE(has(r.err, "class token of 384 numbers"), r.err);
  CHECK_MESSAGE(has(r.err, "reg.pt: a REG, whose class token of 384 numbers this network lacks"), r.err);
  CHECK(!fs::exists(tokens));                              // CMT needs no images
  r = train_reg("mfd", out);
  REQUIRE_MESSAGE(r.code == 0, r.err);
  CHECK_MESSAGE(has(r.err, "class tokens of 6 images, mirrored too, class token of dinov2_vits14, bicubic to 224 pixels"), r.err);

  // The tokens are those of the images, in their order.
  const LatentCache cache(tokens);
  CHECK(cache.info().latent == Shape{numbers, 1, 1});
  const auto net = load_class_token_encoder(files().dino.string(), {});
  const auto source = open_source("shapes?count=6,size=16,channels=3", Split::train);
  Tensor pixels = Tensor::empty({images, 3, 16, 16}, DType::f32);
  for (std::int64_t i = 0; i < images; ++i) source->read(i, {}, pixels.data<float>() + i * 768);
  const Tensor mean = Tensor::from(std::vector<double>{0.485, 0.456, 0.406}, {3, 1, 1}).to(DType::f32),
               deviation = Tensor::from(std::vector<double>{0.229, 0.224, 0.225}, {3, 1, 1}).to(DType::f32);
  const auto tokens_of = [&](const Tensor& x) { return (*net)(resize((x - mean) / deviation, 224, 224, Interpolation::bicubic)); };
  const Tensor wanted = tokens_of(pixels);
  CHECK(max_difference(cached(cache, false), wanted) < 1e-4 * norm(wanted));
  CHECK(max_difference(wanted.slice(0, 0, 1), wanted.slice(0, 1, 2)) > 0.1);       // images differ in their tokens
  CHECK(max_difference(cached(cache, true), wanted) > 0.1);                           // and so do their mirror images

  // The same again: nothing is encoded or trained. In a new stage: the cache is read.
  const auto written = fs::last_write_time(tokens / "index.json");
  r = train_reg("map", out);
  REQUIRE_MESSAGE(r.code == 0, r.err);
  CHECK(!has(r.err, "class tokens of 6 images"));
  CHECK(fs::last_write_time(tokens / "index.json") == written);

  const Result sampled = run_program_file(own_folder().parent_path() / "apps/flowmap_sample",
                                          {"--out", out.string(), "--stage", "teacher", "--steps", "3", "--count", "2", "--grid=", "--npz", (folder / "a.npz").string()});
  CHECK_MESSAGE(sampled.code == 0, sampled.err);
}

TEST_CASE("a REG without what it needs is refused before the first step") {
  const TempFolder folder;
  const auto refuse = [&](const std::string& stage, const Arguments& more, int code, const std::string& message) {
    refused(train_reg(stage, folder / "run", more + Arguments{"-q", "--init-from", sit_stand_ins().mean_flow_z.string()}), code, message);
  };
  refuse("mfd", {"--class-token-weights", ""}, exit_code::usage, "reg.pt: a REG, whose velocity takes the class token of DINOv2 of an image beside its latent: set class_token_weights");
  refuse("mfd", {"--class-token-weights", (folder / "no.pth").string()}, exit_code::unreadable, "the recipe names files that do not exist");
  refuse("mfd", {"--teacher-weights", sit_stand_ins().reg.string()}, exit_code::usage, "class tokens of 384 numbers, but those of the teacher " + sit_stand_ins().reg.string() + " have 12");
  refuse("map", {"--objective", "cd"}, exit_code::usage, "map: its objective calls the teacher at points of its own, and this teacher (REG) needs the class token");
}
