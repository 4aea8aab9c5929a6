// ablate --what latents: two latent spaces from the images on, with four flow maps each, in one table.
#include "flowmap/training/ablation/latents.h"

#include <cmath>
#include <fstream>
#include <map>

#include "apps/cli/toml.h"
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
  const Recipe of_b = recipe_in(b);
  for (Cells& line : table) {
    CHECK(fs::exists(out / line["folder"] / "checkpoints/latest/ema.safetensors"));
    CHECK(std::isfinite(std::stod(line["frechet"])));
    if (line["variant"].starts_with("vae")) CHECK(near(std::stod(line["decoder_gmacs"]), static_cast<double>(total(decoder_costs(of_b.vae.model, 8)).macs()) / 1e9, 1e-4));
  }
  const std::string page = read_file(out / "ablate/latents/report.html"), text = read_file(out / "ablate/latents/table.md");
  CHECK(has(page, "over the cost of a sample"));
  for (const char* row : {"rae, reconstruction", "vae, reconstruction", "rae, teacher (guided), 8 calls", "vae, teacher (guided), 8 calls"}) CHECK_MESSAGE(has(text, row), text);
  CHECK(fs::exists(out / "ablate/latents/samples.png"));

  // Guided and unguided maps have different starts, and learn from differently guided teachers.
  const auto weights = [&](const std::string& side, const std::string& variant) {
    for (Cells& line : table)
      if (line["variant"] == side + ", " + variant) return read_file(out / line["folder"] / "checkpoints/latest/model.safetensors");
    return std::string();
  };
  for (const char* side : {"rae", "vae"}) {
    CHECK(weights(side, "mfd guided") != weights(side, "mfd unguided"));
    CHECK(weights(side, "mft guided") != weights(side, "mft unguided"));
    CHECK(weights(side, "mfd guided") != weights(side, "mft guided"));
  }

  const auto trained = [&] {
    std::map<std::string, std::string> files = contents(out);
    std::erase_if(files, [](const auto& file) { return !file.first.ends_with(".safetensors"); });
    return files;
  };
  const auto before = trained();
  succeeds(ablate(a, b, out, {"--mfd.loop.batch", "8"}));
  CHECK(trained() == before);
}

TEST_CASE("--what latents: the four flow maps of a side differ in the source of velocity and in guidance alone") {
  const TempFolder folder;
  const Recipe r = recipe_in(recipe_file(folder.path(), "vae", "[mfd.objective.pairs]\ndiagonal_share = 0.4\n"));
  const std::vector<Variant> list = latents_variants(r);
  REQUIRE(list.size() == 4);
  CHECK(list[0].recipe.guidance == 2);
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
  refused(ablate(a, b, out, {"--vary", "guidance=1,2"}), exit_code::usage, "--vary");
  refused(ablate(a, b, out, {"--equal", "time"}), exit_code::usage, "--equal time");
  refused(run("ablate", out, {"--what", "derivative", "--against", b.string(), "-q"}), exit_code::usage, "--against is for --what latents");
  CHECK_FALSE(fs::exists(out));
}
