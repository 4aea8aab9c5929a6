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

  // With the trained encoder, and the trained decoder if it exists. FileError without an encoder.
  std::shared_ptr<Rae> model();
  void keep_decoder() { has_decoder_ = true; }               // the decoder of model() is in training: do not load another over it

 private:
  TrainingRun& run_;
  std::shared_ptr<Rae> rae_;
  bool has_decoder_ = false;                                 // the decoder of model() is the trained one
};

RaeOfRun& rae_of(TrainingRun& run);                          // ConfigError where the run's space is another

}  // namespace fm
