#include "flowmap/training/chain/scored.h"

#include <fmt/format.h>

#include <algorithm>

#include "nn/loaded.h"
#include "tensor/error.h"
#include "tensor/narrow.h"

namespace fm {
namespace {

// Network calls for one sample: one at each point of the grid but the last, and a second one, without label, where guidance acts (cfg in velocity.h).
std::int64_t calls_of_teacher(const Recipe& r, const Grid& grid) {
  std::int64_t calls = std::ssize(grid) - 1;
  if (r.guidance == 1) return calls;
  const auto low = static_cast<float>(r.guidance_from), high = static_cast<float>(r.guidance_to);
  return calls + std::count_if(grid.begin(), grid.end() - 1, [&](double t) { return static_cast<float>(t) >= low && static_cast<float>(t) <= high; });
}

void scored_teacher(TrainingRun& run, const StageSpec& stage, const std::vector<std::int64_t>& points, const TakeGenerator& take) {
  const Recipe& r = run.recipe();
  const Network teacher = run.load_teacher();
  Score of{.name = stage.scored_as,
           .stage = stage.is_given(r) ? r.*stage.given : stage.name,
           .step = run.loaded_step(stage.name),
           .checkpoint = checksum(teacher.state()),
           .dtype = teacher.precision(),
           .guidance = r.guidance};
  if (r.guidance != 1 && (r.guidance_from > 0 || r.guidance_to < 1)) of.guidance_from = r.guidance_from, of.guidance_to = r.guidance_to;
  for (const std::int64_t n : points) {
    of.calls = calls_of_teacher(r, teacher_grid(narrow<int>(n, "points"), run.latent_shift()));
    take({of, teacher, run.teacher_generator(teacher, n)});
  }
}

}  // namespace

void scored_flow_map(TrainingRun& run, const std::string& name, const std::string& stage, const std::vector<int>& calls, std::int64_t seed,
                     const TakeGenerator& take) {
  const Network map = run.load_student(stage);
  Score of{.name = name,
           .stage = stage,
           .step = run.loaded_step(stage),
           .checkpoint = checksum(map.state()),
           .dtype = map.precision(),
           .seed = seed,
           .guidance = 1};
  const TrainingRun::Aim aim = run.aim_of(stage);
  for (const int n : calls) {
    if (!takes_calls(aim.jumps, n)) {
      run.context().log.warning("{}: no scores in {} calls: this flow map {}", name, n, sampler_of(aim.jumps).text);
      continue;
    }
    of.calls = n;
    take({of, map, run.student_generator(stage, map, n), map.u(), aim.jumps, aim.flow_map});
  }
}

void scored_generators(TrainingRun& run, const std::string& name, const std::vector<std::int64_t>& teacher_points, const TakeGenerator& take) {
  const EvaluateConfig& c = run.recipe().evaluate;
  const auto table = stage_table();
  const auto stage = std::find_if(table.begin(), table.end(), [&](const StageSpec& s) { return s.scored_as != nullptr && name == s.scored_as; });
  if (stage != table.end() && stage->makes == Makes::teacher) {
    if (c.teacher && run.has_teacher()) scored_teacher(run, *stage, teacher_points, take);
  } else if ((stage == table.end() || stage->makes == Makes::flow_map) && run.has(name)) {
    scored_flow_map(run, name, name, parse_steps(c.steps), -1, take);
  }
}

// Refuses a requested generator that does not exist. Without this check an evaluation of nothing would succeed.
void refuse_absent(const TrainingRun& run, const std::string& name) {
  for (const StageSpec& stage : stage_table()) {
    if (stage.scored_as == nullptr || name != stage.scored_as) continue;
    if (stage.makes == Makes::teacher && !run.recipe().evaluate.teacher) throw ConfigError(fmt::format("--stage {} and --no-teacher exclude each other: leave one of the two out", name));
    if (stage.is_generator() && !run.is_available(stage)) throw FileError(run.not_trained(stage.name, (run.root() / stage.name).string()));
  }
}

std::vector<std::string> names_to_score(const TrainingRun& run, const std::vector<std::string>& asked) {
  const std::vector<std::string> all = scored_names();
  if (asked.empty()) return all;
  std::vector<std::string> list;
  for (const std::string& name : asked) {
    const bool known = std::find(all.begin(), all.end(), name) != all.end();
    if (name == "last")
      list.push_back(run.last_student());
    else if (known || (name.starts_with("ablate/") && run.has(name))) {
      refuse_absent(run, name);
      list.push_back(name);
    }
    else
      throw ConfigError(
          fmt::format("--stage {}: there is no such generator: known are {}, last, and the folders of ablations' variants, such as ablate/derivative/jvp", name,
                      fmt::join(all, ", ")));
  }
  return list;
}

}  // namespace fm
