// Images in an uncompressed zip file with a dataset.json, in the format of EDM2's and StyleGAN's dataset_tool.py. Samples are the images in the
// byte order of their names. Directory and dataset.json are read piece by piece; 24 bytes and a label are kept per image, and images are read
// at their position in the archive.
#pragma once

#include <filesystem>
#include <memory>

#include "data/picture_store.h"

namespace fm {

// FileError: not a zip file, no dataset.json or a wrong one (dataset_json.h), no images, compressed, encrypted or overlapping members, a repeated
// name, images in formats that this build cannot read.
std::shared_ptr<const PictureStore> zip_store(const std::filesystem::path& path);

// "zip:FILE.zip?size=N" (kinds.h).
std::shared_ptr<const SampleSource> open_zip(DataSpec& spec, Split split);

}  // namespace fm
