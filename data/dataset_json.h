// The labels of EDM2's and StyleGAN's data sets: dataset.json beside the images, {"labels": [["00000/img00000000.png", 5], ...]}, or
// {"labels": null} for images without labels. The key "class_names": ["cat", ...] is read too.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace fm {

struct NamedLabels {
  std::vector<std::int32_t> labels;      // by sample; -1: none
  std::vector<std::string> class_names;  // may be empty
  std::vector<std::string> notes;
};

// Reads the labels of `count` samples; name(i) rises with i in byte order. FileError "FILE: ...": other JSON, a label that is not a whole number from
// 0 on, a repeated name, samples without a label beside labelled ones. A note counts the names that belong to no sample. The text is parsed while it
// is read: a million labels take 4 MB. `passed`, if given, is called after each mebibyte with the number of bytes that may be released.
NamedLabels read_dataset_json(std::string_view text, const std::string& file, std::int64_t count,
                              const std::function<std::string_view(std::int64_t)>& name, const std::function<void(std::size_t)>& passed = {});

}  // namespace fm
