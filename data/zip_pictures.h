// Pictures in an uncompressed zip file with a dataset.json, as EDM2's and StyleGAN's dataset_tool.py writes them. Samples are the pictures in the
// byte order of their names. Directory and dataset.json are read piece by piece; 24 bytes and a label are kept for each picture, and pictures are read
// where they lie.
#pragma once

#include <filesystem>
#include <memory>

#include "data/picture_store.h"

namespace fm {

// FileError: no zip file, no dataset.json or a wrong one (dataset_json.h), no pictures, compressed, encrypted or overlapping members, a name
// twice, pictures in formats that this build cannot read.
std::shared_ptr<const PictureStore> zip_store(const std::filesystem::path& path);

// "zip:FILE.zip?size=N" (kinds.h).
std::shared_ptr<const SampleSource> open_zip(DataSpec& spec, Split split);

}  // namespace fm
