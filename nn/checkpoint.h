// The contents of a checkpoint: one safetensors file per part (model, ema, optimizer, ...) and state.json with the step, the
// caller's additions (seed, config, compat flags) and the size and crc32c of every file. nn/checkpoint_folder.h has the folder of checkpoints.
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
  FetchTensor fetch = {};              // the source of the values, if not `tensors` (save_safetensors)
};

// The contents prove that the checkpoint is not whole: a file is missing, truncated or altered. Other FileErrors do not prove damage:
// the disk or a permission failed, or a newer program wrote the checkpoint.
struct DamagedCheckpoint : FileError { using FileError::FileError; };

// A checkpoint that was read and found whole.
class Checkpoint {
 public:
  // Checks every file against state.json. Throws DamagedCheckpoint; other FileErrors if it cannot be read or has a newer format.
  explicit Checkpoint(const std::filesystem::path& folder);

  const std::filesystem::path& folder() const { return folder_; }
  std::int64_t step() const { return step_; }
  const nlohmann::ordered_json& state() const { return *state_; }      // state.json as it was given to save_checkpoint
  bool has(const std::string& part) const { return parts_.contains(part); }
  NamedTensors part(const std::string& name) const;                    // views into the file; FileError lists the existing parts

 private:
  std::filesystem::path folder_;
  std::int64_t step_ = 0;
  std::shared_ptr<const nlohmann::ordered_json> state_;
  std::map<std::string, Safetensors> parts_;
};

// Writes the parts and `state` (an object) and publishes them as the checkpoint of `step`. On failure the written files are
// removed, existing checkpoints are unchanged, and FileError names the reason. The same contents give the same bytes.
void save_checkpoint(CheckpointFolder& checkpoints, std::int64_t step, const std::vector<CheckpointPart>& parts,
                     const nlohmann::ordered_json& state);

// The newest whole checkpoint; no value if there are no checkpoints. Each damaged one is skipped with a warning. FileError if all are damaged, and for an
// unreadable one. If a training replaces the checkpoint meanwhile, the newer one is read.
std::optional<Checkpoint> open_newest(const CheckpointFolder& checkpoints, const Warn& warn);

// The checkpoint in this folder, or the newest whole one for "checkpoints/latest", whatever that entry is. No value if there is none.
std::optional<Checkpoint> open_checkpoint(const std::filesystem::path& where, const Warn& warn);

// Weights from anything that holds some.
struct Weights {
  std::filesystem::path file;
  NamedTensors tensors;
  std::int64_t step = -1;                                  // -1: a bare file
  std::shared_ptr<const nlohmann::ordered_json> state;     // null: a bare file
  std::vector<UnreadEntry> unread = {};                    // entries of the file that are no tensors here, with why
};

// `where` is a file (safetensors, PyTorch's .pt, .pth or .bin, .npz: recognized by its contents, tensor/io/weights_file.h), an index of shards
// (nn/sharded_weights.h), a folder with either under the name "model", a checkpoint, a folder of checkpoints or a run folder. The last two stand for their
// newest whole checkpoint, and so does "checkpoints/latest", even without the link. Checkpoints may end in ":part", as in "runs/a:ema"; the part is "model" otherwise. So may PyTorch's files, as in
// "stage2.pt:model"; otherwise "ema" is taken if it exists. FileError if the weights are missing or damaged.
Weights load_weights(const std::string& where, const Warn& warn);

// Tensors of a checkpoint that were trained beside the model and are no part of it (nn/models/row_weight.h): load_weights() leaves them out.
inline constexpr const char* beside_the_model = "row_weight.";

// Splits such a `where` into the file or folder and the part (empty if not named).
std::pair<std::filesystem::path, std::string> weights_and_part(const std::string& where);

// Loads into a model: FileError names the file and the missing, unexpected or differently shaped tensors (load_state in nn/module.h).
template <class M> void load_model(M& model, const Weights& weights, bool strict = true) {
  try {
    load_state(model, weights.tensors, strict);
  } catch (const NotFiniteError& e) {
    throw NotFiniteError(weights.file.string() + ": " + e.what());
  } catch (const FileError& e) {
    throw FileError(weights.file.string() + ": " + e.what() + unread_text(weights.unread));
  }
}

// A model of these weights, in f32, that is not trained. No initial values are drawn, and tensors are copied one by one, each given back to
// the file before the next: a large file needs its size in memory once. The file may then be replaced. FileError as from load_model.
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
