// The variants that ablate compares: trainings of the flow map that differ in the varied choice and share everything else.
//
//   derivative   from one CMT checkpoint, MFD with the exact JVP and with finite differences of several steps, in one precision or several
//   init         MFD from random weights, from the teacher, and from CMT
//   scheme       MFT, MFD, and MFD then MFT, with equal numbers of steps in all
//   lambda       MFD by w = (1-l) (eps - z0) + l v_phi for several l, by the run's teacher and by a poor one (lambda.h)
//   objective    the map stage by each objective of a list, with all other settings from [map]
//   none         the recipe's own MFD: for --vary alone
//
// --vary KEY=a,b,c multiplies the list: each variant above with each value.
#pragma once

#include <optional>

#include "flowmap/training/chain/training_run.h"

namespace fm {

struct AblateConfig {
  Recipe recipe;
  std::string what, seeds, equal = "steps", objectives = "all", lambda_start = stage_name::cmt;
  std::int64_t steps = 0;
  std::vector<std::string> vary;
  std::vector<double> deltas{1e-1, 1e-2, 5e-3, 1e-3, 1e-4};
  std::vector<double> lambdas{0, 0.25, 0.5, 0.75, 1};
  double poor_share = 0.05;
  std::vector<std::string> precisions{"f32"};
  bool untrained = false;
  std::int64_t timing_rounds = 9, jobs = 1, trial = -1;

  template <class V> void visit(V&& v) {
    v("what", what, "subject of the comparison; empty: derivative, or none where --vary is given",
      one_of({"", "derivative", "init", "scheme", "lambda", "objective", "none"}), flag("what"), basic());
    v("objectives", objectives, "objectives to compare with --what objective, a,b,c; all: each whose teacher or other needs this run meets",
      flag("objectives"), basic());
    v("steps", steps,
      "optimizer steps of the first variant, its learning rate's schedule stretched to them; 0: mfd.loop.steps, and of --what objective "
      "map.loop.steps or, where those are 0, the end of map.loop.rate's decay", range(0, 4e9), flag("steps"), basic());
    v("vary", vary,
      "setting to vary and its values, KEY=a,b,c; given several times: the product of all. KEY is of mfd (of map for --what objective), or "
      "guidance or dit.precision (that of the network)", repeated(), flag("vary"), basic());
    v("seeds", seeds, "seeds of the trainings: a list such as 1,2,3, or a number of seeds from --seed on; empty: --seed alone",
      flag("seeds"), basic());
    v("equal", equal, "resource that all variants get equally much of; their steps follow from those of the first",
      one_of({"steps", "time", "evaluations"}), flag("equal"), basic());
    v("deltas", deltas, "time steps of the finite differences to compare", above(0), flag("deltas"));
    v("precisions", precisions, "number formats of the student's blocks in training, for --what derivative", one_of({"f32", "bf16"}),
      flag("precisions"));
    v("lambdas", lambdas, "shares of the teacher in the velocity, for --what lambda", range(0, 1), flag("lambdas"));
    v("poor_share", poor_share, "steps of --what lambda's poor teacher, as a share of fm.loop.steps", range(1e-6, 1), flag("poor-share"));
    v("lambda_start", lambda_start,
      "initial weights of the trainings of --what lambda, the same for both teachers: the averaged ones of the run's cmt, or random ones",
      one_of({"random", stage_name::cmt}), flag("lambda-start"));
    v("untrained", untrained, "measurement with random weights and random latents, without a run; for --what derivative and objective",
      flag("untrained"));
    v("timing_rounds", timing_rounds, "alternating rounds of timing, of which the median counts", range(1, 10000));
    v("jobs", jobs, "trainings at a time, each in its own process; for networks so small that a second thread does not speed up a step",
      range(1, 1024), flag("jobs"), basic());
    v("trial", trial, "number of the one training to run, from 0 on, seed by seed (--jobs starts its processes with it); -1: all",
      range(-1, 1e6), flag("trial"));
    recipe.visit(v);
  }
};

struct Variant {
  std::string name;                      // "jvp", "fd-0.01", "mfd guidance=2"
  std::string start;                     // the stage whose averaged weights it begins with, or "random"
  Recipe recipe;                         // resolved; the training is recipe.mfd or recipe.map (the first part, if there are two)
  std::optional<MfStage> then = {};      // the second part, of mfd
  std::string teacher = {};              // for --what lambda: "good" (the run's), "poor", or empty for rows without a teacher
  const char* part = stage_name::mfd;    // the stage that is trained, by its section of the recipe

  const StageSpec& stage() const { return stage_named(part); }
  std::int64_t steps() const { return stage().steps(recipe) + (then ? then->loop.steps : 0); }
  std::vector<Recipe> parts() const;     // the recipe of each part of the training
};

// "derivative", "init", "scheme", "lambda", "objective" or "none".
std::string comparison(const AblateConfig& config);

// For --what objective: the objectives that this run can train, and those of `all` that it cannot.
struct ObjectiveChoice {
  std::vector<std::string> names;        // in the order of the list, or as requested
  std::vector<std::pair<std::string, std::string>> left_out;       // name, and why
};

// The recipe must be resolved. `has_teacher`: whether the run has one. ConfigError: a name that is not in the list, is there twice, or that this run
// cannot train; a comparison without steps.
ObjectiveChoice chosen_objectives(const AblateConfig& config, bool has_teacher);

// The recipe must be resolved. `objectives`: for --what objective. ConfigError: --vary with an unknown key, a key that training from the run's checkpoints
// does not read, or a bad value.
std::vector<Variant> variants(const AblateConfig& config, const std::vector<std::string>& objectives = {});

// "1,2,3", or "3" for three from the recipe's seed on. ConfigError.
std::vector<std::int64_t> seeds(const AblateConfig& config);

// `steps` in all, at least 1 a part. Schedules are stretched with it: a part of a long one would end at another learning rate.
void set_steps(Variant& variant, std::int64_t steps);
// The schedule of the learning rate to `steps`.
void stretch(LoopConfig& loop, std::int64_t steps);

std::string describe(const Variant& v);  // one line: name, start, steps, velocity, derivative or cost
// How samples of the variant's flow map differ from jumps: "adds noise between calls"; empty: they are jumps.
std::string sampler_text(const Variant& v);
// "published settings" where the preset filled some in; else empty.
std::string preset_text(const Variant& v);

}  // namespace fm
