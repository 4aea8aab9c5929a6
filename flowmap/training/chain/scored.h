// The generators of a run that are scored, the same for images and for points of the plane.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "flowmap/training/chain/score.h"
#include "flowmap/training/chain/training_run.h"

namespace fm {

// `of` has name, stage, step, checkpoint, dtype, calls, guidance, and the seed of the samples (below 0: the run's seed). The scoring code fills in the
// other members.
struct ScoredGenerator {
  Score of;
  Network network;                       // has averaged weights
  LatentGenerator generate;
  FlowMapNet map = {};                   // empty: a teacher
  Jumps jumps = Jumps::any;              // the trained jumps of the map
  bool flow_map = true;                  // false: the map was trained for another aim than the flow
};
using TakeGenerator = std::function<void(const ScoredGenerator&)>;

// Returns the names to score: the requested ones in their order (names of scored_names(), "last", or folders of an ablation's variants), or all
// scored_names() if none is requested. ConfigError for an unknown name. FileError for a requested generator that is not trained.
std::vector<std::string> names_to_score(const TrainingRun& run, const std::vector<std::string>& asked);

// Loads the run's generators with this name, if they are trained, and passes them to `take`. The teacher is passed if evaluate.teacher is true, once for
// each of `teacher_points` (numbers of points of its solver's grid). A flow map is passed once for each number of calls of evaluate.steps. Other names
// have no generators.
void scored_generators(TrainingRun& run, const std::string& name, const std::vector<std::int64_t>& teacher_points, const TakeGenerator& take);

// Passes on the flow map in the run's folder `stage` under another name, once for each of `calls`. Warns of numbers that its sampler cannot take.
void scored_flow_map(TrainingRun& run, const std::string& name, const std::string& stage, const std::vector<int>& calls, std::int64_t seed,
                     const TakeGenerator& take);

}  // namespace fm
