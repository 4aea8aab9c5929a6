// A checkpoint is a folder: one safetensors file per part (model, ema, optimizer, ...) and state.json with the step, the
// caller's entries (seed, config, ...) and the size and crc32c of every file. nn/checkpoint_folder.h manages the folder of all checkpoints.
//
//   save_checkpoint(folder, step, {{"model", state_dict(model)}, {"ema", state_dict(ema)}, {"optimizer", optimizer.state()}}, state);
//   if (const auto c = open_newest(folder, warn)) { load_state(model, c->part("model")); optimizer.load_state(c->part("optimizer")); ... }
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "nn/checkpoint_folder.h"
#include "nn/module.h"
#include "tensor/error.h"
#include "tensor/io/safetensors.h"
#include "tensor/io/weights_file.h"

namespace fm {

struct CheckpointPart {
  std::string name;                    // the file is <name>.safetensors
  NamedTensors tensors;
  FetchTensor fetch = {};              // if set, returns a tensor's values; `tensors` then gives only shapes and types (save_safetensors)
};

// The checkpoint is damaged: a file is missing, truncated or altered. Other FileErrors have other causes: the disk failed, a permission is
// missing, or a newer program wrote the checkpoint.
struct DamagedCheckpoint : FileError { using FileError::FileError; };

// A checkpoint whose files are all present and match their checksums.
class Checkpoint {
 public:
  // Checks every file against state.json. Throws DamagedCheckpoint, or another FileError if a file cannot be read or the format is newer.
  explicit Checkpoint(const std::filesystem::path& folder);

  const std::filesystem::path& folder() const { return folder_; }
  std::int64_t step() const { return step_; }
  const nlohmann::ordered_json& state() const { return *state_; }      // the `state` that save_checkpoint received
  bool has(const std::string& part) const { return parts_.contains(part); }
  NamedTensors part(const std::string& name) const;                    // views into the file; FileError lists the existing parts

 private:
  std::filesystem::path folder_;
  std::int64_t step_ = 0;
  std::shared_ptr<const nlohmann::ordered_json> state_;
  std::map<std::string, Safetensors> parts_;
};

// Writes the parts and `state` (a JSON object) and publishes them as the checkpoint of `step`. On failure it removes the written files, leaves
// existing checkpoints unchanged and throws a FileError with the reason. The same contents give the same bytes.
void save_checkpoint(CheckpointFolder& checkpoints, std::int64_t step, const std::vector<CheckpointPart>& parts,
                     const nlohmann::ordered_json& state);

// Opens the newest undamaged checkpoint; no value if the folder has no checkpoints. Skips each damaged one with a warning. FileError if all are
// damaged, or if one cannot be read. If a running training replaces a checkpoint during the read, the newer one is opened.
std::optional<Checkpoint> open_newest(const CheckpointFolder& checkpoints, const Warn& warn);

// Opens the checkpoint in the folder `where`; "checkpoints/latest" stands for the newest undamaged one, even if that entry is not a link. No value if
// there is no checkpoint.
std::optional<Checkpoint> open_checkpoint(const std::filesystem::path& where, const Warn& warn);

// Weights from a file or a checkpoint.
struct Weights {
  std::filesystem::path file;
  NamedTensors tensors;
  std::int64_t step = -1;                                  // -1: a file that is not in a checkpoint
  std::shared_ptr<const nlohmann::ordered_json> state;     // state.json; null: a file that is not in a checkpoint
  std::vector<UnreadEntry> unread = {};                    // entries of the file that could not be read as tensors, with the reasons
  std::string read_as = {};                                // what a loader took an ambiguous file for, in words
};

// Loads weights. `where` is one of
//   a file: safetensors, PyTorch's .pt, .pth or .bin, or .npz, recognized by its contents (tensor/io/weights_file.h)
//   an index of shards (nn/sharded_weights.h)
//   a folder of a published model: one with such a file or index, for example model.safetensors
//   a checkpoint
//   a folder of checkpoints, a run folder or "checkpoints/latest" (even if that link is missing): its newest undamaged checkpoint
// ":part" at the end names a part of a checkpoint, as in "runs/a:ema" (default: "model"), or of a PyTorch file, as in "stage2.pt:model" (default:
// "ema" if it exists). FileError if the weights are missing or damaged.
Weights load_weights(const std::string& where, const Warn& warn);

// Prefix of the tensors in a checkpoint that are trained with the model but do not belong to it (nn/models/row_weight.h). load_weights() leaves
// them out.
inline constexpr const char* beside_the_model = "row_weight.";

// Splits the `where` of load_weights into the file or folder and the part (empty if `where` names none).
std::pair<std::filesystem::path, std::string> weights_and_part(const std::string& where);
// Whether both lead to the same part of one file, such as an absolute and a relative path. False if one is empty or no such file exists.
bool is_same_weights(const std::string& a, const std::string& b);

// Loads weights into a model with load_state (nn/module.h), and adds the name of the file to its errors.
template <class M> void load_model(M& model, const Weights& weights, bool strict = true) {
  try {
    load_state(model, weights.tensors, strict);
  } catch (const NotFiniteError& e) {
    throw NotFiniteError(weights.file.string() + ": " + e.what());
  } catch (const FileError& e) {
    throw FileError(weights.file.string() + ": " + e.what() + unread_text(weights.unread));
  }
}

// Makes a model with these weights, in f32, that is not trained. It samples no initial values, and copies the tensors one by one out of the mapped
// file, so a large file needs its size in memory only once. Afterwards the file may be replaced. Errors are those of load_model.
template <class M> M frozen_model(const decltype(M::config)& config, Weights weights) {
  M model = [&] {
    const ShapesOnly shapes;
    return M(config);
  }();
  try {
    adopt_state(model, weights.tensors);
  } catch (const NotFiniteError& e) {
    throw NotFiniteError(weights.file.string() + ": " + e.what());
  } catch (const FileError& e) {
    throw FileError(weights.file.string() + ": " + e.what() + unread_text(weights.unread));
  }
  weights.tensors.clear();
  for_each_tensor(model, [](const std::string&, Tensor& t) {
    const Tensor own = Tensor::empty(t.shape());
    own.copy_from(t);
    t = own;
  });
  set_trainable(model, false);
  return model;
}

}  // namespace fm
