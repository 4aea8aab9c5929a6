// Samples from published files alone, without a run's folder: a DiT^DH, the decoder and the statistics of its latents; or a SiT, REPA, REG or MeanFlow
// and the AutoencoderKL that decodes its latents. Sizes come from the tensors. A model with two times is a flow map; one with one time is a teacher, sampled
// by an ODE solver, optionally guided.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "flowmap/training/generator.h"
#include "flowmap/velocity.h"
#include "nn/checkpoint.h"
#include "nn/models/dit.h"

namespace fm {

struct PublishedConfig {
  std::string dit, decoder, stats, weak, pixels = "imagenet", precision = "f32", vae, origin = "auto";
  std::int64_t decoder_heads = 0, latent_size = 32, tile = 0;
  double latent_scale = 0;
  template <class V> void visit(V&& v) {
    v("dit", dit,
      "weights of a DiT^DH, or of a SiT, REPA, REG or MeanFlow (flow map or teacher), to sample from without a run: .safetensors, an index of shards, .pt, .npz, or a "
      "checkpoint of a DiT^DH",
      flag("dit"), basic(), value_as("PATH"));
    v("decoder", decoder, "weights of the RAE decoder for the latents of a DiT^DH", flag("decoder"), basic(), value_as("PATH"));
    v("vae", vae, "weights of the AutoencoderKL (SD-VAE) for the latents of a SiT, REPA, REG or MeanFlow", flag("vae"), basic(), value_as("PATH"));
    v("latent_scale", latent_scale,
      "factor of the latents of --vae: samples are divided by it, with --stats after the statistics are applied; 0: 1 if --stats is given, else from config.json "
      "beside the file, else 0.18215", flag("latent-scale"), at_least(0));
    v("origin", origin,
      "code that wrote the file --dit, if its tensors leave it open: sit (time 1 is data), repa (time 0 is data; also REG), mean_flow; auto: decided by the tensors", flag("origin"),
      ChoiceRule{dit_origins()});
    v("tile", tile, "side of the tiles, in positions of the latent, that --vae decodes one by one, so that large images take less memory; colors can differ slightly; 0: all at once",
      range(0, 65536), flag("tile"));
    v("latent_size", latent_size, "side of the latents of a Flax file, which does not contain it", flag("latent-size"), range(1, 4096));
    v("stats", stats, "variance and mean of the latents (stat.pt), with --vae in place of its scale; the word none, for a DiT^DH: it was trained without", flag("stats"),
      value_as("FILE"));
    v("weak", weak, "weights of a smaller teacher, for autoguidance in place of the null label", flag("weak"), value_as("PATH"));
    v("pixels", pixels, "normalization of the encoder's images: imagenet (DINOv2, MAE) or half (SigLIP 2)", one_of({"imagenet", "half"}));
    v("precision", precision, "number format of the blocks: f32, or bf16 with weights of half the size", one_of({"f32", "bf16"}),
      flag("precision"));
    v("decoder_heads", decoder_heads, "number of attention heads of the decoder; 0: the published number for its width, or for other widths heads of width 64",
      range(0, 1024));
  }
  bool given() const { return !dit.empty(); }
};

struct DrawConfig {
  std::int64_t calls = 1;                        // calls of a flow map, or steps of a teacher's solver
  TeacherSolver solver = TeacherSolver::euler;   // ConfigError for a flow map, unless euler
  double guidance = 1;
  Interval interval;
  std::shared_ptr<AdaptiveWork> work = {};       // receives the numbers of dopri5
  SdeConfig sde = {};                            // diffusion and last step of the SDE
};

// The parts that make samples.
struct Source {
  LatentSpace space;                             // decodes to (n, channels, H, W) in [0, 1]
  std::int64_t classes = 0;
  std::vector<std::string> class_names;          // the names of all classes, or empty
  LatentGenerator generate;
  std::function<std::string()> weights;          // checksums of the weights in use
  std::int64_t bytes_a_sample = 0;               // the approximate memory of a pass of the networks, per sample
  Rounding rounding = Rounding::truncate;        // of pixels to 8 bits, as in the code that published the weights
};

// `say` receives a line for each loaded model. FileError if files do not exist (it names all of them), cannot be read or do not fit together. ConfigError if
// --decoder or --stats is missing, for options that these files do not use, for guidance of a flow map, and for a number of calls that the flow map was not
// trained for.
Source open_published(const PublishedConfig& config, const DrawConfig& draw, const Warn& warn, const std::function<void(const std::string&)>& say);

}  // namespace fm
