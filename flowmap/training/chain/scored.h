// The generators of a run that scores are of, one way for pictures and for points.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "flowmap/training/chain/score.h"
#include "flowmap/training/chain/training_run.h"

namespace fm {

// `of` says what it is: name, stage, step, checkpoint, calls, guidance; and the seed of the samples, below 0 for the run's. Who scores it fills in
// the rest.
struct ScoredGenerator {
  Score of;
  Network network;                       // with averaged weights
  LatentGenerator generate;
  FlowMapNet map = {};                   // empty: a teacher
  Jumps jumps = Jumps::any;              // that the map was trained for
  bool flow_map = true;                  // false: the map's aim is another than the flow
};
using TakeGenerator = std::function<void(const ScoredGenerator&)>;

// The names to score, in their order: what is asked for (of scored_names(), last, or the folder of an ablation's variant), else all.
// ConfigError for a name that is none.
std::vector<std::string> names_to_score(const TrainingRun& run, const std::vector<std::string>& asked);

// Loads the generators of this name that the run has, and gives them to `take`: the teacher, where evaluate.teacher is on, once for each of
// `teacher_points` (points of its solver's grid); a flow map once for each number of calls of evaluate.steps. What is no generator has none. One
// network at a time is kept here.
void scored_generators(TrainingRun& run, const std::string& name, const std::vector<std::int64_t>& teacher_points, const TakeGenerator& take);

// A flow map of the run's folder `stage`, under a name of its own.
void scored_flow_map(TrainingRun& run, const std::string& name, const std::string& stage, const std::vector<int>& calls, std::int64_t seed,
                     const TakeGenerator& take);

}  // namespace fm
