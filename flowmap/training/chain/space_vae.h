// A variational autoencoder as the latent space of a run. The stage vae trains it, or the recipe names its file.
#pragma once

#include "flowmap/training/chain/space_rae.h"
#include "nn/models/autoencoder_kl.h"

namespace fm {

class VaeOfRun : public RunSpace {
 public:
  explicit VaeOfRun(TrainingRun& run) : run_(run), features_(run) {}
  LatentCoder coder() override;
  void check_given() override;
  LatentStats given_statistics() override;

  std::shared_ptr<AutoencoderKL> model();                    // trained. FileError if it is missing
  std::shared_ptr<AutoencoderKL> untrained(std::uint64_t seed);   // a new one, which model() is from now on
  std::shared_ptr<const Rae> features() { return features_.with_encoder(); }   // its encoder gives the tokens of the feature loss

 private:
  Weights weights();

  TrainingRun& run_;
  RaeOfRun features_;
  std::shared_ptr<AutoencoderKL> vae_;
};

VaeOfRun& vae_of(TrainingRun& run);                          // ConfigError if the run has another latent space

}  // namespace fm
