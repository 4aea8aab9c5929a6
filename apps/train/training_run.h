// One run of the chain, from images to a one-step generator. Stages train in this order and find each other's results in the run's folder:
//
//   judge   encoder   decoder   stats   fm   cmt   mfd   mft          out/<stage>/checkpoints/
//
// Data and latents are loaded when a stage first asks for them and shared by the stages of one process.
#pragma once

#include <map>
#include <memory>
#include <optional>

#include "apps/train/batch_ahead.h"
#include "apps/train/generator.h"
#include "apps/train/latents.h"
#include "apps/train/loop.h"
#include "apps/train/recipe.h"
#include "flowmap/velocity.h"
#include "nn/checkpoint.h"

namespace fm {

class TrainingRun {
 public:
  // Fills in the recipe's open fields from the data set and checks it. `recipe` and `context` must outlive the run.
  TrainingRun(Recipe& recipe, Context& context);

  Outcome train_judge();
  Outcome train_encoder();
  Outcome train_decoder();
  int encode_latents();                                     // fills the cache of latents: what is missing of it
  bool lacks_cached_latents() const { return recipe_.latents.from == "cache" && !LatentCache::is_finished(latents_folder()); }
  void prepare_stats();                                     // out/stats.safetensors, if it is not there yet
  Outcome train_teacher();
  Outcome train_cmt();
  Outcome train_mfd() { return train_mean_flow("mfd", recipe_.mfd, "cmt"); }
  Outcome train_mft() { return train_mean_flow("mft", recipe_.mft, recipe_.mfd.loop.steps > 0 ? "mfd" : "cmt"); }

  // A MeanFlow stage in the folder out/<name>, from the averaged weights of another stage ("random": from initial values). Stages of an
  // ablation ("ablate/...") all see the batches of "mfd".
  Outcome train_mean_flow(const std::string& name, const MfStage& config, const std::string& init_stage);

  int describe();                                   // --dry-run: parameters, memory and steps; writes nothing

  // What stages and the programs after them ask for.
  void need_folder() const;                         // FileError when out is not there: for programs that only read a run
  Rae& autoencoder();                               // FileError when the decoder is not trained yet
  bool has(const std::string& stage) const { return newest_step(root_ / stage / "checkpoints") >= 0; }
  bool has_decoder() const { return !recipe_.decoder_weights.empty() || has("decoder"); }
  bool has_teacher() const { return !recipe_.teacher_weights.empty() || has("fm"); }
  std::shared_ptr<const DitDh> load_teacher();
  VelocityNet guided(std::shared_ptr<const DitDh> teacher, Interval interval = {}) const;   // with the recipe's guidance
  std::shared_ptr<const DitDh> load_student(const std::string& stage);     // averaged weights
  std::int64_t loaded_step(const std::string& stage) const;   // of the checkpoint that was loaded last; -1: none
  std::string last_student() const;                 // mft, mfd or cmt: the last that was trained; ConfigError if there is none
  std::shared_ptr<DitDh> new_student(std::uint64_t seed) const;
  Batch flow_batch(const StepPart& part, std::int64_t batch, std::uint64_t seed);   // normalised latents and labels of a step
  std::int64_t sampling_batch() const;              // samples at a time, by the size of its DiT
  double latent_shift() const { return shift_for_dimension(recipe_.dit.channels * recipe_.dit.input_size * recipe_.dit.input_size); }

  const Recipe& recipe() const { return recipe_; }
  Context& context() { return context_; }
  const std::filesystem::path& root() const { return root_; }

 private:
  const std::shared_ptr<const SampleSource>& pictures();    // of the training split; in memory when latents.from = memory
  Loader picture_loader(std::uint64_t seed);                // shuffled, not mirrored
  std::filesystem::path located(const std::string& file) const;   // as it is named, or beside the config file
  void take_sizes();
  void check_given_files();
  std::string usable_weights(const std::string& file) const;
  Rae& rae();                                       // with trained encoder; decoder and statistics if they are there
  const LatentSet& latents();                       // of all training images, in memory
  LatentSource& latent_source();
  std::unique_ptr<LatentSource> cached_latents();
  std::filesystem::path latents_folder() const;
  LatentCacheInfo cache_info();
  void fill_cache();
  void finish_judge(const Judge& average);
  void compute_stats(const std::filesystem::path& file);
  std::function<void(std::int64_t)> encoding_progress(std::int64_t total);
  Outcome train_loop(Stage& stage, const LoopConfig& loop, std::uint64_t seed) {
    return train(stage, loop, seed, log_files(recipe_.log), context_);
  }
  std::string not_trained(const std::string& stage, const std::string& where) const;  // what is missing, and the remedy
  Weights stage_weights(const std::string& stage);  // averaged, of its newest checkpoint; FileError when it was not trained
  void initialise(DitDh& model, const std::string& stage);
  void refuse_init_from(const std::string& stage) const;
  void write_preview(const LatentGenerator& generate, const std::filesystem::path& png);
  std::uint64_t stage_seed(const std::string& name) const;
  Warn warner();                                    // damaged checkpoints that were passed over go to the log

  Recipe& recipe_;
  Context& context_;
  std::filesystem::path root_;
  std::map<std::string, std::int64_t> loaded_steps_;          // by stage
  std::shared_ptr<const SampleSource> pictures_;
  std::unique_ptr<Rae> rae_;
  LatentSet latents_;
  std::unique_ptr<LatentSource> source_;
  std::unique_ptr<BatchAhead> latents_ahead_;       // of the order of ahead_seed_
  std::uint64_t ahead_seed_ = 0;
};

// crc32c of names, shapes and values, eight hexadecimal digits: which weights these are.
std::string checksum(const NamedTensors& tensors);

// "2000000 parameters; 38.1 MiB with gradients, moments and average"
std::string training_size(std::int64_t parameters);

// Runs every stage that has steps. Then draws the comparison grid, evaluates, and writes report.html.
int run_pipeline(TrainingRun& run);

}  // namespace fm
