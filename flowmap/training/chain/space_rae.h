// RAE as the latent space of a run: its encoder and decoder are stages of the run, or given.
#pragma once

#include "flowmap/training/chain/spaces.h"
#include "flowmap/training/chain/training_run.h"
#include "nn/models/rae.h"

namespace fm {

class RaeOfRun : public RunSpace {
 public:
  explicit RaeOfRun(TrainingRun& run) : run_(run) {}
  LatentCoder coder() override;
  void check_given() override;

  // With the trained encoder, and the trained decoder if there is one. FileError without an encoder.
  std::shared_ptr<Rae> model();
  void keep_decoder() { has_decoder_ = true; }               // that of model() is being trained: none is loaded over it

 private:
  TrainingRun& run_;
  std::shared_ptr<Rae> rae_;
  bool has_decoder_ = false;                                 // that of model() is the trained one
};

RaeOfRun& rae_of(TrainingRun& run);                          // ConfigError where the run's space is another

}  // namespace fm
