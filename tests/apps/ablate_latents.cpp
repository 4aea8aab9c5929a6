// ablate --what latents: two latent spaces from the images on, with four flow maps each, in one table.
#include "flowmap/training/ablation/latents.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>

#include "apps/cli/toml.h"
#include "flowmap/training/ablation/identity.h"
#include "flowmap/training/ablation/variants.h"
#include "nn/flops/autoencoder.h"
#include "tensor/error.h"
#include "tests/apps/tiny_run.h"
#include "tests/support/csv_table.h"
#include "tests/support/error_of.h"
#include "tests/support/near.h"

using namespace fm;
using namespace fm::test;

namespace {

// The tiny recipe with guidance, in the latent space of this name.
fs::path recipe_file(const fs::path& folder, const std::string& space, const std::string& more = "") {
  const fs::path file = folder / fmt::format("{}{}.toml", space, more.size());
  std::ofstream(file) << fmt::format("guidance = 2.0\nspace = \"{}\"\n", space) << read_file(config_file) << more;
  return file;
}

Recipe recipe_in(const fs::path& file) {
  Recipe r;
  load_toml_file(list_fields(r), file);
  r.resolve_with_data();
  return r;
}

// The lines of a CSV file, each by the headings of its columns.
std::vector<Cells> lines_of(const fs::path& csv) {
  const CsvRows rows = parse_csv(read_file(csv));
  std::vector<Cells> out;
  for (std::size_t r = 1; r < rows.size(); ++r) {
    out.emplace_back();
    for (std::size_t c = 0; c < rows[0].size(); ++c) out.back()[rows[0][c]] = rows[r].at(c);
  }
  return out;
}

std::map<std::string, std::string> settings(Recipe r) {
  std::map<std::string, std::string> out;
  for (const Field& field : list_fields(r)) out[field.path] = to_text(field);
  return out;
}

// The keys in which two recipes differ, in alphabetical order.
std::vector<std::string> differing(const Recipe& a, const Recipe& b) {
  const auto of_a = settings(a), of_b = settings(b);
  std::vector<std::string> out;
  for (const auto& [key, value] : of_a)
    if (of_b.at(key) != value) out.push_back(key);
  return out;
}

Recipe changed(Recipe r, const std::string& key, const std::string& text) {
  const std::vector<Field> fields = list_fields(r);
  set_from_text(find_field(fields, key, "test"), text, "test");
  return r;
}

struct Silent : Messages {
  void message(Level, std::string_view) override {}
};

// The identity of guided MFT in a finished run of this recipe.
Identity identity_of_guided_mft(Recipe r, const fs::path& out) {
  RunOptions options{.config_file = "given", .out = out.string()};
  Silent log;
  Ranks ranks;
  TrainingRun run(r, {.launch = options, .log = log, .ranks = ranks});
  Variant mft = latents_variants(r).at(2);
  mft.start = stage_name::fm;                                            // any trained stage
  return identity(run, mft, 1);
}

// A side with one training, scored once by this judge against this reference.
Side side_of(const std::string& name, const Recipe& r, const std::string& judge, const std::string& reference) {
  Score score{.name = "mfd guided", .calls = 1, .metrics = {{"frechet", 2.0}, {"kid", -0.5}}, .reference_id = reference, .judge = judge};
  Findings f{.what = "latents", .subtitle = {}, .variants = latents_variants(r), .trials = {}, .calls = {1}, .own_columns = latents_columns(), .busy = "of " + name};
  f.trials.push_back({.variant = 0, .scores = {score}});
  return {name, f};
}

Result ablate(const fs::path& a, const fs::path& b, const fs::path& out, const Arguments& more = {}) {
  const fs::path program = own_folder().parent_path() / "apps" / "ablate";
  Arguments list{"--what", "latents", "--config", a.string(), "--out", out.string(), "--threads", "1", "--timing-rounds", "1", "-q"};
  if (!b.empty()) list.insert(list.end(), {"--against", b.string()});
  return run_program_file(program, list + more);
}

}  // namespace

TEST_CASE("--what latents trains two spaces with and without guidance, and its table has their costs; a second call trains nothing") {
  const TempFolder folder;
  const fs::path a = recipe_file(folder.path(), "rae"), b = recipe_file(folder.path(), "vae"), out = folder / "out";
  succeeds(ablate(a, b, out, {"--mfd.loop.batch", "8"}));               // options are for both sides
  std::vector<Cells> table = lines_of(out / "ablate/latents/trials.csv");
  std::vector<std::string> names;
  for (Cells& line : table)
    if (line["calls"] == "1") names.push_back(line["variant"]);
  CHECK(names == std::vector<std::string>{"rae, mfd guided", "rae, mfd unguided", "rae, mft guided", "rae, mft unguided", "vae, mfd guided", "vae, mfd unguided",
                                          "vae, mft guided", "vae, mft unguided"});
  const Recipe of_a = recipe_in(a), of_b = recipe_in(b);
  for (Cells& line : table) {
    CHECK(fs::exists(out / line["folder"] / "checkpoints/latest/ema.safetensors"));
    CHECK(std::isfinite(std::stod(line["frechet"])));
    const bool vae = line["variant"].starts_with("vae");
    DitDhConfig network = (vae ? of_b : of_a).network.of<DitDh>();
    network.mean_flow = true;
    const ModuleCost generator = total(cost_table(network)), decoder = total(vae ? decoder_costs(of_b.vae.model, 8) : cost_table(of_a.rae.decoder));
    CHECK(near(std::stod(line["parameters_m"]), static_cast<double>(generator.parameters) / 1e6, 1e-4));
    CHECK(near(std::stod(line["generator_gmacs"]), static_cast<double>(generator.macs_linear) / 1e9, 1e-4));
    CHECK(near(std::stod(line["decoder_gmacs"]), static_cast<double>(decoder.macs_linear) / 1e9, 1e-4));
  }
  const std::string page = read_file(out / "ablate/latents/report.html"), text = read_file(out / "ablate/latents/table.md");
  CHECK(has(page, "over the cost of a sample"));
  CHECK(has(page, "rae: times: other work"));
  CHECK(has(page, "; vae: times: other work"));
  for (const char* row : {"rae, reconstruction", "vae, reconstruction", "rae, teacher (guided), 8 calls", "vae, teacher (guided), 8 calls"}) CHECK_MESSAGE(has(text, row), text);
  CHECK(fs::exists(out / "ablate/latents/samples.png"));

  // Guided rows start from the guided CMT and learn with guidance. MFD has a teacher, MFT has none.
  const auto identity_text = [&](const std::string& variant) {
    for (Cells& line : table)
      if (line["variant"] == variant) return read_file(out / line["folder"] / "identity.txt");
    return std::string();
  };
  for (const char* side : {"rae", "vae"})
    for (const bool mfd : {true, false})
      for (const bool guided : {true, false}) {
        const std::string found = identity_text(fmt::format("{}, {} {}", side, mfd ? "mfd" : "mft", guided ? "guided" : "unguided"));
        CHECK_MESSAGE(has(found, guided ? "start = ablate/latents/cmt_guided/" : "start = ablate/latents/cmt_unguided/"), found);
        CHECK_MESSAGE(has(found, guided ? "\nguidance = 2" : "\nguidance = 1"), found);
        CHECK_MESSAGE(has(found, "\nteacher = ") == mfd, found);
        CHECK_MESSAGE(has(found, "map.objective.name = guided_mean_flow\n") == (guided && !mfd), found);
        CHECK_MESSAGE(has(found, "mfd.velocity = one-point\n") == (!guided && !mfd), found);
      }

  const auto trained = [&] {
    std::map<std::string, std::string> files = contents(out);
    std::erase_if(files, [](const auto& file) { return !file.first.ends_with(".safetensors"); });
    return files;
  };
  const auto before = trained();
  succeeds(ablate(a, b, out, {"--mfd.loop.batch", "8"}));
  CHECK(trained() == before);

  // A switch that changes guided MFT gives it another identity.
  Recipe other = of_a;
  other.mfd.objective.compat.squared_adaptive_metric = true;
  const Identity plain = identity_of_guided_mft(of_a, out / "rae"), switched = identity_of_guided_mft(other, out / "rae");
  CHECK(plain.key() == identity_of_guided_mft(of_a, out / "rae").key());
  CHECK(plain.key() != switched.key());
  CHECK(has(switched.text(), "map.objective.guided_mean_flow.compat.squared_adaptive_metric = true\n"));

  // Each side's stages store the config of their side.
  for (const char* side : {"rae", "vae"}) CHECK(has(read_file(out / side / "fm/config.toml"), fmt::format("space = \"{}\"", side)));

  // The stages before the flow maps are reused for their own settings alone. Guidance is none of them, and neither is the frequency of the logs.
  refused(ablate(a, b, out, {"--mfd.loop.batch", "8", "--fm.loop.rate.peak", "0.02"}), exit_code::usage, "fm.loop.rate.peak was 0.01, is 0.02. Give another --out");
  refused(ablate(a, b, out, {"--mfd.loop.batch", "8", "--vae.loop.steps", "13"}), exit_code::usage, "vae.loop.steps was 12, is 13. Give another --out");
  succeeds(ablate(a, b, out, {"--guidance", "3", "--cmt.loop.steps", "13", "--fm.loop.log-every", "5", "--dry-run"}));
  CHECK(trained() == before);
}

TEST_CASE("--what latents compares spaces without an autoencoder, which have no reconstructions") {
  const TempFolder folder;
  const fs::path a = recipe_file(folder.path(), "pixels"), b = recipe_file(folder.path(), "haar"), out = folder / "out";
  succeeds(ablate(a, b, out, {"--fm.loop.steps", "2", "--cmt.loop.steps", "2", "--mfd.loop.steps", "2"}));
  const std::string text = read_file(out / "ablate/latents/table.md");
  for (const char* row : {"pixels, mft unguided", "haar, mft unguided", "pixels, teacher (guided), 8 calls", "haar, teacher (guided), 8 calls"}) CHECK_MESSAGE(has(text, row), text);
  CHECK_FALSE(has(text, "reconstruction"));
  for (Cells& line : lines_of(out / "ablate/latents/trials.csv")) CHECK(line["decoder_gmacs"] == "0");
}

TEST_CASE("--what latents: the four flow maps of a side differ in the source of velocity and in guidance alone") {
  const TempFolder folder;
  Recipe r = recipe_in(recipe_file(folder.path(), "vae", R"([mfd.objective.pairs]
diagonal_share = 0.4
[mfd.objective.pairs.time]
shift = 2.5
[mfd.objective.derivative]
kind = "fd"
[mfd.objective.tangent]
clamp = 3.0
[mfd.objective.compat]
squared_adaptive_metric = true
)"));
  r.guidance_from = 0.1, r.guidance_to = 0.8;
  const std::vector<Variant> list = latents_variants(r);
  REQUIRE(list.size() == 4);
  using Keys = std::vector<std::string>;
  CHECK(differing(r, list[0].recipe) == Keys());
  CHECK(differing(r, list[1].recipe) == Keys{"guidance"});
  CHECK(differing(r, list[3].recipe) == Keys{"guidance", "mfd.velocity"});
  // Guided MFT has all settings of mfd in [map], and no other change.
  const std::string entry = "map.objective.guided_mean_flow.";
  for (const std::string& key : differing(r, list[2].recipe)) {
    const bool expected = key.starts_with("map.loop.") || key.starts_with(entry) || key == "map.objective.name" || key == "map.velocity" || key == "map.start";
    CHECK_MESSAGE(expected, key);
  }
  std::map<std::string, std::string> of_map = settings(list[2].recipe);
  for (const auto& setting : settings(r)) {
    const std::string& key = setting.first;
    if (key.starts_with("mfd.loop.")) CHECK_MESSAGE(of_map["map." + key.substr(4)] == setting.second, key);
    if (key.starts_with("mfd.objective.")) CHECK_MESSAGE(of_map[entry + key.substr(14)] == setting.second, key);
  }
  CHECK(of_map[entry + "low"] == of_map["guidance_from"]);
  CHECK(of_map[entry + "high"] == of_map["guidance_to"]);
  for (std::size_t i = 0; i < 4; ++i) CHECK(list[i].name.ends_with(i % 2 == 0 ? " guided" : " unguided"));
  CHECK(list[0].recipe.guidance == 2);
  CHECK(list[2].recipe.guidance == 2);
  CHECK(list[1].recipe.guidance == 1);
  CHECK(list[3].recipe.guidance == 1);
  CHECK(list[1].recipe.mfd.velocity == "teacher");
  CHECK(list[3].recipe.mfd.velocity == "one-point");
  CHECK(list[3].recipe.mfd.objective.pairs.diagonal_share == 0.4);
  const auto& guided = std::get<GuidedMeanFlowConfig>(list[2].recipe.map.objective.entries);
  CHECK(near(guided.omega / (1 - guided.kappa), 2, 1e-12));                // the scale of the guided field
  CHECK(guided.pairs.diagonal_share == 0.4);
  CHECK(guided.labels.null_label == r.classes);
  Recipe all_labels = r;
  all_labels.mfd.objective.labels.probability = 0;
  CHECK(std::get<GuidedMeanFlowConfig>(latents_variants(all_labels)[2].recipe.map.objective.entries).labels.probability == 0.1);
  all_labels.mfd.objective.labels.probability = 0.3;
  CHECK(std::get<GuidedMeanFlowConfig>(latents_variants(all_labels)[2].recipe.map.objective.entries).labels.probability == 0.3);
  CHECK(list[2].recipe.map.velocity == "one-point");
  for (const char* velocity : {"one-point", "blend=0.5"}) {
    Recipe undistilled = r;
    undistilled.mfd.velocity = velocity;
    CHECK(has(error_of<ConfigError>([&] { latents_variants(undistilled); }), fmt::format("mfd.velocity is \"{}\", which is no distillation alone: set mfd.velocity = \"teacher\"", velocity)));
  }
  for (const Variant& v : list) {
    CHECK(v.steps() == r.mfd.loop.steps);
    CHECK(v.stage().loop(v.recipe).batch == r.mfd.loop.batch);
  }
  const std::vector<Variant> starts = latents_starts(r);
  REQUIRE(starts.size() == 2);
  for (std::size_t i = 0; i < 4; ++i) CHECK(list[i].start == starts[i % 2].name);
  CHECK(starts[0].recipe.guidance == 2);
  CHECK(starts[1].recipe.guidance == 1);
}

TEST_CASE("--what latents refuses sides that differ in more than the latent space, and options of other comparisons") {
  const TempFolder folder;
  const fs::path a = recipe_file(folder.path(), "rae"), b = recipe_file(folder.path(), "vae"), out = folder / "out";
  refused(ablate(a, {}, out), exit_code::usage, "--what latents needs --against");
  refused(ablate(a, a, out), exit_code::usage, "both recipes have space = \"rae\"");
  refused(ablate(a, b, out, {"--guidance", "1"}), exit_code::usage, "guidance is 1: give a scale above 1");
  const fs::path other = recipe_file(folder.path(), "vae", "[cmt.objective.labels]\nprobability = 0.3\n");
  refused(ablate(a, other, out), exit_code::usage, "cmt.objective.labels.probability is 0.1 on one side and 0.3");
  std::string text = read_file(b);
  const std::string steps = "[judge.loop]\nsteps = 20\n";
  REQUIRE(has(text, steps));
  const fs::path judged = folder / "judged.toml";
  std::ofstream(judged) << text.replace(text.find(steps), steps.size(), "[judge.loop]\nsteps = 21\n");
  refused(ablate(a, judged, out), exit_code::usage, "judge.loop.steps is 20 on one side and 21");
  const fs::path labels = recipe_file(folder.path(), "vae", "[fm.objective.labels]\nprobability = 0.3\n");
  refused(ablate(a, labels, out), exit_code::usage, "fm.objective.labels.probability is 0.1 on one side and 0.3");
  succeeds(ablate(a, labels, out, {"--fm.objective.labels.probability", "0.1", "--dry-run"}));       // an option is for both sides, also with the value of one
  for (const Arguments& option : {Arguments{"--objectives", "mean_flow"}, Arguments{"--deltas", "0.1"}, Arguments{"--lambdas", "0.5"}, Arguments{"--poor-share", "0.1"},
                                  Arguments{"--precisions", "bf16"}, Arguments{"--lambda-start", "random"}})
    refused(ablate(a, b, out, option), exit_code::usage, option[0] + " " + option[1] + ": --what latents");
  refused(ablate(a, b, out, {"--vary", "guidance=1,2"}), exit_code::usage, "--vary");
  refused(ablate(a, b, out, {"--equal", "time"}), exit_code::usage, "--equal time");
  refused(run("ablate", out, {"--what", "derivative", "--against", b.string(), "-q"}), exit_code::usage, "--against is for --what latents");
  CHECK_FALSE(fs::exists(out));
}

TEST_CASE("--what latents compares all settings of the sides but those of latent space, network, logs and memory") {
  const TempFolder folder;
  Recipe rae = recipe_in(recipe_file(folder.path(), "rae")), vae = recipe_in(recipe_file(folder.path(), "vae"));
  const auto answer = [&](const Recipe& other) { return error_of<ConfigError>([&] { check_equal_work(rae, other); }); };
  CHECK(answer(vae) == "no error");
  using Setting = std::pair<std::string, std::string>;
  for (const Setting& s : {Setting{"judge.loop.steps", "21"}, {"judge.shift", "2"}, {"fm.loop.steps", "25"}, {"fm.loop.rate.peak", "0.02"}, {"fm.loop.ema", "0.8"}, {"image_size", "16"},
                           {"channels", "3"}, {"classes", "99"}, {"latents.flip", "true"}, {"watch.explosion_factor", "20"}, {"watch.on_explosion", "stop"}, {"compat", "sony"},
                           {"mfd.loop.batch", "8"}, {"cmt.loop.steps", "13"}, {"evaluate.samples", "50"}, {"guidance", "3"}, {"seed", "2"}})
    CHECK_MESSAGE(has(answer(changed(vae, s.first, s.second)), "--what latents: " + s.first + " is "), s.first);
  for (const Setting& s : {Setting{"vae.loop.steps", "30"}, {"encoder.loop.steps", "30"}, {"decoder.loop.steps", "30"}, {"dit.width", "32"}, {"dit.precision", "bf16"}, {"sit.depth", "2"},
                           {"latents.from", "images"}, {"latents.dtype", "f32"}, {"mft.loop.steps", "1"}, {"map.loop.steps", "1"}, {"log", "csv"}, {"mfd.loop.micro_batch", "4"},
                           {"fm.loop.log_every", "3"}, {"teacher_weights", "fm.safetensors"}, {"class_token_weights", "dinov2.pth"}})
    CHECK_MESSAGE(answer(changed(vae, s.first, s.second)) == "no error", s.first);
  // The settings of a judge that neither side trains have no effect.
  rae.judge_weights = vae.judge_weights = "judge.safetensors";
  CHECK(answer(changed(vae, "judge.loop.steps", "21")) == "no error");
  CHECK(has(answer(changed(vae, "judge_weights", "other.safetensors")), "judge_weights is \"judge.safetensors\" on one side and \"other.safetensors\""));
}

TEST_CASE("--what latents accepts the two recipes of Fashion-MNIST") {
  const auto shipped = [](const std::string& name) {
    Recipe r;
    load_toml_file(list_fields(r), FM_TESTS_FOLDER "/../configs/" + name);
    r.image_size = 28, r.channels = 1, r.classes = 10;
    r.resolve();
    return r;
  };
  CHECK(error_of<ConfigError>([&] { check_equal_work(shipped("quickstart.toml"), shipped("fashion_mnist_vae.toml")); }) == "no error");
}

TEST_CASE("--what latents: scores of two judges or references are no table; a KID below 0 has its place in the plot") {
  const TempFolder folder;
  const Recipe rae = recipe_in(recipe_file(folder.path(), "rae")), vae = recipe_in(recipe_file(folder.path(), "vae"));
  const auto answer = [&](const Side& a, const Side& b) { return error_of<Error>([&] { joined({a, b}); }); };
  const Side one = side_of("rae", rae, "j", "r");
  CHECK(has(answer(one, side_of("vae", vae, "k", "r")), "was scored with judge j and reference r, mfd guided of vae with judge k and reference r"));
  CHECK(has(answer(one, side_of("vae", vae, "j", "s")), "cannot be compared: set judge_weights"));
  Side level = side_of("vae", vae, "j", "r");
  level.findings.levels.push_back({"teacher", "", Score{.name = "teacher", .reference_id = "r", .judge = "k"}});
  CHECK(has(answer(one, level), "teacher of vae with judge k"));
  const Findings all = joined({one, side_of("vae", vae, "j", "r")});
  CHECK(all.variants.size() == 8);
  CHECK(all.busy == "rae: of rae; vae: of vae");
  const std::vector<Plot> plots = latents_plots(all);
  REQUIRE(plots.size() == 2);
  CHECK(plots[0].log_y);
  CHECK_FALSE(plots[1].log_y);
  REQUIRE(plots[1].curves.size() == 2);
  CHECK(plots[1].curves[1].y == std::vector<double>{-0.5});
  CHECK(plots[1].curves[1].x == std::vector<double>{sample_cost(vae).of(1)});
}
