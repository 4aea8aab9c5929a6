// Names of classes, wherever their numbers do. A name is what a folder is called, or a line of a file: an id and words that mean the same,
// "n02099601 golden retriever" or "n01440764 tench, Tinca tinca".
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace fm {

// One class a line, in the order of their labels; empty lines and those that begin with '#' are left out. "imagenet" is the list of ILSVRC
// 2012's 1,000 classes. FileError when the file cannot be read, ConfigError when it has another number of classes than `classes`.
std::vector<std::string> read_class_names(const std::string& file, std::int64_t classes);
std::vector<std::string> read_class_names(const std::string& file);  // as many as there are; ConfigError when that is none

// The text of ILSVRC 2012's classes, a line each.
std::string_view imagenet_classes();

// Folders that are named by WordNet's ids get their words from imagenet_classes(); other names stay.
std::vector<std::string> with_words(std::vector<std::string> names);

// "n01440764 tench, Tinca tinca" -> "tench".
std::string short_class_name(const std::string& name);

// The label that `text` names: a whole name, its id, or one of its words between commas, in capitals or not; or a number. ConfigError names
// what is close where there is none, the numbers where there are several (ImageNet has two cranes), and both where a number is also the name
// of a class with another label: then "label:3" or "name:3" says which.
std::int64_t label_named(std::string_view text, const std::vector<std::string>& names, std::int64_t classes);

}  // namespace fm
