// A config for a data set: the recipe's keys that differ from their defaults, each with its value and the reason for it. The values follow from the
// data (DataFacts) and from the budget of time (Choice).
#pragma once

#include <map>
#include <string>
#include <vector>

#include "flowmap/training/chain/recipe.h"
#include "flowmap/training/setup/data_facts.h"

namespace fm {

struct Setting {
  std::string key, value;                  // "dit.width", "128"
  std::string why;                         // empty: the key explains itself
};

// The choices that the budget decides.
struct Choice {
  std::int64_t side = 0;                   // side of the images
  std::size_t rung = 0;                    // size of the networks, an index into the ladder
  std::map<std::string, std::int64_t> steps;   // by stage; 0 or missing: 100
  std::int64_t samples = 16, teacher_points = 50;
  bool from_memory = true;                 // images and latents are kept in memory
  std::int64_t limit = 0;                  // samples of each class, 0: all
  std::int64_t seed = 1;
};

// Returns how many sizes of networks there are to choose from: rungs 0 ... n - 1, from small to large. Fewer samples allow fewer sizes.
std::size_t rungs_for(const DataFacts& facts);

// Returns the sides that images may be cut to, the largest first. If `data` gives the side, the list has only this side.
std::vector<std::int64_t> sides_for(const DataFacts& facts);

// Whether images of this side are modeled as pixels, without an autoencoder.
bool is_small(std::int64_t side);

std::vector<Setting> propose(const DataFacts& facts, const Choice& choice);

// The recipe with these settings, not resolved yet. ConfigError names a key that the recipe does not have.
Recipe recipe_of(const std::vector<Setting>& settings);

// Returns TOML for flowmap_train --config: the lines of `head` as comments, then each setting with its reason as a comment.
std::string config_text(const std::string& head, const std::vector<Setting>& settings);

}  // namespace fm
