// Functions for steps on several ranks: the rows of each rank, and what the ranks agree on. They also work with one rank.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "nn/checkpoint.h"
#include "nn/training/stage.h"
#include "tensor/collectives/communicator.h"

namespace fm {

struct RowRange {
  std::int64_t first = 0, count = 0;     // rows of the step's batch
  bool operator==(const RowRange&) const = default;
};

// Returns the rows of a rank, divided into micro-batches. If the number of micro-batches of the batch is a multiple of the number of ranks, each rank gets
// whole micro-batches; else the rows are divided evenly. ConfigError if there are fewer rows than ranks.
std::vector<RowRange> rows_of_rank(std::int64_t batch, std::int64_t micro_batch, int rank, int ranks);

// True if the micro-batches of all ranks together are those of a training on one rank. Then even quantities per micro-batch are the same.
bool same_parts_as_alone(std::int64_t batch, std::int64_t micro_batch, int ranks);

// The decisions on which all ranks agree after each step, because a signal or a loss that is not finite may reach only some ranks.
struct Agreed {
  double loss = 0;                       // loss of the whole batch
  std::string stop;                      // the reason to stop; empty: continue
  bool save = false;
};
// Each rank passes its share of the loss, its reason to stop (or an empty text), and whether it requests a save. If several ranks give a reason, all
// use the reason of the first of them.
Agreed agree(Communicator& ranks, double own_loss, const std::string& own_stop, bool own_save);

// Merges `more`, means over a part of the batch, into the means in `into`. `share` is the part's share of the batch. New names are appended.
void add_metrics(std::vector<StepMetric>& into, const std::vector<StepMetric>& more, double share);
std::vector<StepMetric> metrics_of_all(Communicator& ranks, const std::vector<StepMetric>& own);

// ConfigError on all ranks if one of them was started with another config, build or folder than rank 0. It names the difference.
void check_same_start(Communicator& ranks, const std::string& config_toml, const std::string& facts);

// save_checkpoint for tensors on several ranks: the first rank writes, and receives each tensor from its owner in turn. So a checkpoint is the same for
// any number of ranks, and no rank holds all tensors. `owner(part, name)` returns the owner, or -1 if the first rank has the tensor.
using OwnerOf = std::function<int(const std::string& part, const std::string& name)>;
void save_from_owners(Communicator& ranks, CheckpointFolder& checkpoints, std::int64_t step, std::vector<CheckpointPart> parts,
                      const nlohmann::ordered_json& state, const OwnerOf& owner);

}  // namespace fm
