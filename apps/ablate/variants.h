// What ablate compares: trainings of the flow map that differ in one choice and share everything else.
//
//   derivative   from one CMT checkpoint, MFD with the exact JVP and with finite differences of several steps, in one precision or several
//   init         MFD from random weights, from the teacher, and from CMT
//   scheme       MFT, MFD, and MFD then MFT, with equal numbers of steps in all
#pragma once

#include <optional>

#include "apps/train/training_run.h"

namespace fm {

struct AblateConfig {
  Recipe recipe;
  std::string what = "derivative";
  std::vector<double> deltas{1e-1, 1e-2, 5e-3, 1e-3, 1e-4};
  std::vector<std::string> precisions{"f32"};
  bool untrained = false;
  std::int64_t timing_rounds = 9;

  template <class V> void visit(V&& v) {
    v("what", what, "what is varied", one_of({"derivative", "init", "scheme"}), flag("what"));
    v("deltas", deltas, "steps of the finite differences", above(0), flag("deltas"));
    v("precisions", precisions, "of derivative: what the student's blocks compute in while it trains", one_of({"f32", "bf16"}), flag("precisions"));
    v("untrained", untrained, "of derivative: only measure steps, of networks with random weights of the recipe's sizes on random latents",
      flag("untrained"));
    v("timing_rounds", timing_rounds, "alternating rounds of the timing; the median counts", at_least(1));
    recipe.visit(v);
  }
};

struct Variant {
  std::string name;
  std::string stage;                     // its folder in the run: "ablate/derivative/jvp"
  std::string start;                     // the stage whose averaged weights it begins with, or "random"
  MfStage config;
  std::string precision = "f32";
  std::optional<MfStage> then = {};      // what goes on from there, if anything
};

std::vector<Variant> variants(const AblateConfig& config);   // the recipe must be resolved

std::string describe(const Variant& v);  // one line: name, start, steps, velocity, derivative

Outcome train(TrainingRun& run, const Variant& v);   // from its newest checkpoint if there is one

}  // namespace fm
