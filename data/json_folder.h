// A folder of images with labels in its dataset.json: an unpacked zip file of EDM2 or StyleGAN (zip_pictures.h). Samples are the
// images in this folder and in all folders below it, sorted by the bytes of their paths.
#pragma once

#include <filesystem>
#include <memory>

#include "data/picture_store.h"

namespace fm {

bool has_dataset_json(const std::filesystem::path& folder);

// FileError: a wrong dataset.json (dataset_json.h), no images, images in formats that this build cannot read.
std::shared_ptr<const PictureStore> json_folder_store(const std::filesystem::path& folder);

}  // namespace fm
