// Writes samples to files: a resumable folder of PNGs, an .npz for evaluators, and a grid to look at.
//
// Sample number i has the label and the noise of i, independent of the other samples. So a folder may be filled in any order, by several processes (each
// with its own --first), and after a stop. With dopri5 images then differ in their last digits (flowmap/sampler_adaptive.h).
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "apps/cli/logger.h"
#include "flowmap/training/published.h"

namespace fm {

struct PictureConfig {
  std::int64_t count = 100, first = 0, batch = 0;
  std::string labels = "equal", grid = "samples.png", npz, pngs, rounding = "auto";
  template <class V> void visit(V&& v) {
    v("count", count, "number of samples", range(1, 1e7), flag("count"), basic());
    v("first", first, "number of the first sample; sample i is the same image in any batch, but with dopri5, whose steps depend on the batch", range(0, 1e12), flag("first"));
    v("batch", batch, "number of samples generated at a time; 0: chosen by their size", range(0, 1e6), flag("batch"));
    v("labels", labels, "classes of the samples: equal (all in turn), random, or numbers or names to take in turn: 207,otter",
      flag("class"), basic());
    v("rounding", rounding,
      "rounding of a channel in [0, 255] to 8 bits: truncate or nearest; auto: that of the code that published the weights; for a run nearest if it has a VAE, else truncate",
      one_of({"auto", "truncate", "nearest"}));
    v("pngs", pngs, "folder for %06d.png, by the number of the sample; files that exist are kept", flag("pngs"), basic(), value_as("DIR"));
    v("npz", npz, "file for the samples under the key arr_0: uint8 images (N, H, W, C), or f32 values of samples that are not images; empty: none",
      flag("npz"), basic(), value_as("FILE"));
    v("grid", grid, "PNG file for a grid of at most the first 100 images; empty: none", flag("grid"), basic(), value_as("FILE"));
  }
};

// The rounding of --rounding; auto: `own`, that of the run or the published files.
Rounding rounding_of(const PictureConfig& config, Rounding own);

// Number of samples generated at a time.
std::int64_t batch_of(const PictureConfig& config, const Source& source);

// The label of each sample. `names` are the names of the classes, or empty. ConfigError for an unknown label or name.
std::vector<std::int64_t> labels_of(const std::string& labels, std::int64_t first, std::int64_t count, std::int64_t classes,
                                    std::uint64_t seed, const std::vector<std::string>& names = {});

// Before the work: refuses a name with another ending, makes its folder, and removes temporary files of killed commands. ConfigError, FileError.
void prepare_file(const char* flag, const std::string& file, const std::string& ending);

// The settings that decide the images, in one line: weights, seed, classes, calls, guidance. `before`: lines that earlier builds wrote.
struct Settings {
  std::string line;
  std::vector<std::string> before = {};
};

// Generates missing images and writes the files. A folder of PNGs keeps the settings in its samples.txt; ConfigError for one with images
// of other settings, or numbered images without a samples.txt. Damaged images are generated again.
void draw_pictures(const Source& source, const PictureConfig& config, std::uint64_t seed, const Settings& settings, Logger& log);

}  // namespace fm
