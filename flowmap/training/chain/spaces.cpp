#include "flowmap/training/chain/spaces.h"

#include <fmt/format.h>

#include "tensor/error.h"

namespace fm {

SpaceSpec rae_row();                                         // space_rae.cpp
SpaceSpec identity_row();                                    // space_identity.cpp
SpaceSpec pixels_row();                                      // space_pixels.cpp
SpaceSpec haar_row();                                        // space_haar.cpp
SpaceSpec vae_row();                                         // space_vae.cpp

namespace {

const std::vector<SpaceSpec>& spaces() {
  static const std::vector<SpaceSpec> list{rae_row(), vae_row(), identity_row(), pixels_row(), haar_row()};
  return list;
}

}  // namespace

void take_picture_sizes(Recipe& r, const SampleSource& source, const std::string& user) {
  const PictureSize size = picture_size(source, user);
  r.take_sizes(size.height, size.channels, static_cast<std::int64_t>(source.class_names().size()));
}

bool has_picture_sizes(const Recipe& r) { return r.image_size > 0 && r.channels > 0 && r.classes > 0; }
std::string picture_text(const Recipe& r) { return fmt::format("images of {}x{}x{}", r.channels, r.image_size, r.image_size); }
std::int64_t picture_bytes(const Recipe& r) { return r.channels * r.image_size * r.image_size; }

const SpaceSpec& space_of(const Recipe& recipe) {
  for (const SpaceSpec& s : spaces())
    if (recipe.space == s.name) return s;
  throw ConfigError(fmt::format("there is no space '{}': known are {}", recipe.space, words(space_names(), "and")));
}

std::vector<std::string> space_names() {
  std::vector<std::string> out;
  for (const SpaceSpec& s : spaces()) out.emplace_back(s.name);
  return out;
}

std::string spaces_help() {
  std::string out = "latent space, in which generators work:";
  for (const SpaceSpec& s : spaces()) out += fmt::format("{} {}, {}", &s == &spaces().front() ? "" : ";", s.name, s.says);
  return out;
}

const StageSpec* decoder_stage(const Recipe& recipe) {
  for (const StageSpec& s : stage_table())
    if ((s.makes == Makes::decoder || s.makes == Makes::autoencoder) && space_of(recipe).uses(recipe, s.makes)) return &s;
  return nullptr;
}

void need_labels(const Recipe& r) {
  if (r.classes < 2) throw ConfigError("classes 1: a model needs at least two; in folder:PATH each inner folder is a class");
  if (!r.conditional) throw ConfigError(fmt::format("space {} needs networks with labels: leave conditional = false out", r.space));
}

void fit_judge(Recipe& r) {
  r.judge.model.channels = r.channels;
  r.judge.model.size = r.image_size;
  r.judge.model.classes = r.classes;
}

void check_stage(const StageSpec& stage, const Recipe& recipe) {
  if (stage.is_generator() || space_of(recipe).uses(recipe, stage.makes)) return;
  std::vector<std::string> used_by;
  for (const SpaceSpec& s : spaces())
    if (s.uses(recipe, stage.makes)) used_by.push_back(fmt::format("\"{}\"", s.name));
  throw ConfigError(fmt::format("stage {} is for space = {}; with space = \"{}\" there is nothing to do for it", stage.name, words(used_by, "or"), recipe.space));
}

}  // namespace fm
