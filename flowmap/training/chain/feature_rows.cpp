#include "flowmap/training/chain/feature_rows.h"

#include <fmt/format.h>

#include "flowmap/training/judge_features.h"
#include "tensor/error.h"

namespace fm {
namespace {

Features open_judge(TrainingRun& run) {
  const auto judge = std::make_shared<Judge>(run.recipe().judge.model);
  const std::string& given = run.recipe().judge_weights;
  const StageSpec& stage = stage_that_makes(Makes::classifier);
  const std::filesystem::path file = given.empty() ? run.root() / stage.name / stage.file : std::filesystem::path(given);
  load_model(*judge, load_weights(file.string(), run.warner()));
  return judge_features(judge);
}

Features open_values(TrainingRun&) { return plain_features(); }

bool has_judge(const Recipe& r) { return r.has_judge(); }
bool always(const Recipe&) { return true; }

struct FeaturesRow {
  const char* name;                      // recipe.evaluate.features
  bool pictures;                         // the kind of samples for which these features are the default
  bool pictures_alone;
  bool (*available)(const Recipe&);
  Features (*open)(TrainingRun&);
};

constexpr FeaturesRow rows[] = {{stage_name::judge, true, true, has_judge, open_judge}, {"values", false, false, always, open_values}};

const FeaturesRow& row_of(const Recipe& r) {
  const std::string& wanted = r.evaluate.features;
  const bool pictures = space_of(r).pictures;
  for (const FeaturesRow& row : rows) {
    if (wanted.empty() ? row.pictures != pictures : wanted != row.name) continue;
    if (row.pictures_alone && !pictures)
      throw ConfigError(fmt::format("evaluate.features {} is for images, but samples of {} are {}: leave it out", row.name, r.data, to_string(r.sample_shape)));
    return row;
  }
  throw ConfigError(fmt::format("evaluate.features '{}' does not exist: known are {}", wanted, words(features_names(), "and")));
}

}  // namespace

std::vector<std::string> features_names() {
  std::vector<std::string> out;
  for (const FeaturesRow& row : rows) out.emplace_back(row.name);
  return out;
}

void check_given_judge(TrainingRun& run) { open_judge(run); }

Features open_features(TrainingRun& run) { return row_of(run.recipe()).open(run); }
bool has_features(const Recipe& recipe) { return row_of(recipe).available(recipe); }

}  // namespace fm
