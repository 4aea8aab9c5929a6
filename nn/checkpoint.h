// What is inside a checkpoint: one safetensors file a part (model, ema, optimizer, ...) and state.json, which holds the step, what the
// caller adds (seed, config, compat flags) and the size and crc32c of every file. Where checkpoints lie: nn/checkpoint_folder.h.
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
  FetchTensor fetch = {};              // where the values come from, if not from `tensors` (save_safetensors)
};

// What is there proves that the checkpoint is not whole: a file is missing, cut short or altered. Another FileError says nothing of the kind:
// the disk or a permission failed, or a newer program wrote it.
struct DamagedCheckpoint : FileError { using FileError::FileError; };

// A checkpoint that was read and found whole.
class Checkpoint {
 public:
  // Checks every file against state.json. Throws DamagedCheckpoint; other FileErrors where it cannot be read or is of a newer format.
  explicit Checkpoint(const std::filesystem::path& folder);

  const std::filesystem::path& folder() const { return folder_; }
  std::int64_t step() const { return step_; }
  const nlohmann::ordered_json& state() const { return *state_; }      // state.json as it was given to save_checkpoint
  bool has(const std::string& part) const { return parts_.contains(part); }
  NamedTensors part(const std::string& name) const;                    // views into the file; FileError names the parts that there are

 private:
  std::filesystem::path folder_;
  std::int64_t step_ = 0;
  std::shared_ptr<const nlohmann::ordered_json> state_;
  std::map<std::string, Safetensors> parts_;
};

// Writes the parts and `state` (an object) and publishes them as the checkpoint of `step`. When something fails, what was written is
// removed, the checkpoints that were there are untouched, and FileError says what failed. The same contents give the same bytes.
void save_checkpoint(CheckpointFolder& checkpoints, std::int64_t step, const std::vector<CheckpointPart>& parts,
                     const nlohmann::ordered_json& state);

// The newest whole checkpoint, or none if there is none at all. Each damaged one is passed over with a warning; FileError when all are, and for
// one that cannot be read. A checkpoint that its training removes meanwhile, for a newer one, is not missed.
std::optional<Checkpoint> open_newest(const CheckpointFolder& checkpoints, const Warn& warn);

// The checkpoint in this folder, or the newest whole one for "checkpoints/latest", whatever that is. Nothing where there is none.
std::optional<Checkpoint> open_checkpoint(const std::filesystem::path& where, const Warn& warn);

// Weights from anything that holds some.
struct Weights {
  std::filesystem::path file;
  NamedTensors tensors;
  std::int64_t step = -1;                                  // -1: a bare file
  std::shared_ptr<const nlohmann::ordered_json> state;     // null: a bare file
  std::vector<UnreadEntry> unread = {};                    // entries of the file that are no tensors here, with why
};

// `where` is a file (safetensors, PyTorch's .pt, .pth or .bin, .npz: told by its contents, tensor/io/weights_file.h), an index of shards
// (nn/sharded_weights.h), a folder with either under the name "model", a checkpoint, a folder of checkpoints or a run folder (the newest
// whole checkpoint of it; so does "checkpoints/latest", without the link). Checkpoints may end in ":part", as in "runs/a:ema"; the part is "model" otherwise. So may PyTorch's files, as in
// "stage2.pt:model"; otherwise "ema" is taken where there is one. FileError when there is no such thing or it is damaged.
Weights load_weights(const std::string& where, const Warn& warn);

// Tensors of a checkpoint that were trained beside the model and are no part of it (nn/models/row_weight.h): load_weights() leaves them out.
inline constexpr const char* beside_the_model = "row_weight.";

// Of such a `where`: the file or folder, and the part (empty: none is named).
std::pair<std::filesystem::path, std::string> weights_and_part(const std::string& where);

// Into a model: FileError names the file and what is missing, unexpected or of another shape (load_state in nn/module.h).
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
