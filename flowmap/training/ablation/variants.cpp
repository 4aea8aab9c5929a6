#include "flowmap/training/ablation/variants.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "data/report/csv.h"
#include "flowmap/training/ablation/lambda.h"
#include "flowmap/training/ablation/measure.h"

namespace fm {
namespace {

MfStage with_difference(MfStage stage, double delta) {
  stage.objective.derivative.kind = "central";
  stage.objective.derivative.delta = delta;
  return stage;
}

MfStage with_jvp(MfStage stage) {
  stage.objective.derivative.kind = "jvp";
  return stage;
}

MfStage from_data(MfStage stage) {
  stage.velocity = "one-point";
  return stage;
}

template <class Stage> Stage stretched(Stage stage, std::int64_t steps) {
  stretch(stage.loop, steps);
  return stage;
}

// Returns the map stage with a number of steps. If the recipe's number is 0, because `pipeline` leaves the stage out, the end of the stage's schedule
// replaces it, or if the schedule has no end, `asked`.
MapStage with_own_steps(MapStage stage, std::int64_t asked) {
  if (stage.loop.steps == 0) stage.loop.steps = stage.loop.rate.decay_end > 0 ? stage.loop.rate.decay_end : asked;
  if (stage.loop.steps == 0)
    throw ConfigError("--what objective: the number of steps is unknown, because map.loop.steps is 0 and map.loop.rate has no decay_end: give --steps");
  return stage;
}
MapStage compared(const AblateConfig& c) {
  const MapStage stage = with_own_steps(c.recipe.map, c.steps);
  return c.steps > 0 ? stretched(stage, c.steps) : stage;
}

std::vector<Variant> objective_variants(const AblateConfig& c, const std::vector<std::string>& names) {
  std::vector<Variant> list;
  for (const std::string& name : names) {
    Variant v{.name = name, .start = {}, .recipe = c.recipe, .part = stage_name::map};
    v.recipe.map = with_own_steps(c.recipe.map, c.steps);
    v.recipe.map.objective.name = name;
    list.push_back(std::move(v));
  }
  return list;
}

// The reason why this run cannot train the objective of the recipe's map stage; empty if it can.
std::string what_is_missing(Recipe recipe, bool has_teacher, bool joint) {
  const StageSpec& stage = stage_named(stage_name::map);
  try {
    recipe.resolve();
    check_settings(stage, recipe, 1);
  } catch (const ConfigError& e) {
    return e.what();
  }
  if (stage.is_taught(recipe) && !has_teacher) return fmt::format("it learns from a teacher, and this run has none: `flowmap_train {}` trains it", stage_that_makes(Makes::teacher).name);
  return joint && stage.objective_in(recipe).needs.teacher_of_z ? "it calls the teacher where no class token is known, and the run's teacher is a REG" : "";
}

std::string derivative_text(const DerivativeConfig& d) { return d.kind == "jvp" ? "jvp" : fmt::format("{}, step {:g}", d.kind, d.delta); }

std::vector<Variant> comparison_of(const AblateConfig& c, const std::vector<std::string>& objectives) {
  if (comparison(c) == "objective") return objective_variants(c, objectives);
  if (comparison(c) == "lambda") return lambda_variants(c);
  std::vector<Variant> list;
  const auto add = [&](const std::string& name, const std::string& start, const MfStage& config, std::optional<MfStage> then = {}) {
    list.push_back({.name = name, .start = start, .recipe = c.recipe, .then = std::move(then)});
    list.back().recipe.mfd = config;
  };
  const MfStage& base = c.recipe.mfd;
  const std::string what = comparison(c);
  if (what == "derivative") {
    for (const std::string& precision : c.precisions) {
      const std::size_t first = list.size();
      const std::string suffix = precision == "f32" ? "" : "-" + precision;
      add("jvp" + suffix, stage_name::cmt, with_jvp(base));
      for (double delta : c.deltas) add(fmt::format("fd-{:g}{}", delta, suffix), stage_name::cmt, with_difference(base, delta));
      for (std::size_t i = first; i < list.size(); ++i) list[i].recipe.network.set_precision(precision);
    }
  } else if (what == "init") {
    for (const char* start : {"random", stage_name::fm, stage_name::cmt}) add(start, start, base);
  } else if (what == "scheme") {
    add(stage_name::mft, stage_name::cmt, from_data(base));
    add(stage_name::mfd, stage_name::cmt, base);
    const std::int64_t half = base.loop.steps / 2;
    add("mfd-then-mft", stage_name::cmt, stretched(base, half), stretched(from_data(base), base.loop.steps - half));
  } else {
    add(stage_name::mfd, stage_name::cmt, base);
  }
  return list;
}

std::string start_of(const Variant& v) {
  const char* stage = v.stage().start(v.recipe);
  return stage == nullptr ? "random" : stage;
}

// Refuses variants with the same name. Names show numbers with six digits, so different values can give one name.
void refuse_same_names(const std::vector<Variant>& list) {
  std::set<std::string> names;
  for (const Variant& v : list)
    if (!names.insert(v.name).second) throw ConfigError(fmt::format("two variants are named {}: give each value once, and values that differ in their first six digits", v.name));
}

struct Varied {
  std::string key;
  std::vector<std::string> values;
};

// Whether the key belongs to the stage that variants train.
bool is_trained(const std::string& key, const std::string& part) { return key.starts_with(part + "."); }

// Refuses keys that a training from the run's checkpoints does not read, such as sizes and settings of earlier stages.
void refuse_unread(const std::string& key, const std::string& part, const NetworkConfig& network) {
  const std::string precision = network.section() + ".precision";
  if (key == std::string(stage_name::map) + ".objective.name")
    throw ConfigError(fmt::format("--vary {}: use --what objective --objectives a,b,c to compare objectives", key));
  if (is_trained(key, part) || key.starts_with("guidance") || key == precision) return;
  throw ConfigError(fmt::format(
      "--vary {}: ablate trains only the last stage, from the run's checkpoints, so it can vary {}.*, guidance and {}; to compare other "
      "settings, train separate runs",
      key, part, precision));
}

// Refuses keys that the comparison or --equal sets in each variant: the name of a row would then show another value than the trained one.
void refuse_compared(const std::string& key, const AblateConfig& config) {
  const std::string what = comparison(config), mfd = stage_name::mfd;
  const bool derivative = what == "derivative" && (key.starts_with(mfd + ".objective.derivative.") || key == config.recipe.network.section() + ".precision");
  const bool velocity = (what == "scheme" || what == "lambda") && key == mfd + ".velocity";
  if (derivative || velocity) throw ConfigError(fmt::format("--vary {}: --what {} sets this key in each variant: leave this --vary out", key, what));
  const bool schedule = key.ends_with(".loop.steps") || key.ends_with(".rate.warmup_steps") || key.ends_with(".rate.decay_begin") || key.ends_with(".rate.decay_end");
  if (schedule && (config.equal != "steps" || what == "scheme" || what == "lambda"))
    throw ConfigError(fmt::format("--vary {}: steps and their schedule follow from {}: leave this --vary out", key, config.equal != "steps" ? "--equal " + config.equal : "--what " + what));
}

// Refuses settings of an objective that a variant does not train with, because its rows would differ in name only. Refuses settings of a published
// preset, because the preset replaces each value that equals the default.
void refuse_of_another_objective(const std::string& key, const ObjectiveConfig& objective) {
  const std::string objectives = std::string(stage_name::map) + ".objective.";
  if (!key.starts_with(objectives) || key == objectives + "preset") return;
  if (!key.starts_with(objectives + objective.name + "."))
    throw ConfigError(fmt::format("--vary {}: objective {} is compared too, and does not read it: give --objectives only the objective that reads it", key,
                                  objective.name));
  if (objective.preset != "plain")
    throw ConfigError(fmt::format("--vary {}: with --objective-preset {} a value of the list that equals the setting's default would be replaced by the "
                                  "preset's: use --objective-preset plain, and set those of the preset's values that you want one by one", key, objective.preset));
}

Varied parse_vary(const std::string& text, const std::string& part, Recipe& recipe) {
  const auto equals = text.find('=');
  if (equals == std::string::npos || equals == 0) throw ConfigError(fmt::format("--vary {}: must be KEY=a,b,c, such as mfd.loop.rate.peak=1e-4,1e-3", text));
  Varied out{text.substr(0, equals), {}};
  std::replace(out.key.begin(), out.key.end(), '-', '_');
  find_field(list_fields(recipe), out.key, "--vary");
  refuse_unread(out.key, part, recipe.network);
  std::set<std::string> different;
  for (const std::string_view value : csv_cells(std::string_view(text).substr(equals + 1))) {
    out.values.emplace_back(value);
    const Field field = find_field(list_fields(recipe), out.key, "--vary");
    set_from_text(field, value, fmt::format("--vary {}", out.key));
    if (!different.insert(to_text(field)).second) throw ConfigError(fmt::format("--vary {}: the same value twice; give each value once", text));       // also 1 and 1.0
  }
  return out;
}

// The shortest ending of the key that no other varied key has: "upper", or "end_time.upper" beside "pairs.time.upper".
std::string short_key(const std::string& key, const std::vector<std::string>& varied) {
  for (std::size_t dot = key.find_last_of('.'); dot != std::string::npos && dot > 0; dot = key.find_last_of('.', dot - 1)) {
    const std::string ending = key.substr(dot);
    const auto n = std::count_if(varied.begin(), varied.end(), [&](const std::string& text) {
      std::string other = text.substr(0, text.find('='));
      std::replace(other.begin(), other.end(), '-', '_');
      return other.ends_with(ending);
    });
    if (n <= 1) return ending.substr(1);
  }
  return key;
}

// Sets the key's value. A training of two parts gets the value in both parts.
void assign(Variant& variant, const std::string& key, const std::string& value) {
  const std::string where = fmt::format("--vary {}", key);
  set_from_text(find_field(list_fields(variant.recipe), key, where), value, where);
  if (!variant.then || !is_trained(key, variant.part)) return;
  Recipe second = variant.recipe;
  second.mfd = *variant.then;
  set_from_text(find_field(list_fields(second), key, where), value, where);
  variant.then = second.mfd;
}

}  // namespace

std::string comparison(const AblateConfig& config) {
  if (!config.what.empty()) return config.what;
  return config.vary.empty() ? "derivative" : "none";
}

ObjectiveChoice chosen_objectives(const AblateConfig& config, bool has_teacher, bool joint) {
  ObjectiveChoice out;
  if (comparison(config) != "objective") return out;
  const std::vector<std::string> known = objective_names();
  const bool all = config.objectives == "all";
  std::vector<std::string> asked = known;
  if (!all) {
    asked.clear();
    for (const std::string_view name : csv_cells(config.objectives)) asked.emplace_back(name);
  }
  Recipe recipe = config.recipe;
  recipe.map = compared(config);
  for (const std::string& name : asked) {
    if (std::find(known.begin(), known.end(), name) == known.end())
      throw ConfigError(fmt::format("--objectives {}: there is no objective '{}': give all, or some of {}", config.objectives, name, fmt::join(known, ", ")));
    if (std::find(out.names.begin(), out.names.end(), name) != out.names.end())
      throw ConfigError(fmt::format("--objectives {}: '{}' occurs twice; give each once", config.objectives, name));
    recipe.map.objective.name = name;
    const std::string missing = what_is_missing(recipe, has_teacher, joint);
    if (missing.empty()) out.names.push_back(name);
    else if (all) out.left_out.emplace_back(name, missing);
    else throw ConfigError(fmt::format("--objectives {}: {}: {}", config.objectives, name, missing));
  }
  if (out.names.empty()) throw ConfigError(fmt::format("--objectives all: this run can train no objective. {}: {}", out.left_out[0].first, out.left_out[0].second));
  return out;
}

std::vector<Variant> variants(const AblateConfig& config, const std::vector<std::string>& objectives) {
  std::vector<Variant> list = comparison_of(config, objectives);
  if (config.steps > 0)
    for (Variant& v : list) set_steps(v, config.steps);
  std::set<std::string> keys;
  for (const std::string& text : config.vary) {
    Recipe recipe = config.recipe;
    const Varied varied = parse_vary(text, list.front().part, recipe);
    refuse_compared(varied.key, config);
    for (const Variant& v : list) refuse_of_another_objective(varied.key, v.recipe.map.objective);
    if (!keys.insert(varied.key).second) throw ConfigError(fmt::format("--vary {}: given twice; give all its values in one --vary", varied.key));
    std::vector<Variant> product;
    for (const Variant& v : list)
      for (const std::string& value : varied.values) {
        product.push_back(v);
        product.back().name = fmt::format("{} {}={}", v.name, short_key(varied.key, config.vary), value);
        assign(product.back(), varied.key, value);
      }
    list = std::move(product);
  }
  for (Variant& v : list) {
    v.recipe.resolve();
    if (v.part == std::string_view(stage_name::map)) v.start = start_of(v);       // here, because --vary may have changed map.start
  }
  refuse_same_names(list);
  return list;
}

std::vector<std::int64_t> seeds(const AblateConfig& config) {
  if (config.seeds.empty()) return {config.recipe.seed};
  std::vector<std::int64_t> list;
  for (const std::string_view part : csv_cells(config.seeds)) {
    std::int64_t seed = 0;
    if (!parse_integer(part, seed) || seed < 0 || seed > 9'000'000'000'000'000)
      throw ConfigError(fmt::format("--seeds {}: must be a list such as 1,2,3, or a number of seeds such as 3", config.seeds));
    list.push_back(seed);
  }
  if (list.size() == 1) {
    const std::int64_t count = list[0];
    if (count < 1 || count > 1000) throw ConfigError(fmt::format("--seeds {}: must be a number of seeds from 1 to 1000, or a list", config.seeds));
    list.clear();
    for (std::int64_t i = 0; i < count; ++i) list.push_back(config.recipe.seed + i);
  }
  if (std::set<std::int64_t>(list.begin(), list.end()).size() < list.size())
    throw ConfigError(fmt::format("--seeds {}: the same seed twice; give each seed once", config.seeds));
  return list;
}

std::vector<Recipe> Variant::parts() const {
  std::vector<Recipe> out{recipe};
  if (then) out.push_back(recipe), out.back().mfd = *then;
  return out;
}

void stretch(LoopConfig& loop, std::int64_t steps) {
  const double factor = static_cast<double>(steps) / static_cast<double>(std::max<std::int64_t>(1, loop.steps));
  for (std::int64_t* step : {&loop.rate.warmup_steps, &loop.rate.decay_begin, &loop.rate.decay_end})
    *step = std::llround(static_cast<double>(*step) * factor);
  loop.steps = steps;
}

void set_steps(Variant& variant, std::int64_t steps) {
  if (variant.stage().mean_flow == nullptr) {
    variant.recipe.map = stretched(variant.recipe.map, std::max<std::int64_t>(1, steps));
    return;
  }
  MfStage& first = variant.recipe.mfd;
  if (!variant.then) {
    first = stretched(first, std::max<std::int64_t>(1, steps));
    return;
  }
  const double share = static_cast<double>(first.loop.steps) / static_cast<double>(variant.steps());
  const std::int64_t total = std::max<std::int64_t>(2, steps);
  const std::int64_t part = std::clamp<std::int64_t>(std::llround(share * static_cast<double>(total)), 1, total - 1);
  first = stretched(first, part);
  variant.then = stretched(*variant.then, total - part);
}

std::string preset_text(const Variant& v) {
  const ObjectiveConfig& objective = v.recipe.map.objective;
  return v.part == std::string_view(stage_name::map) && !objective.preset_values().empty() ? objective.preset + " settings" : "";
}

std::string sampler_text(const Variant& v) { return sampler_of(v.stage().objective_in(v.recipe).needs.jumps).text; }

std::string describe(const Variant& v) {
  if (v.stage().mean_flow == nullptr) {
    const std::string sampler = sampler_text(v);
    return fmt::format("{:<19} from {:<7} {} steps of {}, velocity {}, {:.2f} evaluations a sample{}{}{}", v.name, v.start, v.steps(), v.stage().loop(v.recipe).batch,
                       v.stage().velocity_in(v.recipe), evaluations_a_step(v) / static_cast<double>(v.stage().loop(v.recipe).batch),
                       v.stage().is_taught(v.recipe) ? ", a teacher" : "", sampler.empty() ? "" : "; the sampler " + sampler,
                       v.recipe.network.precision() == "f32" ? "" : ", " + v.recipe.network.precision());
  }
  const auto part = [](const MfStage& stage) {
    return fmt::format("{} steps of {}, velocity {}, derivative {}", stage.loop.steps, stage.loop.batch, stage.velocity,
                       derivative_text(stage.objective.derivative));
  };
  return fmt::format("{:<13} from {:<7} {}{}{}", v.name, v.start, part(v.recipe.mfd), v.then ? ", then " + part(*v.then) : "",
                     v.recipe.network.precision() == "f32" ? "" : ", " + v.recipe.network.precision());
}

}  // namespace fm
