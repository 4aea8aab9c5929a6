// RAE as the latent space of a run. Stages of the run train its encoder and decoder, or the recipe names their files.
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

  // Returns the RAE with the trained encoder, and with the trained decoder if that exists. FileError if the encoder is missing.
  std::shared_ptr<Rae> model();
  std::shared_ptr<Rae> with_encoder();                       // the same, whose decoder may be untrained
  void keep_decoder() { has_decoder_ = true; }               // the decoder of model() is in training: do not load another over it

 private:
  TrainingRun& run_;
  std::shared_ptr<Rae> rae_;
  bool has_decoder_ = false;                                 // the decoder of model() is the trained one
};

RaeOfRun& rae_of(TrainingRun& run);                          // ConfigError if the run has another latent space

}  // namespace fm
