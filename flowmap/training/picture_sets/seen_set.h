// The features of a set of images, computed once. Results are stored in a folder, 128 images a file, under a name that follows from the contents of these
// images and the fingerprint of the features. So work that is stopped, killed or repeated computes only what is missing, whatever the files are called, and a
// changed image is never taken for its predecessor.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "data/picture_set.h"
#include "flowmap/training/features.h"
#include "tensor/collectives/communicator.h"
#include "nn/training/messages.h"

namespace fm {

struct SeenSet {
  std::string name;                      // of the set
  std::string id;                        // fingerprint of the images and their order, whatever the features: 16 hexadecimal digits
  std::int64_t count = 0;
  int height = 0, width = 0;             // of every image, pixels
  Tensor vectors, spatial, logits;       // as in Seen (features.h), (count, ...) f32; the last two undefined if the features have none or they were not wanted
};

struct SeeOptions {
  std::filesystem::path cache;           // folder for the stored results
  std::int64_t limit = 0;                // number of images, the first ones; 0: all
  bool spatial = true, logits = true;    // whether these outputs are wanted in memory; all are stored
  std::function<void(std::int64_t done)> progress = {};    // called with the number of images that are done; may throw to end the work
};

// The features see RGB images; grey is repeated. Each rank computes every size()-th file and then reads those of the others, so the folder must be on a file
// system that all ranks share; all ranks get the whole result. Memory: the results, 128 images of 8 bits, and 16 of them in f32. An interrupt ends the work with the exception of
// check_interrupt (tensor/interrupt.h). A stored file that is damaged is computed again, with a warning.
//
// FileError: an image cannot be read, has another size than the first one, or changed meanwhile; a result cannot be written. Error: features that are not finite.
SeenSet seen_set(const PictureSet& set, const Features& features, const SeeOptions& options, Communicator& ranks, Messages& log);

// The images first ... first + n - 1; grey is repeated. FileError as above.
struct RgbImages {
  Tensor pixels;                         // (n, 3, H, W) u8
  std::string contents;                  // size and checksum of each as it is stored
};
RgbImages rgb_images(const PictureSet& set, std::int64_t first, std::int64_t n);

// SeenSet::id of the first `count` images, whose contents were joined in order.
std::string id_of_contents(const PictureSet& set, std::int64_t count, const std::string& contents);

}  // namespace fm
