// The generators of a run that are scored, in one list for images and for points.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "flowmap/training/chain/score.h"
#include "flowmap/training/chain/training_run.h"

namespace fm {

// `of` has name, stage, step, checkpoint, calls, guidance; and the seed of the samples, below 0 for the run's. The scoring code fills in
// the rest.
struct ScoredGenerator {
  Score of;
  Network network;                       // with averaged weights
  LatentGenerator generate;
  FlowMapNet map = {};                   // empty: a teacher
  Jumps jumps = Jumps::any;              // the trained jumps of the map
  bool flow_map = true;                  // false: the map's aim is another than the flow
};
using TakeGenerator = std::function<void(const ScoredGenerator&)>;

// The names to score, in their order: the requested ones (of scored_names(), last, or the folder of an ablation's variant), else all.
// ConfigError for an unknown name.
std::vector<std::string> names_to_score(const TrainingRun& run, const std::vector<std::string>& asked);

// Loads the run's generators of this name and passes them to `take`: the teacher, if evaluate.teacher is on, once for each of
// `teacher_points` (points of its solver's grid); a flow map once for each number of calls of evaluate.steps. Other names have no generators. One
// network at a time is kept here.
void scored_generators(TrainingRun& run, const std::string& name, const std::vector<std::int64_t>& teacher_points, const TakeGenerator& take);

// A flow map of the run's folder `stage`, under a name of its own.
void scored_flow_map(TrainingRun& run, const std::string& name, const std::string& stage, const std::vector<int>& calls, std::int64_t seed,
                     const TakeGenerator& take);

}  // namespace fm
