#include "nn/training/checkpoints.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "nn/config/json.h"
#include "nn/training/parallel.h"

namespace fm {
namespace {

// Copies values by name. FileError if a tensor is missing or has another shape.
void restore(const NamedTensors& into, const NamedTensors& from, const std::string& part, const OptionNames& names) {
  std::map<std::string, Tensor> stored(from.begin(), from.end());
  for (const auto& [name, tensor] : into) {
    const auto it = stored.find(name);
    if (it == stored.end() || it->second.shape() != tensor.shape())
      throw FileError(
          part + ": " + name +
          (it == stored.end() ? " is missing" : " has shape " + to_string(it->second.shape()) + ", not " + to_string(tensor.shape())) +
          "; the run was made with another config (use " + names.anew() + ")");
    tensor.copy_from(it->second);
  }
}

// The step of the best checkpoint in a state of LoopWatch; -1 if there is none.
std::int64_t best_step(const nlohmann::ordered_json& watch) { return watch.is_object() && watch.contains("best") ? watch["best"].value("step", std::int64_t{-1}) : -1; }

}  // namespace

LoopCheckpoints::LoopCheckpoints(Stage& stage, const LoopConfig& loop, std::uint64_t seed, AdamW& optimizer, const TrainOptions& options,
                                 Communicator& ranks, LoopObserver& observer)
    : stage_(stage),
      loop_(loop),
      seed_(seed),
      optimizer_(optimizer),
      options_(options),
      ranks_(ranks),
      observer_(observer),
      checkpoints_(options.checkpoints(stage), loop.keep, loop.keep_every) {
  checkpoints_.set_warning([&observer](const std::string& line) { observer.warning(line); });
}

std::int64_t LoopCheckpoints::resume() {
  const std::string chosen = alone() ? choose() : gather_texts(ranks_, ranks_.first() ? choose() : "").front();
  std::int64_t step = 0;
  if (!chosen.empty()) {
    const Checkpoint found(chosen);
    load(found);
    step = found.step();
    note_loaded(found);
    if (ranks_.first()) resume_from(found);
  }
  return step;
}

void LoopCheckpoints::note_loaded(const Checkpoint& found) {
  known_ = Known{found.folder(), found.step(), std::nullopt, true};
  if (found.state().contains("loss") && found.state()["loss"].is_number()) known_->loss = found.state()["loss"].get<double>();
}

// Returns the folder of the checkpoint to resume from; empty if there is none.
std::string LoopCheckpoints::choose() {
  const std::string &wanted = options_.resume, &name = options_.names.resume;
  if (wanted == "never") {
    const std::string& fresh = options_.names.fresh;
    if (!checkpoints_.newest_first().empty())
      throw ConfigError(fmt::format("{} never: {} holds checkpoints; {}", name, checkpoints_.folder().string(),
                                    fresh.empty() ? "use another " + options_.names.out : fresh + " moves them aside"));
    return "";
  }
  const auto warn = [&](const std::string& line) { observer_.warning(line); };
  const auto found = wanted == "auto" ? open_newest(checkpoints_, warn) : open_checkpoint(wanted, warn);
  if (!found && wanted != "auto")
    throw FileError(fmt::format("{} {}: no checkpoint there; those of this stage are in {}", name, wanted, checkpoints_.folder().string()));
  return found ? found->folder().string() : "";
}

// Compares stage and sources, because a checkpoint that was copied from another stage or variant may have the same names and shapes.
void LoopCheckpoints::check_made_from(const Checkpoint& found) const {
  if (const std::string of = found.state().value("stage", stage_.name); of != stage_.name)
    throw ConfigError(fmt::format("{}: {} is a checkpoint of {}, another training; move it back, or train this one with {}",
                                  stage_.name, found.folder().string(), of, options_.names.anew()));
  if (!found.state().contains("made_from")) return;
  const auto& before = found.state()["made_from"];
  for (const auto& [name, checksum] : stage_.made_from)
    if (before.contains(name) && before[name] != checksum)
      throw ConfigError(
          fmt::format("{}: {} was made from another {} ({}, now {}); train it again with {}",
                      stage_.name, found.folder().string(), name, before[name].get<std::string>(), checksum, options_.names.anew()));
}

void LoopCheckpoints::load(const Checkpoint& found) {
  check_made_from(found);
  restore(stage_.model, found.part("model"), "model", options_.names);
  if (!stage_.ema.empty()) restore(stage_.ema, found.part("ema"), "ema", options_.names);
  if (!stage_.state.empty() && !found.has("state"))
    throw ConfigError(fmt::format("{}: {} has no state of this training ({} ...): another objective made it; use {}",
                                  stage_.name, found.folder().string(), stage_.state.front().first, options_.names.anew()));
  if (!stage_.state.empty()) restore(stage_.state, found.part("state"), "state", options_.names);
  optimizer_.load_state(found.part("optimizer"));
  for (const auto& [name, optimizer] : stage_.optimizers) optimizer->load_state(found.part(name));
  watch_ = found.state().contains("watch") ? found.state()["watch"] : nlohmann::ordered_json();
  if (const std::int64_t best = best_step(watch_); best >= 0 && !std::filesystem::exists(checkpoints_.path(best))) watch_.erase("best");   // another one can take its place
  earlier_sources_ = found.state().value("made_from", nlohmann::ordered_json::object());
}

// Sets the link `best` again. A process can be killed after it has saved a state and before it sets the link, and later checkpoints may have moved aside.
void LoopCheckpoints::point_best() {
  if (const std::int64_t best = best_step(watch_); best >= 0) checkpoints_.keep_best(best);
}

void LoopCheckpoints::resume_from(const Checkpoint& found) {
  const bool damaged = options_.resume == "auto";           // else the user chose an earlier checkpoint, and later ones may be intact
  for (const auto& path : checkpoints_.move_aside_after(found.step(), damaged ? "damaged" : "superseded"))
    observer_.warning(fmt::format("{}: {}: {} is kept", stage_.name,
                                  damaged ? "a later checkpoint is damaged" : fmt::format("this run resumes from step {}", found.step()), path.string()));
  if (const std::int64_t newest = newest_step(checkpoints_.folder()); newest >= 0) checkpoints_.point_latest(newest);
  point_best();
  const auto stored = found.state().find("seed");
  if (stored != found.state().end() && *stored != seed_)
    observer_.warning(stage_.name + ": the run began with another seed, or with an older build; it continues with the random numbers of the present seed and build");
  if (found.step() < loop_.steps)
    observer_.message(fmt::format("{}: resuming from {} (step {})", stage_.name, found.folder().string(), found.step()));
}

// Returns the folder of the checkpoint that rewind() loads; empty if there is none.
std::string LoopCheckpoints::last_calm(std::int64_t before, std::int64_t tried) const {
  std::string second_choice;
  for (const std::int64_t step : checkpoints_.newest_first()) {
    if (step >= before) continue;
    const Checkpoint found(checkpoints_.path(step));
    if (found.state().contains("watch") && !found.state()["watch"].value("calm", true)) continue;
    if (step != tried) return found.folder().string();
    second_choice = found.folder().string();
  }
  return second_choice;
}

std::int64_t LoopCheckpoints::rewind(std::int64_t before, std::int64_t tried) {
  const std::string chosen = alone() ? last_calm(before, tried) : gather_texts(ranks_, ranks_.first() ? last_calm(before, tried) : "").front();
  if (chosen.empty()) return -1;
  const Checkpoint found(chosen);
  load(found);
  note_loaded(found);
  if (ranks_.first()) {
    for (const auto& path : checkpoints_.move_aside_after(found.step(), "exploded"))
      observer_.warning(fmt::format("{}: a checkpoint of the explosion is kept as {}", stage_.name, path.string()));
    point_best();
  }
  ranks_.barrier();
  return found.step();
}

void LoopCheckpoints::save(std::int64_t step, double loss, const nlohmann::ordered_json& watch, bool best) {
  std::vector<CheckpointPart> parts{{"model", stage_.model}, {"optimizer", optimizer_.state()}};
  if (!stage_.ema.empty()) parts.push_back({"ema", stage_.ema});
  if (!stage_.state.empty()) parts.push_back({"state", stage_.state});
  for (const auto& [name, optimizer] : stage_.optimizers) parts.push_back({name, optimizer->state()});
  nlohmann::ordered_json state;
  state["stage"] = stage_.name;
  state["seed"] = seed_;
  state["loss"] = loss;
  state["watch"] = watch;
  state["config"] = fields_to_json(options_.fields_of(stage_));
  if (!earlier_sources_.empty()) state["made_from"] = earlier_sources_;      // a setting that is left out once is compared again later
  for (const auto& [name, checksum] : stage_.made_from) state["made_from"][name] = checksum;
  save_from_owners(ranks_, checkpoints_, step, std::move(parts), state, [&](const std::string& part, const std::string& name) {
    return part == "optimizer" || part == "ema" ? optimizer_.owner_of(name) : -1;
  });
  if (best && ranks_.first()) checkpoints_.keep_best(step);
  known_ = Known{checkpoints_.path(step), step, loss};
}

std::string LoopCheckpoints::way_back() const {
  const std::string anew = "begin anew with " + (options_.names.fresh.empty() ? options_.names.anew() : options_.names.fresh);
  if (!known_) return anew;
  const auto steps = checkpoints_.newest_first();
  const auto before = std::find_if(steps.begin(), steps.end(), [&](std::int64_t step) { return step < known_->step; });
  if (before == steps.end()) return anew;
  return fmt::format("resume from the one before it with {} {}, or {}", options_.names.resume, checkpoints_.path(*before).string(), anew);
}

std::string LoopCheckpoints::advice_after_divergence() const {
  if (!known_) return "there is no checkpoint yet: lower rate.peak (or set adamw.clip, or another seed) and start again";
  const std::string loss = known_->loss ? fmt::format(", loss {:.4g}", *known_->loss) : "";
  return fmt::format("the last checkpoint is intact: {} (step {}{}). Lower rate.peak (or set adamw.clip, or another seed) and start again. {}: {}",
                     known_->path.string(), known_->step, loss,
                     known_->loaded ? "This run resumed from it and saved no later one, so it may already contain the explosion. In this case"
                                    : "If its loss is too high already",
                     way_back());
}

}  // namespace fm
