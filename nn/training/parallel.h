// One step on several ranks: the rows of each rank, and the facts that all ranks share. With one rank the functions do what one process does anyway.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "nn/checkpoint.h"
#include "nn/training/stage.h"
#include "tensor/collectives/communicator.h"

namespace fm {

struct RowRange {
  std::int64_t first = 0, count = 0;     // of the step's batch
  bool operator==(const RowRange&) const = default;
};

// A rank's rows, cut into micro-batches. Whole micro-batches where every rank gets as many, else rows. ConfigError: fewer rows than ranks.
std::vector<RowRange> rows_of_rank(std::int64_t batch, std::int64_t micro_batch, int rank, int ranks);

// True if each rank's micro-batches are among those of one rank alone: then even quantities counted per micro-batch stay the same.
bool same_parts_as_alone(std::int64_t batch, std::int64_t micro_batch, int ranks);

// The agreement of ranks after each step: signals and losses that are not finite do not reach them at the same time.
struct Agreed {
  double loss = 0;                       // of the whole batch
  std::string stop;                      // the reason to stop; empty: continue
  bool save = false;
};
// Each rank passes its share of the loss, its reason to stop (or empty), and whether it requests a save. If several give a reason, the
// first of these ranks decides.
Agreed agree(Communicator& ranks, double own_loss, const std::string& own_stop, bool own_save);

// Merges means over parts of a batch into means over all of it; the first list's names first.
void add_metrics(std::vector<StepMetric>& into, const std::vector<StepMetric>& more, double share);
std::vector<StepMetric> metrics_of_all(Communicator& ranks, const std::vector<StepMetric>& own);

// ConfigError, on all ranks, when one of them was started with another config, build or folder than the first: it names the difference.
void check_same_start(Communicator& ranks, const std::string& config_toml, const std::string& facts);

// save_checkpoint for tensors on several ranks: the first rank writes, and requests each tensor from its owner in turn. So a
// checkpoint is the same file on any number of ranks and no rank ever holds all tensors. `owner(part, name)`: -1 if the first rank has it.
using OwnerOf = std::function<int(const std::string& part, const std::string& name)>;
void save_from_owners(Communicator& ranks, CheckpointFolder& checkpoints, std::int64_t step, std::vector<CheckpointPart> parts,
                      const nlohmann::ordered_json& state, const OwnerOf& owner);

}  // namespace fm
