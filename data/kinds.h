// The one table of data: what --data can name. Help, errors and the ways to open follow from it. docs/extending.md adds a row.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "data/data_spec.h"
#include "data/dataset.h"
#include "data/source.h"

namespace fm {

struct DataKey {
  const char* name;
  const char* help;
};

// Either `load`, for what is small or made by the program, or `open`, for what is read when it is asked for. Both get a specification whose keys
// are known ones. They check the values and throw ConfigError before they look at files.
struct DataKind {
  const char* name;
  const char* usage;                 // "folder:PATH?size=N"
  const char* help;                  // a noun phrase
  std::vector<DataKey> keys;
  Dataset (*load)(DataSpec& spec, Split split) = nullptr;
  std::shared_ptr<const SampleSource> (*open)(DataSpec& spec, Split split) = nullptr;
  std::vector<std::string> (*class_names)(const DataSpec& spec) = nullptr;  // without reading samples; none: those of the opened source
};

std::span<const DataKind> data_kinds();

// ConfigError names the kinds, or the keys of this kind, where the specification has another.
const DataKind& kind_of(const DataSpec& spec);

// "fashion-mnist[:FOLDER], shapes, ...": the usages in one line, for --help.
const std::string& data_usage();

}  // namespace fm
