// A folder of pictures whose labels stand in its dataset.json: a zip file of EDM2's or StyleGAN's (zip_pictures.h) unpacked. Samples are the
// pictures of all folders below it, in the byte order of their paths.
#pragma once

#include <filesystem>
#include <memory>

#include "data/picture_store.h"

namespace fm {

bool has_dataset_json(const std::filesystem::path& folder);

// FileError: a wrong dataset.json (dataset_json.h), no pictures, pictures in formats that this build cannot read.
std::shared_ptr<const PictureStore> json_folder_store(const std::filesystem::path& folder);

}  // namespace fm
