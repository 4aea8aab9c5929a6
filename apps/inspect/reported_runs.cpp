#include "apps/inspect/reported_runs.h"

#include <algorithm>

#include "flowmap/training/chain/gpu_table.h"
#include "nn/models/presets.h"

namespace fm {
// Source: mfrae.md 5.3, 6, 7.2. The paper gives no number for the teacher at 512 pixels.
const std::vector<ReportedRun>& reported_runs() {
  static const std::vector<ReportedRun> list = {
      {256, {{stage_name::fm, 1000800, 1024}}, 78},
      {256, {{stage_name::cmt, 27000, 8}}, 2.1},
      {256, {{stage_name::mfd, 180000, 256}}, 21},
      {512, {{stage_name::cmt, 0, 8}}, 8},
      {512, {{stage_name::mfd, 20000, 128}, {stage_name::mft, 10000, 128}}, 9},
  };
  return list;
}

bool is_recipe_of(const ReportedRun& run, const Recipe& r) {
  const auto xl = dit_dh("XL", run.image_size);
  const auto& dit = r.network.of<DitDh>();
  const bool same_model = r.network.name == "dit_dh" && r.image_size == run.image_size && dit.width == xl.width && dit.depth == xl.depth &&
                          dit.head_width == xl.head_width && dit.head_depth == xl.head_depth && dit.channels == xl.channels &&
                          dit.input_size == xl.input_size;
  return same_model && std::all_of(run.stages.begin(), run.stages.end(), [&](const ReportedStage& s) {
           const LoopConfig& loop = stage_loop(r, s.name);
           return loop.batch == s.batch && (s.steps == 0 || loop.steps == s.steps);
         });
}

double released_flops(const StageCost& c) {
  return stage_named(c.name).mean_flow != nullptr ? 3 * (c.forward + c.backward) + c.targets + c.encoder : c.flops();
}

double implied_utilisation(double flops, double gpu_days) { return flops / (gpu_days * 86400 * known_gpu("h100").tf32); }

}  // namespace fm
