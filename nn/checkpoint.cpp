#include "nn/checkpoint.h"

#include <fmt/format.h>

#include <sys/stat.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "nn/sharded_weights.h"
#include "tensor/io/atomic_file.h"
#include "tensor/io/crc32c.h"
#include "tensor/io/file_text.h"
#include "tensor/io/system_error.h"

namespace fm {
namespace fs = std::filesystem;
namespace {

using Json = nlohmann::ordered_json;

constexpr int format_version = 1;
constexpr const char* state_file = "state.json";
constexpr const char* suffix = ".safetensors";
// Names of weights in folders of Hugging Face models, and of RAE's decoders.
constexpr const char* model_files[] = {"model.safetensors.index.json", "model.safetensors", "pytorch_model.bin.index.json",
                                       "pytorch_model.bin", "model.pt", "diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin"};
constexpr const char* orbax_files[] = {"_METADATA", "_CHECKPOINT_METADATA", "manifest.ocdbt"};
// The members of state.json that save_checkpoint sets.
constexpr const char *version_key = "format_version", *step_key = "step", *files_key = "files", *crc_key = "state_crc32c";

std::string crc_text(std::string_view bytes) { return fmt::format("{:08x}", crc32c(bytes)); }

// ---- reading ----------------------------------------------------------------------------------------------------------------------

[[noreturn]] void damaged(const fs::path& file, const std::string& why) {
  throw DamagedCheckpoint(fmt::format("damaged checkpoint: {}: {}", file.string(), why));
}

// Returns the result of `read`. A missing file in an existing folder is damage.
template <class F>
auto of_existing(const fs::path& file, const F& read) {
  try {
    return read(file);
  } catch (const SystemFileError& e) {
    if (e.is_missing() && fs::exists(file.parent_path())) damaged(file, "is missing");
    throw;
  }
}

// Reads state.json, verifies its checksum and removes that member.
Json read_state(const fs::path& folder) {
  const fs::path file = folder / state_file;
  Json state = Json::parse(of_existing(file, read_file), nullptr, false);
  if (!state.is_object()) damaged(file, "not a JSON object");
  const auto version = state.find(version_key);
  if (version == state.end() || !version->is_number_integer()) damaged(file, "no format_version");
  if (version->get<std::int64_t>() > format_version)
    throw FileError(fmt::format("{}: format_version {} is newer than this program's {}; update the program", file.string(),
                                version->get<std::int64_t>(), format_version));
  const Json stored = state.contains(crc_key) ? state[crc_key] : Json();
  state.erase(crc_key);
  if (stored != crc_text(state.dump())) damaged(file, "its contents do not match its checksum");
  return state;
}

void check_file(const fs::path& file, const Json& entry) {
  const FileSum sum = of_existing(file, sum_of_file);
  const auto size = entry.at("size").get<std::uint64_t>();
  if (sum.size != size) damaged(file, fmt::format("has {} bytes, {} were written", sum.size, size));
  if (fmt::format("{:08x}", sum.crc) != entry.at("crc32c").get<std::string>()) damaged(file, "its contents do not match their checksum");
}

}  // namespace

Checkpoint::Checkpoint(const fs::path& folder) : folder_(folder) {
  Json state = read_state(folder);
  try {
    step_ = state.at(step_key).get<std::int64_t>();
    for (const auto& [part, entry] : state.at(files_key).items()) {
      const fs::path file = folder / (part + suffix);
      check_file(file, entry);
      parts_.emplace(part, Safetensors(file));
    }
  } catch (const nlohmann::json::exception& e) {
    damaged(folder / state_file, one_line(e.what(), 200));
  }
  for (const char* own : {version_key, step_key, files_key}) state.erase(own);
  state_ = std::make_shared<const Json>(std::move(state));
}

NamedTensors Checkpoint::part(const std::string& name) const {
  const auto it = parts_.find(name);
  if (it != parts_.end()) return it->second.tensors();
  std::string there;
  for (const auto& [part, file] : parts_) there += (there.empty() ? "" : ", ") + part;
  throw FileError(fmt::format("{}: no part \"{}\"; it has {}", folder_.string(), name, there.empty() ? "none" : there));
}

namespace {

// Identifies the folder that is now at this path. A running training may remove a checkpoint or put another in its place.
std::optional<std::pair<dev_t, ino_t>> identity(const fs::path& folder) {
  struct stat status;
  if (stat(folder.c_str(), &status) != 0) return std::nullopt;
  return std::pair(status.st_dev, status.st_ino);
}

// Opens a checkpoint; no value if that failed because the folder was removed or replaced meanwhile.
std::optional<Checkpoint> open_or_changed(const fs::path& folder) {
  const auto before = identity(folder);
  try {
    return Checkpoint(folder);
  } catch (const FileError&) {
    if (before && before == identity(folder)) throw;
    return std::nullopt;
  }
}

// Like open_newest, for the listed steps; sets `changed` if one of them disappeared.
std::optional<Checkpoint> open_one_of(const CheckpointFolder& checkpoints, const std::vector<std::int64_t>& steps, const Warn& warn, bool& changed) {
  for (std::size_t i = 0; i < steps.size(); ++i) {
    try {
      auto found = open_or_changed(checkpoints.path(steps[i]));
      changed = !found;
      return found;
    } catch (const DamagedCheckpoint& e) {
      if (i + 1 == steps.size())
        throw DamagedCheckpoint(fmt::format("{}: none of its {} checkpoints is whole; error of the oldest: {}; --fresh begins anew and moves them aside",
                                            checkpoints.folder().string(), steps.size(), e.what()));
      if (warn) warn(fmt::format("{}; trying {}", e.what(), step_name(steps[i + 1])));
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<Checkpoint> open_newest(const CheckpointFolder& checkpoints, const Warn& warn) {
  constexpr int tries = 100;                       // gives up if a running training replaces a checkpoint during every one of these reads
  for (int i = 0;; ++i) {
    bool changed = false;
    auto found = open_one_of(checkpoints, checkpoints.newest_first(), warn, changed);
    if (!changed) return found;
    if (i == tries) throw FileError(fmt::format("{}: its checkpoints are replaced faster than they can be read: try again when the training saves less often or has ended", checkpoints.folder().string()));
  }
}

// ---- writing ----------------------------------------------------------------------------------------------------------------------

namespace {

void check_names(const std::vector<CheckpointPart>& parts, const Json& state) {
  if (!state.is_object() && !state.is_null()) throw Error("save_checkpoint: the state must be a JSON object");
  for (const char* own : {version_key, step_key, files_key, crc_key})
    if (state.contains(own)) throw Error(fmt::format("save_checkpoint: the member {} of state.json is reserved: use another name", own));
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const std::string& name = parts[i].name;
    if (name.empty() || name.find_first_of("/.:") != std::string::npos)
      throw Error(fmt::format("save_checkpoint: a part cannot be named \"{}\": its name must not be empty or contain / . or :", name));
    for (std::size_t j = 0; j < i; ++j)
      if (parts[j].name == name) throw Error(fmt::format("save_checkpoint: two parts are named {}", name));
  }
}

void write_files(const fs::path& folder, std::int64_t step, const std::vector<CheckpointPart>& parts, const Json& state) {
  Json all = {{version_key, format_version}, {step_key, step}};
  if (state.is_object()) all.update(state);
  all[files_key] = Json::object();
  for (const CheckpointPart& part : parts) {
    const fs::path file = folder / (part.name + suffix);
    const std::uint32_t crc = save_safetensors(file, part.tensors, {{"format", "pt"}}, part.fetch);
    all[files_key][part.name] = {{"size", fs::file_size(file)}, {"crc32c", fmt::format("{:08x}", crc)}};
  }
  // The checksum is that of the compact text; the file itself is indented for people.
  try {
    all[crc_key] = crc_text(all.dump());
  } catch (const nlohmann::json::exception& e) {
    throw Error(fmt::format("save_checkpoint: state.json cannot be written: {}", e.what()));    // for example text that is not UTF-8
  }
  write_atomically(folder / state_file, all.dump(2) + "\n");
}

}  // namespace

void save_checkpoint(CheckpointFolder& checkpoints, std::int64_t step, const std::vector<CheckpointPart>& parts, const Json& state) {
  check_names(parts, state);
  const fs::path folder = checkpoints.begin(step);
  try {
    write_files(folder, step, parts, state);
    checkpoints.publish(step);
  } catch (...) {
    std::error_code ignored;           // the first error is the one to report
    fs::remove_all(folder, ignored);
    throw;
  }
}

// ---- weights from anywhere ----------------------------------------------------------------------------------------------------------

namespace {

Weights weights_of(const Checkpoint& checkpoint, const std::string& part) {
  return {checkpoint.folder() / (part + suffix), checkpoint.part(part), checkpoint.step(),
          std::make_shared<const Json>(checkpoint.state())};
}

// Lists the subfolders that have checkpoints, such as the stages of a run: "runs/a/cmt, runs/a/mfd".
std::string with_checkpoints(const fs::path& path) {
  std::vector<std::string> found;
  for (const auto& entry : fs::directory_iterator(path))
    if (fs::is_directory(entry.path() / "checkpoints")) found.push_back(entry.path().string());
  std::sort(found.begin(), found.end());
  return fmt::format("{}", fmt::join(found, ", "));
}

Weights load_from(const fs::path& path, const std::string& part, const Warn& warn) {
  if (!fs::is_directory(path)) {
    const bool sharded = is_shard_index(path);
    if (sharded && !part.empty()) throw FileError(fmt::format("{} is an index of shards and has no part \"{}\": leave the part out", path.string(), part));
    FileTensors read = sharded ? load_sharded(path) : read_tensors(path, part);
    return {path, std::move(read.tensors), -1, nullptr, std::move(read.unread)};
  }
  const std::string name = part.empty() ? "model" : part;
  if (fs::exists(path / state_file)) return weights_of(Checkpoint(path), name);
  if (part.empty())
    for (const char* file : model_files)
      if (fs::exists(path / file)) return load_from(path / file, part, warn);
  for (const char* file : orbax_files)
    if (fs::exists(path / file))
      throw FileError(fmt::format("{} is a checkpoint of Orbax (JAX). Restore it in Python and save its arrays under names joined by \"/\": "
                                  "tree = orbax.checkpoint.PyTreeCheckpointer().restore(FOLDER); "
                                  "numpy.savez('weights.npz', **flax.traverse_util.flatten_dict(tree.get('ema_params', tree), sep='/'))", path.string()));
  const fs::path folder = fs::is_directory(path / "checkpoints") ? path / "checkpoints" : path;
  if (const auto newest = open_newest({folder, 1, 0}, warn)) return weights_of(*newest, name);
  const std::string inside = with_checkpoints(path);
  if (!inside.empty()) throw FileError(fmt::format("{} is a folder of trainings: name one of {}", path.string(), inside));
  throw FileError(fmt::format("{}: neither a checkpoint, nor a folder of checkpoints, nor a run folder with one, nor a folder with {}",
                              path.string(), fmt::join(model_files, ", ")));
}

// Replaces the link `latest` in a path. "checkpoints/latest" becomes "checkpoints", which stands for the newest undamaged checkpoint, whatever the
// link points to. A file in "checkpoints/latest" becomes the file of the newest step, unless the link works.
fs::path without_latest(const fs::path& path) {
  constexpr const char* link = "latest";
  if (path.filename().empty() && path.has_relative_path()) return without_latest(path.parent_path());    // "latest/"
  if (path.filename() == link) return newest_step(path.parent_path()) >= 0 ? path.parent_path() : path;
  const fs::path folder = path.parent_path();
  if (folder.filename() != link || (fs::is_symlink(folder) && fs::exists(folder))) return path;
  const std::int64_t step = newest_step(folder.parent_path());
  return step >= 0 ? folder.parent_path() / step_name(step) / path.filename() : path;
}

std::pair<fs::path, std::string> split_part(const std::string& where) {
  const std::size_t colon = where.rfind(':');
  if (fs::exists(where) || colon == std::string::npos) return {where, ""};
  const fs::path path = where.substr(0, colon);
  const bool path_goes_on = where.find('/', colon) != std::string::npos;       // "a:b/c" is a folder "a:b", unless a is a file
  if (path_goes_on && !fs::is_regular_file(path)) return {where, ""};
  return {path, where.substr(colon + 1)};
}

}  // namespace

std::pair<fs::path, std::string> weights_and_part(const std::string& where) {
  auto [path, part] = split_part(where);
  return {without_latest(path), std::move(part)};
}

bool is_same_weights(const std::string& a, const std::string& b) {
  if (a.empty() || b.empty()) return false;
  const auto of_a = weights_and_part(a), of_b = weights_and_part(b);
  std::error_code error;
  return of_a.second == of_b.second && fs::equivalent(of_a.first, of_b.first, error);
}

std::optional<Checkpoint> open_checkpoint(const fs::path& where, const Warn& warn) {
  const fs::path path = without_latest(where);
  if (fs::exists(path / state_file)) return Checkpoint(path);
  return path == where ? std::nullopt : open_newest({path, 1, 0}, warn);
}

Weights load_weights(const std::string& where, const Warn& warn) {
  const auto [path, part] = weights_and_part(where);
  if (!fs::exists(path)) throw FileError(fmt::format("cannot read weights: {} does not exist", where));
  Weights weights = load_from(path, part, warn);
  if (weights.state != nullptr)                    // a checkpoint
    std::erase_if(weights.tensors, [](const auto& named) { return named.first.starts_with(beside_the_model); });
  return weights;
}

}  // namespace fm
