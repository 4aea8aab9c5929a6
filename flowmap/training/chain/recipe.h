// All settings that decide the results of a run: one struct for the whole chain from images to a one-step generator. A config file fills it,
// every stage reads its part, and each stage's checkpoint stores it.
#pragma once

#include "data/dataset.h"
#include "data/source.h"
#include "flowmap/objective/cmt.h"
#include "flowmap/objective/flow_matching.h"
#include "flowmap/objective/list.h"
#include "flowmap/objective/mean_flow.h"
#include "flowmap/training/backbones.h"
#include "flowmap/training/chain/stage_names.h"
#include "flowmap/training/gan.h"
#include "nn/models/autoencoder_kl.h"
#include "nn/models/judge.h"
#include "nn/models/rae.h"
#include "flowmap/velocity.h"
#include "nn/training/loop.h"

namespace fm {

struct JudgeStage {
  LoopConfig loop{.steps = 3000, .batch = 128};
  JudgeConfig model;
  double shift = 2;
  template <class V> void visit(V&& v) {
    v("loop", loop, "training of the judge");
    v("model", model, "convolutional classifier");
    v("shift", shift, "largest random shift of a training image in each direction", range(0, 64), unit("pixels"));
  }
};

struct EncoderStage {
  LoopConfig loop{.steps = 2000, .batch = 128};
  std::int64_t prototypes = 512, hidden = 256, bottleneck = 64, local_crops = 2, local_size = 14;
  double global_low = 0.4, local_low = 0.15, local_high = 0.4, jitter = 0.4;
  double momentum = 0.996, student_temperature = 0.1, teacher_temperature = 0.04;
  double mask_share = 0.3, patch_weight = 1.0;
  template <class V> void visit(V&& v) {
    v("loop", loop, "self-supervised training of the encoder");
    v("prototypes", prototypes, "outputs of the DINO head", range(2, 1e6));
    v("hidden", hidden, "hidden width of the DINO head", range(1, 65536));
    v("bottleneck", bottleneck, "width of the DINO head before the prototypes", range(1, 65536));
    v("local_crops", local_crops, "number of small crops per image, besides the two large crops", range(0, 64));
    v("local_size", local_size, "side of a small crop; a multiple of the patch", range(1, 4096), unit("pixels"));
    v("global_low", global_low, "smallest area of a large crop, as a share of the image", range(0.01, 1));
    v("local_low", local_low, "smallest area of a small crop, as a share of the image", range(0.01, 1));
    v("local_high", local_high, "largest area of a small crop, as a share of the image", range(0.01, 1));
    v("jitter", jitter, "largest relative change of brightness and contrast of crops", range(0, 1));
    v("momentum", momentum, "momentum of the teacher's average at the start; it rises to 1 along a cosine", range(0, 1));
    v("student_temperature", student_temperature, "softmax temperature of the student", above(0));
    v("teacher_temperature", teacher_temperature, "softmax temperature of the teacher", above(0));
    v("mask_share", mask_share, "share of the patches of large crops that are hidden from the student, for the patch loss", range(0, 1));
    v("patch_weight", patch_weight, "weight of the patch loss (iBOT, as in DINOv2); 0: plain DINO", at_least(0));
  }
};

struct DecoderStage {
  LoopConfig loop{.steps = 1000, .batch = 128};
  double noise_tau = 0.8, feature_weight = 0.1, lpips_weight = 0;
  std::string lpips_weights;
  GanConfig gan;
  template <class V> void visit(V&& v) {
    v("loop", loop, "training of the decoder");
    v("noise_tau", noise_tau, "largest scale of the noise on latents; the scale of each sample is uniform between 0 and this value", at_least(0));
    v("feature_weight", feature_weight, "weight of the distance between the encoder's tokens for the reconstruction and for the image",
      at_least(0));
    v("lpips_weight", lpips_weight, "weight of the perceptual distance LPIPS between reconstruction and image; 0: not computed", at_least(0));
    v("lpips_weights", lpips_weights, "network of LPIPS with its files, for lpips_weight above 0: vgg:TRUNK,HEADS (torchvision's VGG16, LPIPS' heads), or vgg:FILE for one file of both", value_as("NETWORK:FILE[,FILE]"));
    v("gan", gan, "adversarial training of the decoder");
  }
};

struct VaeStage {
  LoopConfig loop{.steps = 3000, .batch = 128};
  AutoencoderKLConfig model;
  double kl_weight = 1e-6, feature_weight = 0.1;
  template <class V> void visit(V&& v) {
    v("loop", loop, "training of the autoencoder");
    v("model", model, "variational autoencoder; the defaults are Stable Diffusion's");
    v("kl_weight", kl_weight, "weight of the KL divergence between posterior and N(0, I): its sum over a latent, divided by the number of an image's values", at_least(0));
    v("feature_weight", feature_weight,
      "weight of the distance between the encoder's tokens for the reconstruction and for the image, as in [decoder]; 0: without an encoder", at_least(0));
  }
};

// Samples as their own latents.
struct IdentityConfig {
  bool normalize = false;
  template <class V> void visit(V&& v) {
    v("normalize", normalize,
      "normalization of each element of a latent to mean 0 and variance 1 over the training samples (scores and images keep the data's own scale); false: "
      "latents have the data's scale");
  }
};

// The source of the generators' latents.
struct LatentsConfig {
  std::string from = "memory", folder, given, given_form = "deviation", dtype = "bf16";
  bool flip = false;
  std::int64_t batch = 64, shard = 1024, workers = 2;
  template <class V> void visit(V&& v) {
    v("from", from,
      "source of latents: memory, all images are encoded first and their latents kept; cache, the files that `flowmap_train encode` wrote; images, "
      "images are read and encoded when they are needed",
      one_of({"memory", "cache", "images"}), flag("latents"));
    v("folder", folder, "folder of the latent cache; empty: latents/ in the run's folder", flag("latents-folder"), value_as("DIR"));
    v("given", given,
      "latents of another program, which `flowmap_train encode` takes into the cache instead of encoding images: a folder with dataset.json and .npy files "
      "(REPA), or an .npz file; for space = \"vae\"", flag("given-latents"), value_as("PATH"));
    v("given_form", given_form, "second half of the channels of the given latents: deviation, or log_variance (MAR)", one_of({"deviation", "log_variance"}));
    v("flip", flip, "mirroring of images left to right with probability 1/2; a cache holds the latents of both");
    v("dtype", dtype, "element type of a new latent cache", one_of({"bf16", "f32"}));
    v("batch", batch, "number of images that are encoded at a time", range(1, 1e6));
    v("shard", shard, "number of images in each file of a new latent cache", range(1, 1e9));
    v("workers", workers, "number of threads that read and decode images while training runs", range(1, 1024));
  }
};

struct FmStage {
  LoopConfig loop{.steps = 3000, .batch = 128};
  FlowMatchingConfig objective;
  template <class V> void visit(V&& v) {
    v("loop", loop, "training of the flow-matching teacher");
    v("objective", objective, "flow matching");
  }
};

struct CmtStage {
  LoopConfig loop{.steps = 500, .batch = 8};
  CmtConfig objective;
  template <class V> void visit(V&& v) {
    v("loop", loop, "consistency mid-training; the batch counts the teacher's trajectories");
    v("objective", objective, "consistency mid-training");
  }
};

struct MfStage {
  LoopConfig loop{.steps = 1000, .batch = 128};
  MeanFlowConfig objective;
  std::string velocity = "teacher";
  template <class V> void visit(V&& v) {
    v("loop", loop, "training of the flow map");
    v("objective", objective, "MeanFlow");
    v("velocity", velocity, "source of the velocity w in the target: teacher (MFD), one-point (eps - z0 of the sample; MFT), or blend=L for (1-L) one-point + L teacher", basic(),
      value_as("teacher|one-point|blend=L"));
  }
};

// A flow map by any objective of the list.
struct MapStage {
  LoopConfig loop{.steps = 0, .batch = 128};
  ObjectiveConfig objective;
  std::string velocity = "teacher", start = "teacher";
  template <class V> void visit(V&& v) {
    v("loop", loop, "training of the flow map");
    v("objective", objective, "objective, by its name; each has settings of its own");
    v("velocity", velocity, "source of the velocity w in the target: teacher, one-point (eps - z0 of the sample), or blend=L for (1-L) one-point + L teacher", basic(),
      value_as("teacher|one-point|blend=L"));
    v("start", start, "initial weights of this stage: random, or the averaged weights of the teacher or of another stage",
      one_of({"random", "teacher", stage_name::cmt, stage_name::mfd, stage_name::mft}), basic());
  }
};

struct EvaluateConfig {
  std::int64_t samples = 2000, reference = 0, teacher_points = 50, batch = 500, k = 3;
  std::string steps = "1,2", features, preparation;
  bool teacher = true;
  template <class V> void visit(V&& v) {
    v("samples", samples, "number of generated samples, divided equally among the classes", range(10, 1e9), basic());
    v("reference", reference, "number of real test images that samples are compared with, divided equally among the classes; 0: the whole test split", range(0, 1e9));
    v("teacher_points", teacher_points, "number of points of the teacher's time grid; the solver makes one step fewer", range(2, 1e6));
    v("batch", batch, "number of samples generated at a time", range(1, 1e6));
    v("k", k, "number of nearest neighbors for precision and recall", range(1, 1e6));
    v("steps", steps, "numbers of network calls to score the flow map with, comma-separated", flag("calls"), basic());
    v("teacher", teacher, "scores of the teacher, besides those of the other generators; false: the teacher is not scored");
    v("features", features,
      "features that distances are measured in: judge, those of a classifier of images; values, the samples as they are; inception:FILE (FID) or dinov2:FILE "
      "(FD-DINOv2), those of a published network; empty: judge for images, else values",
      value_as("judge|values|NETWORK:FILE"));
    v("preparation", preparation, "resizing of images for features inception: tf1 (guided-diffusion), half-pixel (pytorch-fid), clean (clean-fid); empty: tf1",
      one_of({"", "tf1", "half-pixel", "clean", "pillow"}));
  }
};

std::vector<int> parse_steps(const std::string& list);             // "1,2" -> {1, 2}; ConfigError for other texts

std::vector<std::string> space_names();                            // the names in the list of latent spaces (spaces.h)
std::string spaces_help();

std::vector<std::string> published_networks();                     // the values of dit_size

struct Recipe {
  std::string data = "fashion-mnist";
  std::int64_t seed = 1, image_size = 0, channels = 0, classes = 0;
  std::vector<std::string> log{"csv", "jsonl", "tb", "html"};
  std::string class_names, encoder_weights, decoder_weights, vae_weights, stats_file, teacher_weights, class_token_weights, judge_weights;
  std::string encoder_model, decoder_size, dit_size;
  std::string space = "rae";
  NetworkConfig network;
  bool conditional = true;
  std::int64_t train_images = 0;
  double guidance = 1, guidance_from = 0, guidance_to = 1;
  std::string compat = "paper";
  RaeConfig rae;
  IdentityConfig identity;
  LatentsConfig latents;
  JudgeStage judge;
  EncoderStage encoder;
  DecoderStage decoder;
  VaeStage vae;
  FmStage fm;
  CmtStage cmt;
  MfStage mfd, mft;
  MapStage map;
  EvaluateConfig evaluate;
  WatchConfig watch;

  template <class V> void visit(V&& v) {
    v("data", data, "data set: " + data_help(), flag("data"), basic());
    v("seed", seed, "seed that all random numbers follow from", range(0, 9e15), flag("seed"), basic());
    v("log", log,
      "files that every stage writes beside log.txt: metrics.csv, metrics.jsonl, TensorBoard events, report.html (with the curves of the CSV)",
      one_of({"csv", "jsonl", "tb", "html"}), flag("log"));
    v("image_size", image_size, "side of the images; 0: that of the data set", range(0, 4096), unit("pixels"));
    v("channels", channels, "channels of the images: 1 grey, 3 color; 0: those of the data set", range(0, 3));
    v("classes", classes, "number of labels; 0: that of the data set", range(0, 1e7));
    v("class_names", class_names,
      "file with one line per class, in the order of the labels, for names in commands and images; imagenet: its 1,000 names; empty: those of the data set",
      flag("class-names"), value_as("imagenet|FILE"));
    v("encoder_weights", encoder_weights,
      "file of a trained encoder, a path or a name beside the config file; if it is empty, or the encoder was trained on other data, this run trains its own",
      value_as("PATH"));
    v("decoder_weights", decoder_weights, "file of a trained decoder of this encoder; empty: this run trains its own", value_as("PATH"));
    v("vae_weights", vae_weights, "file of a trained variational autoencoder, for space = \"vae\"; empty: this run trains its own (stage vae)", value_as("PATH"));
    v("stats_file", stats_file, "file with mean and variance of this encoder's latents; empty: this run computes them", value_as("FILE"));
    v("teacher_weights", teacher_weights, "file of a trained flow-matching teacher; empty: this run trains its own (stage fm)", value_as("PATH"));
    v("class_token_weights", class_token_weights,
      "file of DINOv2 without registers (dinov2_vitb14_pretrain.pth), whose class tokens of the training images a REG as teacher_weights takes beside the "
      "latents; they are encoded once, into a cache beside that of the latents", value_as("PATH"));
    v("judge_weights", judge_weights,
      "file of a trained judge, a path or a name beside the config file; if it is empty, or the judge was trained on other data, this run trains its own",
      value_as("PATH"));
    v("encoder_model", encoder_model, "published encoder and its preprocessing, in place of the ones in [rae]",
      one_of({"", "dinov2-S", "dinov2-B", "dinov2-L", "siglip2-B", "mae-B"}));
    v("decoder_size", decoder_size, "published decoder, in place of [rae.decoder]", one_of({"", "B", "L", "XL"}));
    v("dit_size", dit_size,
      "published size of the network, in place of widths, depths and heads in its section: S to XL for network dit_dh; S/2 to XL/8, with the patch, for network sit",
      ChoiceRule{published_networks()});
    v("train_images", train_images, "number of training images, for a --dry-run without the data set; 0: the number in the data set", range(0, 1e12));
    v("guidance", guidance, "scale of the teacher's classifier-free guidance, in its samples and in the targets of its students; 1: no guidance",
      at_least(0), basic());
    v("guidance_from", guidance_from, "smallest time at which the teacher is guided", range(0, 1));
    v("guidance_to", guidance_to, "largest time at which the teacher is guided; 1 is noise", range(0, 1));
    v("compat", compat, "values of the switches in [cmt|mfd|mft.objective.compat]: paper, the values set in these sections; sony, the values of the released MF-RAE code",
      one_of({"paper", "sony"}));
    v("space", space, spaces_help(), ChoiceRule{space_names()}, flag("space"), basic());
    v("network", network.name, "network of teacher and student, with the settings of its section (dit_dh: [dit])", ChoiceRule{backbone_names()},
      flag("network"), basic());
    v("conditional", conditional, "use of labels as an input of the networks; false: networks without labels (mlp and residual_mlp only)");
    v("rae", rae, "representation autoencoder");
    v("identity", identity, "samples as their own latents");
    v("latents", latents, "latents of the training images");
    network.visit_sections(v);
    v(stage_name::judge, judge, "classifier that evaluates samples");
    v(stage_name::encoder, encoder, "DINO pre-training");
    v(stage_name::decoder, decoder, "RAE decoder");
    v(stage_name::vae, vae, "variational autoencoder");
    v(stage_name::fm, fm, "flow-matching teacher");
    v(stage_name::cmt, cmt, "consistency mid-training");
    v(stage_name::mfd, mfd, "MeanFlow distillation");
    v(stage_name::mft, mft, "MeanFlow training on data, after mfd; with 0 steps the stage is left out");
    v(stage_name::map, map, "flow map by any objective, from the teacher or another stage; with 0 steps the stage is left out");
    v("evaluate", evaluate, "evaluation");
    v("watch", watch, "watch for explosions and for the best checkpoint, in every stage");
  }

  // Sets image_size, channels and classes where they are open (0).
  void take_sizes(std::int64_t data_size, std::int64_t data_channels, std::int64_t data_classes);
  void take_sizes(const SampleSource& source, const std::string& user);      // ConfigError if `user` needs images and the samples are not images
  bool has_sizes() const;
  Shape latent_shape() const;                                      // shape of a latent of `space`
  Shape stored_latent_shape() const;                               // of a raw latent in memory and caches: with the deviations of a variational autoencoder
  bool in_plane() const;                                           // samples are points of the plane, with their own scores and plots (flowmap/training/plane.h)
  Interval guided_times() const { return {guidance_from, guidance_to}; }
  bool has_judge() const { return judge.loop.steps > 0 || !judge_weights.empty(); }

  // Fills in fields that follow from others (sizes of decoder and network, null labels) and checks that all fit: ConfigError names the field.
  // image_size, channels and classes must be known.
  void resolve();
  // Takes open sizes from the data set, then calls resolve(). FileError if the data set cannot be read.
  void resolve_with_data();

  Shape sample_shape;            // shape of a sample of the data, set only if the latent space is the identity; not part of the config

  // The data set without its options: "fashion-mnist" for "fashion-mnist?limit=100". Given weights must have been trained on this data set.
  std::string data_family() const { return data.substr(0, data.find_first_of("?:")); }

  // Parts of resolve() that latent spaces call (spaces.h).
  void take_published_network();                                   // sizes of the network by dit_size, if it is set
  void resolve_identity();

 private:
  void refuse_settings_of_pictures() const;
};

}  // namespace fm
