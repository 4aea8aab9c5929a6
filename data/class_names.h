// Names of classes, in place of their numbers. A name is the name of a folder, or a line of a file: an id and words with the same meaning,
// "n02099601 golden retriever" or "n01440764 tench, Tinca tinca".
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace fm {

// One class per line, in the order of their labels; empty lines and lines that begin with '#' are left out. "imagenet" is the list of ILSVRC
// 2012's 1,000 classes. FileError if the file cannot be read, ConfigError if it has another number of classes than `classes`.
std::vector<std::string> read_class_names(const std::string& file, std::int64_t classes);
std::vector<std::string> read_class_names(const std::string& file);  // any number of classes; ConfigError for none

// The classes of ILSVRC 2012, one per line.
std::string_view imagenet_classes();

// If all names are WordNet's ids, adds the words that imagenet_classes() has for them. Else returns the names unchanged.
std::vector<std::string> with_words(std::vector<std::string> names);

// "n01440764 tench, Tinca tinca" -> "tench".
std::string short_class_name(const std::string& name);

// The label that `text` names: a whole name, its id, or one of its words between commas, in any case; or a number. ConfigError if
// no name matches (it lists names that contain the text), if several match (it lists their labels; ImageNet has two cranes), or if a number is also
// the name of a class with another label (it lists both). "label:3" and "name:3" are unambiguous.
std::int64_t label_named(std::string_view text, const std::vector<std::string>& names, std::int64_t classes);

}  // namespace fm
