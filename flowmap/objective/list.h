// The list of objectives that a config can name. To add one, include its header and add its type to ObjectiveList.
#pragma once

#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "flowmap/objective/alpha_flow.h"
#include "flowmap/objective/cmt.h"
#include "flowmap/objective/continuous_cm.h"
#include "flowmap/objective/ctm.h"
#include "flowmap/objective/discrete_cm.h"
#include "flowmap/objective/ect.h"
#include "flowmap/objective/esd.h"
#include "flowmap/objective/facm.h"
#include "flowmap/objective/flow_map_matching.h"
#include "flowmap/objective/flow_matching.h"
#include "flowmap/objective/guided_mean_flow.h"
#include "flowmap/objective/imm.h"
#include "flowmap/objective/improved_mean_flow.h"
#include "flowmap/objective/lmd.h"
#include "flowmap/objective/lsd.h"
#include "flowmap/objective/mean_flow.h"
#include "flowmap/objective/scaled_cm.h"
#include "flowmap/objective/shortcut.h"
#include "flowmap/objective/so_flow.h"
#include "flowmap/objective/split_mean_flow.h"
#include "flowmap/objective/tim.h"
#include "flowmap/objective/tvm.h"

namespace fm {

using ObjectiveList =
    std::tuple<FlowMatchingConfig, CmtConfig, MeanFlowConfig, GuidedMeanFlowConfig, ImprovedMeanFlowConfig, AlphaFlowConfig, SoFlowConfig, TransitionModelConfig,
               CtConfig, IctConfig, CdConfig, EctConfig, ContinuousCmConfig, SctConfig, ScdConfig, FacmConfig, LsdConfig, LmdConfig, EsdConfig, TvmConfig,
               FlowMapMatchingConfig, CtmConfig, ShortcutConfig, SplitMeanFlowConfig, ImmConfig>;

// The names, in the order of the list.
std::vector<std::string> objective_names();

// "plain", "published", and the names of all ports() of entries.
std::vector<std::string> objective_presets();

// A section of a training's config: the name of the chosen objective, and the settings of every objective.
class ObjectiveConfig {
 public:
  std::string name = "mean_flow", preset = "plain";
  ObjectiveList entries;

  template <class V> void visit(V&& v) {
    v("name", name, "objective that the flow map is trained with", ChoiceRule{objective_names()}, flag("objective"), basic());
    v("preset", preset,
      "source of the settings that are left at their defaults: the plain equation with mean squares (plain), the objective's paper or code (published), or, for guided_mean_flow, "
      "one of the codes that train it (official, haoyizhu, zhuyu-cs)",
      ChoiceRule{objective_presets()}, flag("objective-preset"));
    std::apply([&](auto&... entry) { (v(entry.name, entry, entry.says), ...); }, entries);
  }

  // The chosen entry with its preset. ConfigError for a name that is not in the list, or a preset of another entry. `keys`: this section's path in the config, "map.objective".
  Objective chosen(const std::string& keys) const;

  // Returns the settings that the preset fills in, with their values. These settings have their default value, and published() or the port has another value.
  // Empty for "plain", and for entries without published() or this port. The config itself keeps its given values, so that another preset can be chosen later.
  std::vector<std::pair<std::string, std::string>> preset_values() const;

  void set_null_label(std::int64_t label);                       // sets the null label (the number of classes) of every entry
};

}  // namespace fm
