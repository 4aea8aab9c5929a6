// A REG teaches a network without a class token, through the programs: class tokens of DINOv2 are encoded once beside the latents, a stage on data takes
// them, CMT rolls both variables out, and samples of the teacher move both.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "data/dataset.h"
#include "data/latent_cache.h"
#include "data/permutation.h"
#include "data/source.h"
#include "flowmap/training/chain/training_run.h"
#include "flowmap/training/class_tokens.h"
#include "nn/models/presets.h"
#include "nn/models/published_names.h"
#include "tensor/ops/resize.h"
#include "tests/apps/tiny_run.h"
#include "tests/support/error_of.h"
#include "tests/support/hash_fill.h"
#include "tests/support/picture_folder.h"
#include "tests/support/sit_stand_ins.h"
#include "tests/support/tensors.h"

using namespace fm;
using namespace fm::test;

namespace {

constexpr std::int64_t numbers = 384, images = 6;          // of DINOv2 S

// DINOv2 S under Meta's names.
NamedTensors dino_tensors() {
  const ShapesOnly shapes;
  VitEncoderConfig encoder = dinov2("S");
  encoder.registers = 0, encoder.affine_norm = true;
  NamedTensors blank, file;
  for (const auto& [name, t] : state_dict(VitEncoder(encoder))) blank.emplace_back(name, t);
  for (const auto& [name, t] : to_published_names(blank, "meta")) file.emplace_back(name, hash_fill(name, t.shape()));
  return file;
}

struct Files {
  TempFolder folder;
  fs::path reg = folder / "reg.pt", dino = folder / "dinov2_vits14_pretrain.pth", recipe = folder / "recipe.toml";

  Files() {
    DitConfig c = small_sit();
    c.class_token = numbers;
    TorchWriter::write(reg, with_projectors(state_dict(random_sit(c, 4))), "ema");
    TorchWriter::write(dino, dino_tensors());
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

// Tokens of the images, or of their mirror images, one by one.
Tensor tokens_of_images(bool mirrored) {
  static const auto net = load_class_token_encoder(files().dino.string(), {});
  const auto source = open_source("shapes?count=6,size=16,channels=3", Split::train);
  Tensor pixels = Tensor::empty({images, 3, 16, 16}, DType::f32);
  for (std::int64_t i = 0; i < images; ++i) {
    std::vector<std::uint8_t> bytes(768);
    source->read(i, {}, bytes.data());
    for (std::size_t k = 0; k < bytes.size(); ++k) pixels.data<float>()[static_cast<std::size_t>(i) * 768 + (mirrored ? k / 16 * 16 + 15 - k % 16 : k)] = static_cast<float>(bytes[k]) / 255;
  }
  const Tensor mean = Tensor::from(std::vector<double>{0.485, 0.456, 0.406}, {3, 1, 1}).to(DType::f32),
               deviation = Tensor::from(std::vector<double>{0.229, 0.224, 0.225}, {3, 1, 1}).to(DType::f32);
  return (*net)(resize((pixels - mean) / deviation, 224, 224, Interpolation::bicubic));
}

// The recipe of files(), in this process.
Recipe recipe_of_files(const std::string& from) {
  Recipe r;
  r.data = "shapes?count=6,size=16,channels=3", r.space = "vae", r.network.name = "sit";
  r.vae_weights = sit_stand_ins().vae.string(), r.teacher_weights = files().reg.string(), r.class_token_weights = files().dino.string();
  DitConfig& net = r.network.of<Dit>();
  net.patch_size = 2, net.width = 16, net.depth = 2, net.heads = 1;
  r.vae.model.widths = {32, 32}, r.vae.model.resnets = 1;
  r.latents.flip = true, r.latents.shard = 4, r.latents.from = from;
  return r;
}

// A run in this process.
struct Here {
  TempFolder folder;
  RunOptions options;
  StderrMessages log;
  Ranks alone;
  Recipe recipe;
  Here(const std::string& from, const fs::path& out) : recipe(recipe_of_files(from)) { options.out = out.string(), options.config_file = files().recipe.string(); }
  TrainingRun run() { return TrainingRun(recipe, {.launch = options, .log = log, .ranks = alone}); }
};

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
  CHECK_MESSAGE(has(r.err, "guidance of a REG at the class token of each image is weaker"), r.err);
  const auto made_from = nlohmann::json::parse(read_file(out / "mfd/checkpoints/step-00000002/state.json")).at("made_from");
  CHECK(has(made_from.at("class tokens").get<std::string>(), " class token of dinov2_vits14, bicubic to 224 pixels"));

  // Its targets have the recipe's guidance.
  std::map<std::string, std::string> models;
  for (const char* guidance : {"1", "2"}) {
    const fs::path other = folder / guidance;
    REQUIRE(train_reg("mfd", other, {"--guidance", guidance, "--init-from", sit_stand_ins().mean_flow_z.string()}).code == 0);
    models[guidance] = read_file(other / "mfd/checkpoints/latest/model.safetensors");
  }
  CHECK(models["1"] != models["2"]);

  // The network has REG's positions, and its tokens are those of the images, in their order.
  const StateDict weights = state_dict(load_class_token_encoder(files().dino.string(), {})->encoder);
  const auto positions = std::find_if(weights.begin(), weights.end(), [](const auto& entry) { return has(entry.first, "position_embeddings"); });
  REQUIRE(positions != weights.end());
  CHECK(max_difference(positions->second, dinov2_positions(hash_fill("pos_embed", {1, 1370, numbers}), 16, Dinov2Positions::timm)) == 0);
  const LatentCache cache(tokens);
  CHECK(cache.info().latent == Shape{numbers, 1, 1});
  const Tensor wanted = tokens_of_images(false), mirrored = tokens_of_images(true);
  CHECK(max_difference(cached(cache, false), wanted) < 1e-5 * norm(wanted));
  CHECK(max_difference(cached(cache, true), mirrored) < 1e-5 * norm(wanted));
  CHECK(max_difference(wanted.slice(0, 0, 1), wanted.slice(0, 1, 2)) > 0.1);       // images differ in their tokens
  CHECK(max_difference(mirrored, wanted) > 0.1);                                       // and so do their mirror images

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

TEST_CASE("a batch has the token of each row's image, mirrored like its latent, from any source of latents; encode makes both caches") {
  const TempFolder folder;
  const Tensor plain = tokens_of_images(false), mirrored = tokens_of_images(true);
  for (const char* from : {"memory", "cache", "images"}) {
    Here here(from, folder / from);
    TrainingRun run = here.run();
    if (here.recipe.latents.from == "cache") {
      run.encode_latents();
      CHECK(LatentCache::is_finished(folder / from / "latents_class_tokens"));
    }
    run.prepare_stats();
    CHECK(!run.flow_batch({0, 0, 4}, 4, 9).beside.defined());
    run.open_class_tokens(numbers);
    std::int64_t flipped = 0;
    for (const std::int64_t step : {0, 3}) {
      const Batch batch = run.flow_batch({step, 1, 3}, 4, 9);
      const std::vector<EpochRow> rows = epoch_rows(images, 9, step * 4 + 1, 3);
      REQUIRE(batch.beside.shape() == Shape{3, numbers});
      for (std::size_t i = 0; i < 3; ++i) {
        const std::int64_t k = rows[i].index, row = static_cast<std::int64_t>(i);
        CHECK(batch.y.to_vector<std::int64_t>()[i] == k);                                  // shapes: the label of image k is k
        const bool flip = is_mirrored(9, rows[i]);
        flipped += flip;
        CHECK(max_difference(batch.beside.slice(0, row, row + 1), (flip ? mirrored : plain).slice(0, k, k + 1)) < 1e-5 * norm(plain));
      }
    }
    CHECK((flipped > 0 && flipped < 6));
  }
}

TEST_CASE("tokens of other images, of another network or without mirror images are refused, and so are latents of other pixels") {
  const TempFolder folder;
  const fs::path out = folder / "run", index = out / "latents_class_tokens/index.json";
  {
    Here first("memory", out);
    first.run().open_class_tokens(numbers);
  }
  const auto problem = [&](const std::function<void(Recipe&)>& change, const std::string& from = "memory") {
    Here here(from, out);
    change(here.recipe);
    return error_of<ConfigError>([&] { here.run().open_class_tokens(numbers); });
  };
  CHECK(problem([](Recipe&) {}) == "no error");
  CHECK(has(problem([](Recipe& r) { r.latents.flip = false; }), "class tokens also of mirrored images, but latents.flip = false: remove this folder"));
  CHECK(has(problem([](Recipe& r) { r.data = "shapes?count=7,size=16,channels=3"; }), "holds latents of shapes?count=6,size=16,channels=3, but this run's data is"));
  CHECK(has(problem([](Recipe& r) { r.image_size = 512; r.data = "shapes?count=6,size=512,channels=3"; }), "from a larger grid than 16 x 16 patches"));
  const std::string text = read_file(index);
  const auto changed = [&](const std::string& from, const std::string& to) {
    std::string other = text;
    const std::size_t at = other.find(from);
    REQUIRE(at != std::string::npos);
    write_atomically(index, other.replace(at, from.size(), to));
  };
  changed(", images ", ", images 0");                      // as if a file had changed since
  CHECK(has(problem([](Recipe&) {}), "class tokens of other images than shapes?count=6,size=16,channels=3 holds now: remove this folder"));
  changed("bicubic to 224", "nearest to 224");
  CHECK(has(problem([](Recipe&) {}), "nearest to 224 pixels, but this run's are "));
  write_atomically(index, text);
  CHECK(has(problem([](Recipe& r) { r.latents.given = "vae-sd"; }, "cache"), "latents of another program (vae-sd)"));
  draw_picture_folder(folder / "pictures", {.counts = std::vector<int>(10, 1)});
  CHECK(has(problem([&](Recipe& r) { r.data = "folder:" + (folder / "pictures").string() + "?size=16,crop=random", r.latents.folder = (folder / "l").string(); }, "images"),
            "each visit sees another crop of an image"));
  // A cache that was filled with them is refused after `given` is gone from the config.
  Here cache("cache", out);
  cache.run().encode_latents();
  const fs::path latents = out / "latents/index.json";
  auto own = nlohmann::json::parse(read_file(latents));
  own["of"]["given"] = "vae-sd";
  write_atomically(latents, own.dump());
  CHECK(has(problem([](Recipe&) {}, "cache"), "latents of another program (vae-sd)"));
}

TEST_CASE("a REG without what it needs is refused before the first step") {
  const TempFolder folder;
  const auto refuse = [&](const std::string& stage, const Arguments& more, int code, const std::string& message) {
    refused(train_reg(stage, folder / "run", more + Arguments{"-q", "--init-from", sit_stand_ins().mean_flow_z.string()}), code, message);
  };
  refuse("mfd", {"--class-token-weights", ""}, exit_code::usage, "reg.pt: a REG, whose velocity takes the class token of DINOv2 of an image beside its latent: set class_token_weights");
  refuse("mfd", {"--class-token-weights", (folder / "no.pth").string()}, exit_code::unreadable, "the recipe names files that do not exist");
  refuse("mfd", {"--teacher-weights", sit_stand_ins().reg.string()}, exit_code::usage, "class tokens of 384 numbers, but those of the teacher " + sit_stand_ins().reg.string() + " have 12");
  const fs::path pipeline = folder / "pipeline";
  refused(train_reg("pipeline", pipeline, {"-q", "--map.objective.name", "cd"}), exit_code::usage, "map: its objective calls the teacher at points of its own");
  refused(train_reg("pipeline", pipeline, {"-q", "--class-token-weights", ""}), exit_code::usage, "set class_token_weights to DINOv2's file");
  CHECK(!fs::exists(pipeline / "cmt"));                    // before the first stage
  refuse("map", {"--objective", "cd"}, exit_code::usage, "map: its objective calls the teacher at points of its own, and this teacher (REG) needs the class token");
}
