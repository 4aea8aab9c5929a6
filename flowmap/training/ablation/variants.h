// The variants that ablate compares: trainings of the flow map that differ in the varied choice and share everything else.
//
//   derivative   MFD from one CMT checkpoint, with the exact JVP and with finite differences of several step sizes, in one or more precisions
//   init         MFD from random weights, from the teacher, and from CMT
//   scheme       MFT, MFD, and MFD then MFT, with the same total number of steps
//   lambda       MFD with w = (1-l) (eps - z0) + l v_phi for several l, with the run's teacher and with a briefly trained one (lambda.h)
//   objective    the map stage with each objective of a list and all other settings of [map]
//   latents      MFD and MFT with and without guidance in two latent spaces, from the images on (latents.h)
//   none         the recipe's own MFD, for comparisons by --vary alone
//
// --vary KEY=a,b,c multiplies the list: each variant above is trained with each value.
#pragma once

#include <optional>

#include "flowmap/training/chain/training_run.h"

namespace fm {

struct AblateConfig {
  Recipe recipe;
  std::string what, against, seeds, equal = "steps", objectives = "all", lambda_start = stage_name::cmt;
  std::int64_t steps = 0;
  std::vector<std::string> vary;
  std::vector<double> deltas{1e-1, 1e-2, 5e-3, 1e-3, 1e-4};
  std::vector<double> lambdas{0, 0.25, 0.5, 0.75, 1};
  double poor_share = 0.05;
  std::vector<std::string> precisions{"f32"};
  bool untrained = false;
  std::int64_t timing_rounds = 9, jobs = 1, trial = -1;

  template <class V> void visit(V&& v) {
    v("what", what, "subject of the comparison; none: only the values of --vary; empty: none if --vary is given, else derivative",
      one_of({"", "derivative", "init", "scheme", "lambda", "objective", "latents", "none"}), flag("what"), basic());
    v("against", against, "recipe of the other side of --what latents, which has another latent space", flag("against"), value_as("CONFIG"));
    v("objectives", objectives, "objectives that --what objective compares, comma-separated; all: every objective that this run can train",
      flag("objectives"), basic());
    v("steps", steps,
      "optimizer steps of the first variant; the schedule of its learning rate is stretched to them. 0: mfd.loop.steps, or for --what objective "
      "map.loop.steps or, if that is 0, the end of map.loop.rate's decay", range(0, 4e9), flag("steps"), basic());
    v("vary", vary,
      "setting to vary and its values, KEY=a,b,c; if the option is repeated, all combinations are compared. KEY is a setting of mfd (of map for "
      "--what objective), guidance, or the precision of the network (dit.precision)", repeated(), flag("vary"), basic());
    v("seeds", seeds, "seeds of the trainings: a list such as 1,2,3, or one number n for n consecutive seeds from --seed on; empty: --seed alone",
      flag("seeds"), basic());
    v("equal", equal, "resource that is equal for all variants: each variant gets the number of steps that uses as much of it as the first variant",
      one_of({"steps", "time", "evaluations"}), flag("equal"), basic());
    v("deltas", deltas, "time steps of the finite differences to compare", above(0), flag("deltas"));
    v("precisions", precisions, "number formats of the student's blocks in training, for --what derivative", one_of({"f32", "bf16"}),
      flag("precisions"));
    v("lambdas", lambdas, "shares l of the teacher in the velocity (1-l) one-point + l teacher, for --what lambda", range(0, 1), flag("lambdas"));
    v("poor_share", poor_share, "steps of the second, briefly trained teacher of --what lambda, as a share of fm.loop.steps", range(1e-6, 1), flag("poor-share"));
    v("lambda_start", lambda_start,
      "initial weights of all trainings of --what lambda: cmt, the averaged weights of the run's stage cmt; random, random weights",
      one_of({"random", stage_name::cmt}), flag("lambda-start"));
    v("untrained", untrained, "measurement of costs and errors only, with random weights and random latents, without a run; for --what derivative and objective",
      flag("untrained"));
    v("timing_rounds", timing_rounds, "number of rounds of timing, in which the variants take turns; the reported time is the median of the rounds", range(1, 10000));
    v("jobs", jobs, "number of trainings that run at the same time, each in its own process; useful if networks are so small that a second thread does not speed up a step",
      range(1, 1024), flag("jobs"), basic());
    v("trial", trial, "number of the only training to run, counted from 0, seed by seed (--jobs starts its processes with this option); -1: all trainings",
      range(-1, 1e6), flag("trial"));
    recipe.visit(v);
  }
};

struct Variant {
  std::string name;                      // "jvp", "fd-0.01", "mfd guidance=2"
  std::string start;                     // the stage whose averaged weights it begins with, or "random"
  Recipe recipe;                         // resolved; the training is recipe.mfd or recipe.map (the first part, if there are two)
  std::optional<MfStage> then = {};      // the second part, if the training has two: its settings of mfd
  std::string teacher = {};              // for --what lambda: "good" (the run's teacher), "poor" (the briefly trained one), or empty if w has no teacher
  const char* part = stage_name::mfd;    // the stage that is trained: the name of its section in the recipe

  const StageSpec& stage() const { return stage_named(part); }
  std::int64_t steps() const { return stage().steps(recipe) + (then ? then->loop.steps : 0); }
  std::vector<Recipe> parts() const;     // the recipe of each part of the training
};

// "derivative", "init", "scheme", "lambda", "objective", "latents" or "none".
std::string comparison(const AblateConfig& config);

// For --what objective: the objectives that this run can train, and those of `all` that it cannot.
struct ObjectiveChoice {
  std::vector<std::string> names;        // in the order of the list of objectives, or as requested
  std::vector<std::pair<std::string, std::string>> left_out;       // name, and why
};

// The recipe must be resolved. `has_teacher`: whether the run has a teacher; `joint`: and it is a REG, which some objectives cannot use. ConfigError if a name is unknown, is given twice, or names an objective that
// this run cannot train, and if neither --steps nor the recipe gives a number of steps.
ObjectiveChoice chosen_objectives(const AblateConfig& config, bool has_teacher, bool joint = false);

// The recipe must be resolved. `objectives`: the names to compare with --what objective. ConfigError if --vary has an unknown key, a key that training
// from the run's checkpoints does not read, or a bad value.
std::vector<Variant> variants(const AblateConfig& config, const std::vector<std::string>& objectives = {});

// The seeds of the trainings, from config.seeds: a list "1,2,3", or "3" for three consecutive seeds from the recipe's seed on. ConfigError for other texts.
std::vector<std::int64_t> seeds(const AblateConfig& config);

// Sets the total number of steps, at least 1 for each part. Schedules of the learning rate are stretched with it: the beginning of a longer schedule would
// end at another learning rate.
void set_steps(Variant& variant, std::int64_t steps);
// Sets the number of steps and stretches the schedule of the learning rate to it.
void stretch(LoopConfig& loop, std::int64_t steps);

std::string describe(const Variant& v);  // one line: name, start, steps, velocity, derivative or cost
// Describes the sampler of the variant's flow map, such as "adds noise between calls"; "" if it samples by jumps.
std::string sampler_text(const Variant& v);
// "published settings" if the objective's preset sets any, else "".
std::string preset_text(const Variant& v);

}  // namespace fm
