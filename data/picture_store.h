// Encoded images in archives, with labels: the common interface of zip files, folders with a dataset.json and shards of tar. A store has members;
// open_stored() makes a source of it, with splits, classes and decoding.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "data/pictures.h"

namespace fm {

class PictureStore {
 public:
  virtual ~PictureStore() = default;
  virtual std::string name() const = 0;                             // the file or folder
  virtual std::int64_t count() const = 0;
  virtual std::int32_t label(std::int64_t index) const = 0;         // -1: no label
  virtual std::string member(std::int64_t index) const = 0;         // "train-003.tar: 00017.jpg", for messages
  virtual std::string bytes(std::int64_t index) const = 0;          // the encoded image. FileError: changed or damaged since it was opened
  virtual std::string stamp(std::int64_t index) const = 0;          // see SampleSource::stamp (source.h)
  virtual std::vector<std::string> class_names() const { return {}; }
  virtual std::vector<std::string> notes() const { return {}; }
};

// Number and names of classes, for stores whose labels are numbers.
struct ClassOptions {
  std::int64_t classes = 0;  // 0: the number of `names`, or one more than the training split's largest label
  std::string names;         // a file, or "imagenet" (class_names.h)
};

// Takes the keys classes and class_names from `spec`.
ClassOptions class_options(DataSpec& spec);

// Names of the classes. `found`: names in the data itself; `largest`: the data's largest label, -1 for data without labels (one class, "all").
// ConfigError: a label that has no class, or another number of names than `classes`.
std::vector<std::string> class_list(const ClassOptions& options, std::vector<std::string> found, std::int64_t largest, const std::string& name);

// The labels of `count` samples; all 0 if no sample has a label. FileError for a label of `classes` or more, and if only some samples have labels.
// `member` gives the name of a sample for these errors.
std::vector<std::int32_t> checked_labels(std::int64_t count, std::size_t classes, const std::string& name,
                                         const std::function<std::int64_t(std::int64_t)>& label,
                                         const std::function<std::string(std::int64_t)>& member);

// Opens an image source. The path of `spec` is the store of the training split, the key `test` that of the test split. Without this key every tenth
// image of a class belongs to the test split. Keys: those of images (pictures.h), classes, class_names, test.
std::shared_ptr<const SampleSource> open_stored(DataSpec& spec, Split split, const std::string& usage,
                                                const std::function<std::shared_ptr<const PictureStore>(const std::string&)>& open);

}  // namespace fm
