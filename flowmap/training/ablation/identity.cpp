#include "flowmap/training/ablation/identity.h"

#include <algorithm>
#include <map>
#include <set>

#include "flowmap/training/chain/spaces.h"
#include "nn/config/removed_options.h"
#include "nn/config/toml_text.h"
#include "tensor/error.h"
#include "tensor/io/atomic_file.h"

namespace fm {
namespace {

namespace fs = std::filesystem;

constexpr const char* file_name = "identity.txt";

// FNV-1a, 64 bits
std::uint64_t hashed(const std::string& text) {
  std::uint64_t h = 0xcbf29ce484222325;
  for (const char c : text) h = (h ^ static_cast<std::uint8_t>(c)) * 0x100000001b3;
  return h;
}

// Whether the setting changes no weight: settings of logs, previews, files and loaders.
bool decides_nothing(const Recipe& recipe, const std::string& path) {
  for (const char* leaf : {".loop.log_every", ".loop.sample_every", "latents.batch", "latents.shard", "latents.workers", "latents.folder"})
    if (path.ends_with(leaf)) return true;
  if (recipe.watch.on_explosion == "rewind") return false;             // a training that rewinds depends on which checkpoints exist
  for (const char* leaf : {".loop.ckpt_every", ".loop.keep", ".loop.keep_every"})
    if (path.ends_with(leaf)) return true;
  return false;
}

// Whether the setting belongs to an objective that the map stage does not train with.
bool is_of_another_objective(const Recipe& recipe, const std::string& path) {
  const std::string all = std::string(stage_name::map) + ".objective.", chosen = all + recipe.map.objective.name + ".";
  return path.starts_with(all) && path.find('.', all.size()) != std::string::npos && !path.starts_with(chosen);
}

// Whether this training reads the field. Fields of earlier stages are left out: checksums of their checkpoints stand for them.
bool is_read(const Recipe& recipe, const std::string& trained, const std::string& path) {
  if (path.starts_with("vae.model.")) return space_of(recipe).uses(recipe, Makes::autoencoder);
  for (const std::string& part : {trained, recipe.network.section(), std::string("rae"), std::string("latents")})
    if (path.starts_with(part + ".")) return !decides_nothing(recipe, path) && !is_of_another_objective(recipe, path);
  for (const char* key : {"data", "image_size", "channels", "classes", "guidance", "guidance_from", "guidance_to", "watch.on_explosion", "watch.explosion_factor"})
    if (path == key) return true;
  return false;
}

void add_config(Identity& out, Recipe recipe, const std::string& part, const std::string& prefix) {
  for (const Field& f : list_fields(recipe))
    if (is_read(recipe, part, f.path) && !is_as_before(f.path, to_text(f))) out.lines.push_back(fmt::format("{}{} = {}", prefix, f.path, to_text(f)));
}

// Whether the setting decides the weights of a stage before the flow maps, in a run with this recipe.
bool decides_stage(const Recipe& r, const StageSpec& stage, const std::string& key) {
  const std::string section = key.substr(0, key.find('.'));
  const std::vector<std::string> unread = entries_unread(stage);
  if (std::find(unread.begin(), unread.end(), section) != unread.end()) return false;
  // Guidance and compat act in the students. Files and sizes of a decoder act in images alone, and in [rae.decoder].
  for (const char* other : {"guidance", "guidance_from", "guidance_to", "compat", "decoder_weights", "decoder_size", "class_names", "log", "train_images", "watch.keep_best"})
    if (key == other) return false;
  if (is_backbone_section(section)) return section == r.network.section() && !key.ends_with(".recompute");
  if (section == stage_name::vae && section != stage.name) return key.starts_with("vae.model.");
  if (key.starts_with("rae.decoder.") && stage.is_generator()) return false;
  return !key.ends_with(".loop.score_every") && !decides_nothing(r, key);
}

std::map<std::string, std::string> by_key(const std::vector<std::string>& lines) {
  std::map<std::string, std::string> out;
  for (const std::string& line : lines) {
    const auto at = line.find(" = ");
    if (at != std::string::npos) out[line.substr(0, at)] = line.substr(at + 3);
  }
  return out;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> out;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    out.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return out;
}

std::vector<std::string> differences(const std::vector<std::string>& before, const std::vector<std::string>& now) {
  std::vector<std::string> out;
  const auto old = by_key(before);
  for (const auto& [key, value] : by_key(now)) {
    const auto found = old.find(key);
    if (found == old.end()) out.push_back(fmt::format("{} is new: {}", key, value));
    else if (found->second != value) out.push_back(fmt::format("{} was {}, is {}", key, found->second, value));
  }
  return out;
}

// Finds the training beside `folder` that has the same seed and the fewest differences. Returns at most four of the differences as text.
std::string apart_from_nearest(const fs::path& folder, const Identity& identity) {
  std::vector<std::string> fewest;
  const std::string name = folder.filename().string(), seed = name.substr(0, name.find_last_of('-'));
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder.parent_path(), error)) {
    const fs::path file = entry.path() / file_name;
    if (entry.path() == folder || !entry.path().filename().string().starts_with(seed + "-") || !fs::exists(file)) continue;
    const auto found = differences(lines_of(read_file(file)), identity.lines);
    if (!found.empty() && (fewest.empty() || found.size() < fewest.size())) fewest = found;
  }
  const std::size_t all = fewest.size();
  if (all > 4) fewest.resize(4);
  return fmt::format("{}{}", fmt::join(fewest, ", "), all > 4 ? fmt::format(" and {} more", all - 4) : "");
}

}  // namespace

std::string Identity::text() const { return fmt::format("{}\n", fmt::join(lines, "\n")); }
std::string Identity::key() const { return fmt::format("{:016x}", hashed(text())); }

Identity identity(TrainingRun& run, const Variant& variant, std::int64_t seed) {
  Identity out;
  bool taught = false, on_data = false;
  std::string prefix;
  for (const Recipe& part : variant.parts()) {
    add_config(out, part, variant.part, prefix);
    if (variant.stage().is_taught(part)) taught = true, on_data = on_data || variant.stage().objective_in(part).needs.data;
    prefix = "then ";
  }
  out.lines.push_back(fmt::format("seed = {}", seed));
  for (const auto& [name, sum] : run.sources_of_flow_map(variant.start, taught, on_data)) out.lines.push_back(fmt::format("{} = {}", name, sum));
  out.lines.push_back("build = " + run.context().build);
  return out;
}

std::string folder_of(const std::string& what, const Variant& variant, std::int64_t seed, const Identity& identity) {
  std::string name = variant.name;
  for (char& c : name)
    if (c == ' ' || c == '/' || c == ':') c = '_';
  return fmt::format("ablate/{}/{}/seed-{}-{}", what, name, seed, identity.key());
}

std::string claim_folder(const fs::path& folder, const Identity& identity) {
  const fs::path file = folder / file_name;
  if (fs::exists(file)) {
    if (read_file(file) == identity.text()) return "";
    throw FileError(fmt::format("{} describes another training than the name of its folder, or was altered: move the folder away", file.string()));
  }
  if (fs::exists(folder / "checkpoints"))
    throw FileError(fmt::format("{} contains checkpoints but no {}, so their training is unknown: move the folder away", folder.string(), file_name));
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) throw FileError(fmt::format("cannot create {}: {}", folder.string(), error.message()));
  const std::string apart = apart_from_nearest(folder, identity);
  write_atomically(file, identity.text());
  return apart;
}

void check_trained_alike(TrainingRun& run, const StageSpec& stage) {
  const fs::path folder = run.root() / stage.name, file = folder / "config.toml";
  const bool trained = run.has(stage.name) || (stage.file != nullptr && fs::exists(folder / stage.file));
  if (!trained || !fs::exists(file)) return;
  const std::string stored = read_file(file);
  if (toml_settings(stored).count("against") > 0)                      // a key of ablate: older versions stored the config of --config for both sides
    return run.context().log.warning("{} is not the config of this side, because an older version wrote it: it is not compared with the settings of {}", file.string(), stage.name);
  Recipe recipe = run.recipe();
  for (const std::string& change : config_changes(stored, to_toml(list_fields(recipe)))) {
    const std::string key = change.substr(0, change.find(' '));
    if (!change.starts_with(key + " was ") || !decides_stage(recipe, stage, key) || names_same_file(change)) continue;
    throw ConfigError(fmt::format("{} contains weights that were trained with other settings: {}. Give another --out, or the former value", folder.string(), change));
  }
}

}  // namespace fm
