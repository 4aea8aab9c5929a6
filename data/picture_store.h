// Encoded images in archives, with labels: the common interface of zip files, folders with a dataset.json and shards of tar. A store has members; this
// file makes a source of it: splits, classes, decoding.
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
  virtual std::string stamp(std::int64_t index) const = 0;          // as SampleSource's
  virtual std::vector<std::string> class_names() const { return {}; }
  virtual std::vector<std::string> notes() const { return {}; }
};

// Number and names of classes, for stores whose labels are numbers.
struct ClassOptions {
  std::int64_t classes = 0;  // 0: the number of `names`, or one more than the training split's largest label
  std::string names;         // a file, or "imagenet" (class_names.h)
};

// Takes classes and class_names.
ClassOptions class_options(DataSpec& spec);

// The classes by name. `found`: names in the data itself; `largest`: its largest label, -1 for data without labels (one class, "all").
// ConfigError: a label that has no class, or another number of names than `classes`.
std::vector<std::string> class_list(const ClassOptions& options, std::vector<std::string> found, std::int64_t largest, const std::string& name);

// The labels of `count` samples, all 0 if none has one. FileError names the first sample without a label if others have one, and a label of
// `classes` or more. `member` names a sample.
std::vector<std::int32_t> checked_labels(std::int64_t count, std::size_t classes, const std::string& name,
                                         const std::function<std::int64_t(std::int64_t)>& label,
                                         const std::function<std::string(std::int64_t)>& member);

// Opens an image source of stores: "PATH" for the training split; the key `test` names the test split. Without it every tenth image of a
// class belongs to the test split. Keys: those of images (pictures.h), classes, class_names, test.
std::shared_ptr<const SampleSource> open_stored(DataSpec& spec, Split split, const std::string& usage,
                                                const std::function<std::shared_ptr<const PictureStore>(const std::string&)>& open);

}  // namespace fm
