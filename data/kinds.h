// The table of the data that --data can name. Help, errors and opening follow from it. docs/extending.md shows how to add a row.
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

// Either `load`, for small or generated data, or `open`, for data that is read on request. Both get a specification with known keys
// only. They check the values and throw ConfigError before they access files.
struct DataKind {
  const char* name;
  const char* usage;                 // "folder:PATH?size=N"
  const char* help;                  // a noun phrase
  std::vector<DataKey> keys;
  Dataset (*load)(DataSpec& spec, Split split) = nullptr;
  std::shared_ptr<const SampleSource> (*open)(DataSpec& spec, Split split) = nullptr;
  std::vector<std::string> (*class_names)(const DataSpec& spec) = nullptr;  // without reading samples; null: the names of the opened source
};

std::span<const DataKind> data_kinds();

// Returns the kind that the specification names. ConfigError for an unknown kind lists all kinds, for an unknown key the keys of the kind.
const DataKind& kind_of(const DataSpec& spec);

// "fashion-mnist[:FOLDER], shapes, ...": the usages in one line, for --help.
const std::string& data_usage();

}  // namespace fm
