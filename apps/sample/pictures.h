// Samples on their way to files: a folder of PNGs, which can be gone on with, an .npz for evaluators, and a grid to look at.
//
// Sample number i has the label and the noise of i, whatever is drawn with it, so a folder may be filled in any order, by several processes
// (each with a --first of its own), and after a stop.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "apps/sample/published.h"
#include "apps/support/logger.h"

namespace fm {

struct PictureConfig {
  std::int64_t count = 100, first = 0, batch = 0;
  std::string labels = "equal", grid = "samples.png", npz, pngs, rounding = "truncate";
  template <class V> void visit(V&& v) {
    v("count", count, "pictures", at_least(1), flag("count"));
    v("first", first, "number of the first sample: sample i is the same picture in any batch", at_least(0), flag("first"));
    v("batch", batch, "pictures that are drawn at a time; 0: by their size", at_least(0), flag("batch"));
    v("labels", labels, "equal (all in turn), random, or numbers, in turn: 207,360", flag("class"));
    v("rounding", rounding, "of a channel in [0, 255] to 8 bits: truncate, as the published scores, or nearest",
      one_of({"truncate", "nearest"}));
    v("pngs", pngs, "folder of %06d.png, by the sample's number; what is there already is kept", flag("pngs"));
    v("npz", npz, "uint8 pictures (N, H, W, C) under the key arr_0; empty: none", flag("npz"));
    v("grid", grid, "PNG of the first 100 pictures at most; empty: none", flag("grid"));
  }
};

// The label of each sample. ConfigError for what is no label.
std::vector<std::int64_t> labels_of(const std::string& labels, std::int64_t first, std::int64_t count, std::int64_t classes,
                                    std::uint64_t seed);

// A PNG that was written to its end: the signature, a size, and the last chunk.
bool is_complete_png(const std::filesystem::path& file);

// Draws what is missing and writes the files. `settings` says in one line what the pictures are made from: a folder of PNGs keeps it and
// takes no others (ConfigError).
void draw_pictures(const Source& source, const PictureConfig& config, std::uint64_t seed, const std::string& settings, Logger& log);

}  // namespace fm
