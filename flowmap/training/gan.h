// The discriminator of a decoder's training, with its own optimizer (RAE, Zheng et al. 2025; sources: mfrae.md 3.2 to 3.5).
//
// A step of the decoder's loop updates the decoder first, with the discriminator's spectral vectors as they are. Stage::after_step then updates the discriminator
// on the same images and on new reconstructions of the updated decoder. So both updates of a step lie between two checkpoints, and a resumed training repeats
// neither. Heads, spectral vectors and optimizer are parts of the stage's checkpoints.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "flowmap/draws.h"
#include "flowmap/training/diff_augment.h"
#include "nn/models/dino_discriminator.h"
#include "nn/optim/gradient_buckets.h"
#include "nn/optim/schedule.h"
#include "nn/training/stage.h"
#include "tensor/collectives/communicator.h"
#include "tensor/late.h"

namespace fm {

struct GanConfig {
  double weight = 0;
  std::string loss = "hinge", backbone_weights;
  std::int64_t discriminator_from = 0, generator_from = 0;
  double augment = 1, discriminator_rate = 2e-4, discriminator_beta1 = 0.9, discriminator_beta2 = 0.95;
  template <class V> void visit(V&& v) {
    v("weight", weight, "weight of the adversarial term, which the ratio of gradient norms at the decoder's last layer multiplies; 0: no discriminator", at_least(0));
    v("loss", loss, "adversarial loss of decoder and discriminator", one_of({"hinge", "vanilla"}));
    v("discriminator_from", discriminator_from, "first step that trains the discriminator", range(0, 4e9), unit("steps"));
    v("generator_from", generator_from, "first step with the adversarial term in the decoder's loss", range(0, 4e9), unit("steps"));
    v("augment", augment, "probability that a step moves its images before the discriminator, and that it changes their colors; 0: no augmentation", range(0, 1));
    v("backbone_weights", backbone_weights,
      "file of DINO's ViT-S/8 (dino_vit_small_patch8_224.pth), whose features the discriminator reads, for color images; empty: the features of this run's encoder",
      value_as("FILE"));
    v("discriminator_rate", discriminator_rate,
      "peak of the discriminator's learning rate; its curve is that of the decoder, with steps counted from discriminator_from", at_least(0));
    v("discriminator_beta1", discriminator_beta1, "decay of the first moment in the discriminator's AdamW, which has no weight decay and no clipping", range(0, 1));
    v("discriminator_beta2", discriminator_beta2, "decay of the second moment in the discriminator's AdamW", range(0, 1));
  }
};

// The discriminator's learning rate at a step of the decoder's loop: the decoder's curve, scaled to the peak discriminator_rate, from its first update on.
double discriminator_rate(const GanConfig& config, const LearningRate& decoder, std::int64_t step);

class GanTraining {
 public:
  struct Setup {
    GanConfig config;
    LearningRate decoder_rate;
    std::int64_t batch = 0;                      // rows of a step, on all ranks together
    TokenMaps backbone;                          // frozen
    Shape image;                                 // (C, H, W)
    std::uint64_t seed = 0;
  };
  // `ranks` must outlive this object. ConfigError if the backbone has fewer than 4 tokens, or if generator_from is before discriminator_from.
  GanTraining(Setup setup, Communicator& ranks);

  // Adds heads, optimizer, update and metrics to the stage, which must not outlive this object. `reconstruct`: decodes kept rows without noise, to [0, 1].
  struct Rows {
    Tensor images, latents;                      // images in [0, 1]
    StepPart part;
  };
  void add_to(Stage& stage, std::function<Tensor(const Rows&)> reconstruct);

  bool has_term(std::int64_t step) const { return step >= setup_.config.generator_from; }
  // L_G of reconstructions in [0, 1], (B, C, H, W).
  Var term(const Var& reconstructions, const StepPart& part) const;
  // Keeps the rows of a part for the discriminator's update after the step, if the step has one.
  void keep(Rows rows);

  const DinoDiscriminator& discriminator() const { return discriminator_; }

 private:
  void update(std::int64_t step);
  void check_last_norm();
  void add_gradients(Augmented kind, Gradients& total);
  std::vector<Var> maps(const Tensor& images, Augmented kind, const StepPart& part) const;
  Augmentations changes(Augmented kind, const StepPart& part) const;

  Setup setup_;
  Communicator& ranks_;
  std::vector<std::int64_t> shape_;              // width and number of maps
  DinoDiscriminator discriminator_;
  AdamW optimizer_;
  std::unique_ptr<GradientBuckets> buckets_;     // null with one rank
  std::function<Tensor(const Rows&)> reconstruct_;
  std::vector<Rows> kept_;
  std::vector<StepMetric> metrics_;              // of the last update
  std::optional<Arriving> norm_;                 // of the gradients of the last update, on its way from a GPU
};

}  // namespace fm
