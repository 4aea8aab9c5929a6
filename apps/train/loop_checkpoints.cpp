#include "apps/train/loop_checkpoints.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "apps/support/ranks.h"
#include "apps/train/parallel.h"
#include "nn/config/json.h"

namespace fm {
namespace {

// Copies by name; FileError when something is missing or of another shape.
void restore(const NamedTensors& into, const NamedTensors& from, const std::string& part) {
  std::map<std::string, Tensor> stored(from.begin(), from.end());
  for (const auto& [name, tensor] : into) {
    const auto it = stored.find(name);
    if (it == stored.end() || it->second.shape() != tensor.shape())
      throw FileError(
          part + ": " + name +
          (it == stored.end() ? " is missing" : " has shape " + to_string(it->second.shape()) + ", not " + to_string(tensor.shape())) +
          "; the run was made with another config (use --fresh or another --out)");
    tensor.copy_from(it->second);
  }
}

}  // namespace

LoopCheckpoints::LoopCheckpoints(Stage& stage, const LoopConfig& loop, std::uint64_t seed, AdamW& optimizer, Context& context)
    : stage_(stage),
      loop_(loop),
      seed_(seed),
      optimizer_(optimizer),
      context_(context),
      ranks_(*context.ranks),
      checkpoints_(std::filesystem::path(context.launch.out) / stage.name / "checkpoints", loop.keep, loop.keep_every) {
  checkpoints_.set_warning([&log = context.log](const std::string& line) { log.warning("{}", line); });
}

std::int64_t LoopCheckpoints::resume() {
  const std::string chosen = alone() ? choose() : gather_texts(ranks_, ranks_.first() ? choose() : "").front();
  std::int64_t step = 0;
  if (!chosen.empty()) {
    const Checkpoint found(chosen);
    load(found);
    step = found.step();
    note_loaded(found);
    if (ranks_.first()) go_on_from(found);
  }
  tell_remedy();
  return step;
}

void LoopCheckpoints::note_loaded(const Checkpoint& found) {
  known_ = Known{found.folder(), found.step(), std::nullopt, true};
  if (found.state().contains("loss") && found.state()["loss"].is_number()) known_->loss = found.state()["loss"].get<double>();
}

// The folder of the checkpoint to go on from; empty: none.
std::string LoopCheckpoints::choose() {
  if (context_.launch.resume == "never") {
    if (!checkpoints_.newest_first().empty())
      throw ConfigError(fmt::format("--resume never: {} holds checkpoints; --fresh moves them aside", checkpoints_.folder().string()));
    return "";
  }
  const auto warn = [&](const std::string& line) { context_.log.warning("{}", line); };
  const std::string& wanted = context_.launch.resume;
  const auto found = wanted == "auto" ? open_newest(checkpoints_, warn) : open_checkpoint(wanted, warn);
  if (!found && wanted != "auto")
    throw FileError(fmt::format("--resume {}: no checkpoint there; those of this stage are in {}", wanted, checkpoints_.folder().string()));
  return found ? found->folder().string() : "";
}

void LoopCheckpoints::check_made_from(const Checkpoint& found) const {
  if (!found.state().contains("made_from")) return;
  const auto& before = found.state()["made_from"];
  for (const auto& [name, checksum] : stage_.made_from)
    if (before.contains(name) && before[name] != checksum)
      throw ConfigError(
          fmt::format("{}: {} was made from another {} (checksum {}, now {}); train it again with --fresh, or use another --out",
                      stage_.name, found.folder().string(), name, before[name].get<std::string>(), checksum));
}

void LoopCheckpoints::load(const Checkpoint& found) {
  check_made_from(found);
  restore(stage_.model, found.part("model"), "model");
  if (!stage_.ema.empty()) restore(stage_.ema, found.part("ema"), "ema");
  if (!stage_.state.empty()) restore(stage_.state, found.part("state"), "state");
  optimizer_.load_state(found.part("optimizer"));
  watch_ = found.state().contains("watch") ? found.state()["watch"] : nlohmann::ordered_json();
}

void LoopCheckpoints::go_on_from(const Checkpoint& found) {
  const bool damaged = context_.launch.resume == "auto";           // else the user chose: nothing is known of later ones
  for (const auto& path : checkpoints_.move_aside_after(found.step(), damaged ? "damaged" : "superseded"))
    context_.log.warning("{}: {}: {} is kept", stage_.name, damaged ? "what is left of a later checkpoint" : fmt::format("this run goes on from step {}", found.step()), path.string());
  if (const std::int64_t newest = newest_step(checkpoints_.folder()); newest >= 0) checkpoints_.point_latest(newest);
  const auto stored = found.state().find("seed");
  if (stored != found.state().end() && *stored != seed_)
    context_.log.warning("{}: the run was begun with other random numbers (another seed or an older build); it goes on with this one's",
                         stage_.name);
  if (found.step() < loop_.steps) context_.log.info("{}: going on from {} (step {})", stage_.name, found.folder().string(), found.step());
}

// The folder; empty: none.
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
  if (ranks_.first())
    for (const auto& path : checkpoints_.move_aside_after(found.step(), "exploded"))
      context_.log.warning("{}: a checkpoint of the explosion is kept as {}", stage_.name, path.string());
  ranks_.barrier();
  return found.step();
}

void LoopCheckpoints::save(std::int64_t step, double loss, const nlohmann::ordered_json& watch, bool best) {
  std::vector<CheckpointPart> parts{{"model", stage_.model}, {"optimizer", optimizer_.state()}};
  if (!stage_.ema.empty()) parts.push_back({"ema", stage_.ema});
  if (!stage_.state.empty()) parts.push_back({"state", stage_.state});
  nlohmann::ordered_json state;
  state["stage"] = stage_.name;
  state["seed"] = seed_;
  state["loss"] = loss;
  state["watch"] = watch;
  state["config"] = fields_to_json(fields_of(stage_, context_));
  for (const auto& [name, checksum] : stage_.made_from) state["made_from"][name] = checksum;
  save_from_owners(ranks_, checkpoints_, step, std::move(parts), state, [&](const std::string& part, const std::string& name) {
    return part == "optimizer" || part == "ema" ? optimizer_.owner_of(name) : -1;
  });
  if (best && ranks_.first()) checkpoints_.keep_best(step);
  known_ = Known{checkpoints_.path(step), step, loss};
}

std::string LoopCheckpoints::advice_after_divergence() const {
  if (!known_) return "there is no checkpoint yet: lower rate.peak (or set adamw.clip, or another seed) and start again";
  const std::string loss = known_->loss ? fmt::format(", loss {:.4g}", *known_->loss) : "";
  const auto steps = checkpoints_.newest_first();
  const auto before = std::find_if(steps.begin(), steps.end(), [&](std::int64_t step) { return step < known_->step; });
  const std::string back = before == steps.end() ? "begin anew with --fresh"
                                                 : fmt::format("go on from the one before it with --resume {}, or begin anew with --fresh", checkpoints_.path(*before).string());
  return fmt::format("the last checkpoint is intact: {} (step {}{}). Lower rate.peak (or set adamw.clip, or another seed) and start again. {}: {}",
                     known_->path.string(), known_->step, loss,
                     known_->loaded ? "This run went on from it and got no further: it may be from after the leap. Then" : "If its loss is too high already", back);
}

// What to do when a rank is lost. Looked up then: the first rank may have written a checkpoint of which this one has not heard.
void LoopCheckpoints::tell_remedy() const {
  if (alone()) return;
  context_.ranks.set_remedy([folder = checkpoints_, stage = stage_.name] {
    const auto steps = folder.newest_first();
    return steps.empty() ? fmt::format("; {} has no checkpoint yet: start the same command again", stage)
                         : fmt::format("; the last checkpoint is {}: start the same command again, on any number of ranks, to go on from it",
                                       folder.path(steps[0]).string());
  });
}

}  // namespace fm
