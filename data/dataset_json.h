// The labels of EDM2's and StyleGAN's data sets: dataset.json beside the images, {"labels": [["00000/img00000000.png", 5], ...]}, or null in the
// place of the list. Also read: "class_names": ["cat", ...].
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

// The labels of `count` samples whose names rise by bytes. FileError "FILE: ...": no such json, a label that is no whole number from 0 on, a name
// twice, no label for some of them. Names that are no sample are counted in a note. The text is parsed as it streams by: a million labels take
// 4 MB. `passed`, where given, is called about every mebibyte with the number of bytes that are read and not needed any more.
NamedLabels read_dataset_json(std::string_view text, const std::string& file, std::int64_t count,
                              const std::function<std::string_view(std::int64_t)>& name, const std::function<void(std::size_t)>& passed = {});

}  // namespace fm
