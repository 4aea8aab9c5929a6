// The latent spaces that a recipe can name (`space`), one row of spaces.cpp each: the kind of latents, their sizes from the recipe, the stages that
// make them, and their costs. A new space is its row, its section of the recipe, and a class that provides its coder.
#pragma once

#include <memory>

#include "flowmap/training/chain/recipe.h"
#include "flowmap/training/chain/stages.h"
#include "flowmap/training/latent_space.h"

namespace fm {

// The space of one run, with the weights trained so far.
class RunSpace {
 public:
  virtual ~RunSpace() = default;
  // With the current weights. FileError if the weights that make latents are missing, and from its `decode` if those that make samples are.
  virtual LatentCoder coder() = 0;
  // Reads weights that the recipe names and that only a later stage needs, and compares them with the recipe. FileError.
  virtual void check_given() {}
};

struct SpaceSpec {
  const char* name;                                          // recipe.space
  const char* says;                                          // its latents in words, for help
  bool pictures;                                             // its samples are images: they are shown as such and scored by the judge
  bool encodes;                                              // its latents are made by a network; false: they are the samples
  bool (*uses)(const Recipe&, Makes);                        // whether a stage that makes this is for it; generators always are

  void (*take_sizes)(Recipe&, const SampleSource&, const std::string& user);   // into open fields. ConfigError where samples do not fit
  bool (*has_sizes)(const Recipe&);
  void (*resolve)(Recipe&);                                  // fields that follow from others, and checks: ConfigError
  Shape (*shape)(const Recipe&);                             // of a latent
  std::string (*samples)(const Recipe&);                     // "images of 1x28x28"
  std::int64_t (*sample_bytes)(const Recipe&);               // of one that is kept in memory
  double (*encode_flops)(const Recipe&);                     // of one sample; null: none
  std::int64_t (*parameters)(const Recipe&);                 // of its own networks; null: none
  std::unique_ptr<RunSpace> (*open)(TrainingRun&);           // the run must outlive the result
};

// For rows whose samples are images.
void take_picture_sizes(Recipe& recipe, const SampleSource& source, const std::string& user);
bool has_picture_sizes(const Recipe& recipe);
std::string picture_text(const Recipe& recipe);
std::int64_t picture_bytes(const Recipe& recipe);

// ConfigError for a name that is not in the list.
const SpaceSpec& space_of(const Recipe& recipe);

// ConfigError where the stage is not for the recipe's space.
void check_stage(const StageSpec& stage, const Recipe& recipe);

}  // namespace fm
