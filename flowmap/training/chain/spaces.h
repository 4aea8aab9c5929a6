// The latent spaces that a recipe can name (`space`). Each has a row in the list of spaces.cpp: the kind of latents, their sizes from the recipe, the
// stages that make them, and their costs. To add a space, write its row, its section of the recipe, and a class that provides its coder.
#pragma once

#include <memory>

#include "flowmap/training/chain/recipe.h"
#include "flowmap/training/chain/stages.h"
#include "flowmap/training/generator.h"
#include "flowmap/training/latent_space.h"

namespace fm {

// The space of one run, with the weights trained so far.
class RunSpace {
 public:
  virtual ~RunSpace() = default;
  // Returns the coder with the current weights. FileError if the weights that make latents are missing. If the weights that make samples are missing, its
  // `decode` throws FileError.
  virtual LatentCoder coder() = 0;
  // Reads weights that the recipe names and that only a later stage needs, and compares them with the recipe. FileError if they cannot be read or do not
  // fit.
  virtual void check_given() {}
  // Returns statistics that are known without data, as the weights' own scale of latents; undefined: the run computes them if the space uses statistics.
  virtual LatentStats given_statistics() { return {}; }
};

struct SpaceSpec {
  const char* name;                                          // recipe.space
  const char* says;                                          // its latents in words, for help
  bool pictures;                                             // its samples are images: they are shown as such and scored by the judge
  bool encodes;                                              // its coder makes latents from samples; false: samples are their own latents
  Rounding rounding = Rounding::truncate;                    // of decoded pixels to 8 bits in sampled files, as in the code that published such weights
  bool (*uses)(const Recipe&, Makes);                        // whether the space uses stages that make this; never called for generators

  void (*take_sizes)(Recipe&, const SampleSource&, const std::string& user);   // sets open fields. ConfigError if the samples do not fit
  bool (*has_sizes)(const Recipe&);
  void (*resolve)(Recipe&);                                  // sets fields that follow from others. ConfigError if the settings do not fit
  Shape (*shape)(const Recipe&);                             // shape of a latent
  std::string (*samples)(const Recipe&);                     // "images of 1x28x28"
  std::int64_t (*sample_bytes)(const Recipe&);               // bytes of a sample in memory
  double (*encode_flops)(const Recipe&);                     // FLOPs to encode a sample; null: 0
  std::int64_t (*decode_macs)(const Recipe&);                // multiply-adds of linear layers and convolutions to decode a latent; null: 0
  std::int64_t (*parameters)(const Recipe&);                 // number of parameters of its networks; null: it has no networks
  std::unique_ptr<RunSpace> (*open)(TrainingRun&);           // the run must outlive the result
};

// Members of SpaceSpec for spaces whose samples are images.
void take_picture_sizes(Recipe& recipe, const SampleSource& source, const std::string& user);
bool has_picture_sizes(const Recipe& recipe);
std::string picture_text(const Recipe& recipe);
std::int64_t picture_bytes(const Recipe& recipe);

// Returns the row of recipe.space. ConfigError for a name that is not in the list.
const SpaceSpec& space_of(const Recipe& recipe);

// Returns the stage that trains the decoder of the recipe's space; null: the space needs none.
const StageSpec* decoder_stage(const Recipe& recipe);

// Parts of SpaceSpec::resolve for spaces of images. The first refuses one class and networks without labels; the second sets the judge's sizes; the third
// those of the representation autoencoder. ConfigError names the setting that does not fit.
void need_labels(const Recipe& recipe);
void fit_judge(Recipe& recipe);
void fit_rae(Recipe& recipe);                                // space_rae.cpp

// ConfigError if the recipe's space does not use the stage.
void check_stage(const StageSpec& stage, const Recipe& recipe);

}  // namespace fm
