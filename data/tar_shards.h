// Images in shards of WebDataset: uncompressed tar files with random access by an index (tar_index.h) that is made once and kept beside each
// shard, as SHARD.flowmap-index, or in a separate folder. 24 bytes per sample are kept in memory. Shards follow each other in the order in
// which they are named, samples in their order within the shard.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "data/picture_store.h"

namespace fm {

// "a-{08..10}.tar" -> a-08.tar, a-09.tar, a-10.tar. Braces contain ranges or words, separated by commas ("{00..07,x}"); a name may have several. "::"
// separates names. Numbers keep the leading zeros of the range's first. ConfigError: braces that do not close, a range that falls, above 100,000 names.
std::vector<std::string> shard_names(const std::string& text);

// `index_folder`: "" keeps each index beside its shard. FileError: the errors of tar_index and OpenFile, no samples, WebP images in a build without
// libwebp.
std::shared_ptr<const PictureStore> tar_store(const std::string& names, const std::filesystem::path& index_folder);

// "tar:SHARDS?size=N" (kinds.h).
std::shared_ptr<const SampleSource> open_tar(DataSpec& spec, Split split);

}  // namespace fm
