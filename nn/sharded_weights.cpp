#include "nn/sharded_weights.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "tensor/error.h"
#include "tensor/io/atomic_file.h"
#include "tensor/io/file_text.h"

namespace fm {
namespace {

namespace fs = std::filesystem;
using WeightMap = std::map<std::string, std::string>;

WeightMap read_index(const fs::path& index) {
  const auto fail = [&](const std::string& why) { throw FileError(fmt::format("{}: {}", index.string(), why)); };
  WeightMap map;
  try {
    const auto json = nlohmann::json::parse(read_file(index));
    if (!json.is_object() || !json.contains("weight_map")) fail("not an index of shards: the member weight_map is missing");
    map = json["weight_map"].get<WeightMap>();
  } catch (const nlohmann::json::exception& e) {
    fail(fmt::format("not an index of shards: {}", one_line(e.what(), 200)));
  }
  if (map.empty()) fail("the index names no tensors");
  for (const auto& [name, shard] : map)
    if (shard.empty() || fs::path(shard).filename() != fs::path(shard)) 
      fail(fmt::format("{} is in {}: a shard must be a file in the folder of the index", in_quotes(name), in_quotes(shard)));
  return map;
}

}  // namespace

FileTensors load_sharded(const fs::path& index) {
  const WeightMap map = read_index(index);
  struct Shard {
    std::map<std::string, Tensor> tensors;
    std::map<std::string, std::string> unread;
  };
  std::map<std::string, Shard> shards;
  std::set<std::string> absent;
  for (const auto& [name, file] : map) {
    if (shards.contains(file)) continue;
    if (!fs::exists(index.parent_path() / file)) {
      absent.insert(one_line(file));
      continue;
    }
    FileTensors read = read_tensors(index.parent_path() / file);
    Shard& shard = shards[file];
    for (auto& [name_there, t] : read.tensors) shard.tensors.emplace(name_there, t);
    for (auto& [name_there, why] : read.unread) shard.unread.emplace(name_there, why);
  }
  if (!absent.empty()) throw FileError(fmt::format("{}: shards are missing beside it: {}", index.string(), fmt::join(absent, ", ")));
  FileTensors out;
  for (const auto& [name, file] : map) {
    const Shard& shard = shards.at(file);
    if (const auto found = shard.tensors.find(name); found != shard.tensors.end())
      out.tensors.emplace_back(name, found->second);
    else if (const auto unread = shard.unread.find(name); unread != shard.unread.end())
      out.unread.push_back({name, unread->second});
    else
      absent.insert(fmt::format("{} ({})", one_line(name), one_line(file)));
  }
  if (!absent.empty()) throw FileError(fmt::format("{}: its shards do not hold the tensors {}", index.string(), fmt::join(absent, ", ")));
  return out;
}

}  // namespace fm
