#include "flowmap/training/chain/feature_rows.h"

#include <fmt/format.h>

#include "flowmap/training/judge_features.h"
#include "flowmap/training/published_features.h"
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

Features open_published(TrainingRun& run) {
  const EvaluateConfig& c = run.recipe().evaluate;
  return open_published_features(c.features, c.preparation, run.warner());
}

bool has_judge(const Recipe& r) { return r.has_judge(); }
bool always(const Recipe&) { return true; }

struct FeaturesRow {
  const char* name;                      // recipe.evaluate.features, which for features of a file is NAME:FILE
  bool pictures;                         // the kind of samples for which these features are the default
  bool pictures_alone;
  bool (*available)(const Recipe&);
  Features (*open)(TrainingRun&);
  bool of_file = false;

  bool is_named_by(const std::string& wanted) const { return parse_features(wanted).network == name; }
  std::string form() const { return of_file ? std::string(name) + ":FILE" : name; }
};

// The first row of a kind of samples is its default.
constexpr FeaturesRow rows[] = {{stage_name::judge, true, true, has_judge, open_judge}, {"values", false, false, always, open_values},
                                {"inception", true, true, always, open_published, true}, {"dinov2", true, true, always, open_published, true}};

std::string forms() {
  std::vector<std::string> out;
  for (const FeaturesRow& row : rows) out.push_back(row.form());
  return words(out, "and");
}

void check_row(const FeaturesRow& row, const Recipe& r) {
  const EvaluateConfig& c = r.evaluate;
  if (row.pictures_alone && !space_of(r).pictures)
    throw ConfigError(fmt::format("evaluate.features {} is for images, but samples of {} are {}: leave it out", row.name, r.data, to_string(r.sample_shape)));
  if (row.of_file != !parse_features(c.features).file.empty()) throw ConfigError(fmt::format("evaluate.features '{}' must be {}", c.features, row.form()));
  if (!row.of_file && !c.preparation.empty())
    throw ConfigError(fmt::format("evaluate.preparation {} is for features of a published network, not for {}: leave it out", c.preparation, row.name));
  if (row.of_file && r.channels != 1 && r.channels != 3)
    throw ConfigError(fmt::format("evaluate.features {} is for images with 1 or 3 channels, but those of {} have {}: leave it out", row.name, r.data, r.channels));
}

const FeaturesRow& row_of(const Recipe& r) {
  const std::string& wanted = r.evaluate.features;
  const bool pictures = space_of(r).pictures;
  for (const FeaturesRow& row : rows) {
    if (wanted.empty() ? row.pictures != pictures : !row.is_named_by(wanted)) continue;
    check_row(row, r);
    return row;
  }
  throw ConfigError(fmt::format("evaluate.features '{}' does not exist: known are {}", wanted, forms()));
}

}  // namespace

void check_given_judge(TrainingRun& run) { open_judge(run); }

std::string file_of_features(const Recipe& recipe) { return parse_features(recipe.evaluate.features).file; }

void check_features(const Recipe& recipe) { row_of(recipe); }

Features open_features(TrainingRun& run) { return row_of(run.recipe()).open(run); }
bool has_features(const Recipe& recipe) { return row_of(recipe).available(recipe); }

}  // namespace fm
