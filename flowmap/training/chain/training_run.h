// One run of the chain, from images to a one-step generator. Stages train in this order and find each other's results in the run's folder:
//
//   judge   encoder   decoder   vae   encode   stats   fm   cmt   mfd   mft   map      out/<stage>/checkpoints/ (stages.h)
//
// Data and latents are loaded when a stage first needs them, and shared by the stages of one process.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>

#include "data/stored_latents.h"
#include "flowmap/training/batch_ahead.h"
#include "flowmap/training/class_tokens.h"
#include "flowmap/training/chain/latents.h"
#include "flowmap/training/chain/run_context.h"
#include "flowmap/training/chain/spaces.h"
#include "flowmap/training/chain/stages.h"
#include "flowmap/training/generator.h"
#include "flowmap/training/stage.h"
#include "flowmap/velocity.h"
#include "nn/checkpoint.h"
#include "nn/loaded.h"

namespace fm {

// One training of a generator.
struct FlowTraining {
  std::string folder;                                       // inside the run: "mfd", "ablate/..."
  const StageSpec& stage;                                   // its section of the config, and the key of its random numbers
  const Recipe& recipe;                                     // the run's, or an ablation's with another config of this stage and another seed
  std::string start;                                        // the stage whose averaged weights it begins with; "random": initial values
  std::vector<Field> fields = {};                           // the config that its checkpoints store; empty: the run's
};

class TrainingRun {
 public:
  // Fills in the recipe's open fields from the data set and checks it. `recipe`, and the objects that `context` refers to, must outlive the run.
  TrainingRun(Recipe& recipe, RunContext context);

  Outcome train_judge();
  Outcome train_encoder();
  Outcome train_decoder();
  Outcome train_vae();
  void encode_latents();                                    // writes the missing parts of the cache of latents
  bool lacks_cached_latents() const { return recipe_.latents.from == "cache" && !LatentCache::is_finished(latents_folder()); }
  void prepare_stats();                                     // loads out/stats.safetensors, and computes it first if it is missing
  Outcome train_generator(const StageSpec& stage);
  // Trains this stage in another folder of the run, with another config and seed. Sizes, space, network and guidance of `recipe` must be those of the run.
  Outcome train_variant(const std::string& folder, const StageSpec& stage, const Recipe& recipe, const std::string& start, std::int64_t seed);

  // Checks that take seconds, before hours of training: test images, sources of later stages, given files, memory
  // and disk space. ConfigError and FileError name the remedy. A dry run only warns of memory and space, because it may plan another machine's
  // run. Finished stages are skipped.
  void preflight();

  std::int64_t count_images();                      // number of images in the training split, or recipe.train_images if that is set

  // For the stages, and for programs that use a trained run.
  void need_folder() const;                         // FileError if the run's folder does not exist; for programs that only read a run
  RunSpace& run_space();
  // The latent space that generators model. FileError if its encoder is not trained. If its decoder is not trained, decode() throws FileError.
  LatentSpace space();
  LatentSpace decoding_space();                     // the same, but also throws FileError now if decode() would
  bool has(const std::string& stage) const { return newest_step(root_ / stage / "checkpoints") >= 0; }
  bool is_available(const StageSpec& stage) const;  // its weights are given, or this run has trained them
  bool has_decoder() const;                         // or its space needs none
  bool has_teacher() const { return is_available(stage_that_makes(Makes::teacher)); }
  Network load_teacher();
  bool has_joint_teacher();                         // a given file that exists, of a network that moves a second variable with the latent (REG)
  VelocityNet guided(VelocityNet teacher) const;     // the teacher with the recipe's guidance
  // Samples from the guided teacher. `points`: number of points of the solver's grid. `work`, `sde`: as for velocity_generator().
  LatentGenerator teacher_generator(const Network& teacher, std::int64_t points, TeacherSolver solver = TeacherSolver::euler, std::shared_ptr<AdaptiveWork> work = {},
                                    const SdeConfig& sde = {}) const;
  Network load_student(const std::string& stage);     // averaged weights
  // Samples from a loaded flow map in this number of calls, with the sampler for its trained jumps.
  LatentGenerator student_generator(const std::string& stage, const Network& student, int calls) const;
  // The aim of a flow map's training, read from its checkpoint: its jumps, and whether the minimum of its objective is the flow map of the given velocity.
  struct Aim {
    Jumps jumps = Jumps::any;
    bool flow_map = true;
  };
  Aim aim_of(const std::string& stage) const;
  std::int64_t loaded_step(const std::string& stage) const;   // training step of the stage's checkpoint that was loaded last; -1: none
  std::string last_student() const;                 // the last trained flow map; ConfigError without one
  // Returns a flow map for training whose initial weights are the averaged weights of that stage; "random": random initial values.
  Network start_of_flow_map(const std::string& stage);
  // Returns checksums of all inputs of a flow map's training from this stage: {"encoder", "1a2b3c4d"}, and so on for statistics, latents, start, teacher.
  std::vector<std::pair<std::string, std::string>> sources_of_flow_map(const std::string& start, bool taught, bool on_data);
  Batch flow_batch(const StepPart& part, std::int64_t batch, std::uint64_t seed);   // normalized latents and labels of a step
  // Batches have class tokens from now on (Batch::beside), for a teacher with this many numbers of them. Encodes the missing ones first.
  void open_class_tokens(std::int64_t numbers);
  std::int64_t sampling_batch() const;              // number of samples to generate at a time, from the size of the network
  double latent_shift() const { return shift_for_dimension(recipe_.latent_shape().numel()); }

  // The name of each label: from --class-names, else from the data set or the cache of latents. ImageNet's ids are replaced by their words. Empty if the
  // names are not available.
  const std::vector<std::string>& class_names();

  const Recipe& recipe() const { return recipe_; }
  RunContext& context() { return context_; }
  const std::filesystem::path& root() const { return root_; }

  // For the classes of latent spaces (spaces.h).
  static std::uint64_t stage_seed(const std::string& name, std::int64_t seed);   // makes the random numbers of the stages independent
  Weights stage_weights(const std::string& stage);  // averaged weights of its newest checkpoint; FileError if the stage is not trained
  std::string not_trained(const std::string& stage, const std::string& where) const;  // error text with the missing stage and the remedy
  void say_loaded(const std::string& line);         // logs each line only once
  Warn warner();                                    // logs warnings, such as those of damaged checkpoints that are skipped

 private:
  const std::shared_ptr<const SampleSource>& pictures();    // the training split; in memory if latents.from = memory
  Loader picture_loader(std::uint64_t seed);                // shuffled, not mirrored
  std::filesystem::path located(const std::string& file) const;   // the given path, or if that does not exist, the same path beside the config file
  void take_sizes();
  void check_sizes(const SampleSource& source) const;
  void compare_with_run() const;
  void check_given_files();
  void warn_of_unused_weights() const;
  void check_given_weights(const std::vector<const StageSpec*>& stages);
  void check_teacher(const Network& teacher, const std::vector<const StageSpec*>& stages);
  void check_sources() const;
  void check_test_split(bool evaluated) const;
  double cache_bytes();
  LatentStats given_stats();                        // reads the statistics in recipe.stats_file
  std::string usable_weights(const std::string& file) const;
  const LatentSet& latents();                       // the latents of all training images, in memory
  LatentSource& latent_source();
  LatentSet take_latents(std::uint64_t seed, std::int64_t first, std::int64_t n, std::int64_t next);   // rows of the order of training, with class tokens if they are open
  std::unique_ptr<LatentSource> cached_latents();
  std::filesystem::path latents_folder() const;
  LatentCacheInfo cache_info();
  SecondHalf second_half() const;
  void describe_samples(LatentCacheInfo& info);
  void read_given(std::int64_t first, std::int64_t count, const std::function<void(std::int64_t, const LatentSet&)>& block);
  void fill_cache();
  // Writes the missing shards of a cache; read(first, count, block) calls block(i, set) with consecutive latents.
  using ReadLatents = std::function<void(std::int64_t first, std::int64_t count, const std::function<void(std::int64_t, const LatentSet&)>& block)>;
  void fill_cache(const std::filesystem::path& folder, const LatentCacheInfo& info, const ReadLatents& read);
  std::filesystem::path class_tokens_folder() const;
  LatentCoder class_token_coder();                  // loads its network anew. ConfigError without recipe.class_token_weights
  const std::string& class_tokens_id();             // checksum and preprocessing of that network
  LatentCacheInfo class_tokens_info(const LatentCoder& coder);
  void fill_class_tokens();
  double class_token_bytes();                       // that the cache still needs, about
  void check_class_tokens(std::int64_t numbers);    // ConfigError unless the run can encode them, of this size (0: of any)
  void check_class_tokens_of(const LatentCacheInfo& info);
  void refuse_latents_of_other_pixels();
  void check_given_latents(const LatentCoder& coder) const;
  const StoredLatents& given_latents();             // of recipe.latents.given
  void compute_stats(const std::filesystem::path& file);
  void check_data_of(const LatentCacheInfo& info, const std::filesystem::path& folder);
  void check_data_of_stats(const std::filesystem::path& file) const;
  bool only_reads() const { return context_.only_reads; }
  std::function<void(std::int64_t)> encoding_progress(std::int64_t total);
  Outcome train_loop(Stage& stage, const LoopConfig& loop, std::uint64_t seed) {
    stage.watch = recipe_.watch;
    return train_stage(stage, loop, seed, log_files(recipe_.log), list_fields(recipe_), context_);
  }
  Weights generator_weights(const std::string& stage);   // as stage_weights; ConfigError if the generator was trained in another latent space
  Outcome train_flow(const FlowTraining& training);
  void add_scores_of_average(Stage& stage, const FlowStage& flow, Jumps jumps, bool flow_map);
  void initialise(const Network& network, const std::string& start, const Network& teacher);
  void refuse_init_from(const std::string& stage) const;
  void write_preview(const LatentGenerator& generate, const std::filesystem::path& png);
  std::uint64_t stage_seed(const std::string& name) const { return stage_seed(name, recipe_.seed); }
  std::string data_checksum();                      // checksum of the latents that generators train on, or of the sources of these latents
  // Returns a frozen network with these weights. `stage`: the folder of the weights in this run; empty: the weights are from elsewhere.
  Network loaded_network(const std::string& role, bool two_times, Weights weights, const std::filesystem::path& stage);
  Checksums sources_of_latents();                   // checksums of the encoder (or of the data if no weights make latents) and of the statistics

  Recipe& recipe_;
  RunContext context_;
  std::filesystem::path root_;
  std::map<std::string, std::int64_t> loaded_steps_;          // by stage
  std::map<std::string, Aim> aims_;                           // by stage
  std::shared_ptr<const SampleSource> pictures_;
  std::optional<std::vector<std::string>> class_names_;
  std::unique_ptr<RunSpace> space_;
  LatentStats stats_;
  std::set<std::string> said_loaded_;
  LatentSet latents_;
  std::unique_ptr<const StoredLatents> given_latents_;
  std::unique_ptr<LatentSource> source_, class_tokens_;      // of the same samples in the same order
  std::string class_tokens_id_;
  std::int64_t class_token_numbers_ = 0;
  std::unique_ptr<BatchAhead<LatentSet>> latents_ahead_;       // prefetches in the order that ahead_seed_ gives
  std::uint64_t ahead_seed_ = 0;
  LatentSpace batch_space_;                         // the space in which batches are normalized
};

// Returns the path of the config that a run was made with: that of `stage`, else that of the last stage that has one, else "". Every stage's config.toml
// holds the whole recipe.
std::filesystem::path stored_config(const std::filesystem::path& run, const std::string& stage = "");

// Whether a difference of configs, `key was "A", is "B"` (config_changes), names one file by two paths, such as an absolute and a relative one.
bool names_same_file(const std::string& change);

// Calls load(), which loads weights, and returns its result. `stage`: the folder of this run's stage that the weights are from, or empty. If load() throws
// FileError, the error also names the stage's config.toml, because weights usually do not fit if the run was made with another config.
template <class F> auto of_this_run(const std::filesystem::path& stage, const F& load) {
  try {
    return load();
  } catch (const NotFiniteError&) {
    throw;                                         // without a hint about the config
  } catch (const FileError& e) {
    const auto config = stage / "config.toml";
    if (stage.empty() || !std::filesystem::exists(config)) throw;
    throw FileError(fmt::format("{}; the run was made with another config: {}", e.what(), config.string()));
  }
}

}  // namespace fm
