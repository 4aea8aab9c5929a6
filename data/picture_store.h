// Encoded pictures in archives, with labels: what zip files, folders with a dataset.json and shards of tar are to training. A store knows members; this
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
  virtual std::int32_t label(std::int64_t index) const = 0;         // -1: it has none
  virtual std::string member(std::int64_t index) const = 0;         // "train-003.tar: 00017.jpg", for messages
  virtual std::string bytes(std::int64_t index) const = 0;          // the encoded picture. FileError: changed or damaged since it was opened
  virtual std::string stamp(std::int64_t index) const = 0;          // as SampleSource's
  virtual std::vector<std::string> class_names() const { return {}; }
  virtual std::vector<std::string> notes() const { return {}; }
};

// How many classes there are and how they are called, where a store's labels are numbers.
struct ClassOptions {
  std::int64_t classes = 0;  // 0: those of `names`, or one more than the training split's largest label
  std::string names;         // a file, or "imagenet" (class_names.h)
};

// Takes classes and class_names.
ClassOptions class_options(DataSpec& spec);

// The classes by name. `found`: names that the data has itself; `largest`: its largest label, -1 where it has no labels (one class, "all").
// ConfigError: a label that has no class, or another number of names than `classes`.
std::vector<std::string> class_list(const ClassOptions& options, std::vector<std::string> found, std::int64_t largest, const std::string& name);

// The labels of `count` samples, all 0 where none has one. FileError names the first without a label where others have one, and a label of
// `classes` or more. `member` names a sample.
std::vector<std::int32_t> checked_labels(std::int64_t count, std::size_t classes, const std::string& name,
                                         const std::function<std::int64_t(std::int64_t)>& label,
                                         const std::function<std::string(std::int64_t)>& member);

// Opens a picture source of stores: "PATH" for the training split; the key `test` names the other split's, without it every tenth picture of a
// class is for the test. Keys: those of pictures (pictures.h), classes, class_names, test.
std::shared_ptr<const SampleSource> open_stored(DataSpec& spec, Split split, const std::string& usage,
                                                const std::function<std::shared_ptr<const PictureStore>(const std::string&)>& open);

}  // namespace fm
