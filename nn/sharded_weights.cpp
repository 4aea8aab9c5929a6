#include "nn/sharded_weights.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "tensor/error.h"
#include "tensor/io/atomic_file.h"
#include "tensor/io/weights_file.h"

namespace fm {
namespace {

namespace fs = std::filesystem;
using WeightMap = std::map<std::string, std::string>;

WeightMap read_index(const fs::path& index) {
  const auto fail = [&](const std::string& why) { throw FileError(fmt::format("{}: {}", index.string(), why)); };
  WeightMap map;
  try {
    const auto json = nlohmann::json::parse(read_file(index));
    if (!json.is_object() || !json.contains("weight_map")) fail("no index of shards: the member weight_map is missing");
    map = json["weight_map"].get<WeightMap>();
  } catch (const nlohmann::json::exception& e) {
    fail(fmt::format("no index of shards: {}", e.what()));
  }
  if (map.empty()) fail("the index names no tensors");
  for (const auto& [name, shard] : map)
    if (shard.empty() || fs::path(shard).filename() != fs::path(shard)) fail(fmt::format("{} lies in \"{}\": want a file beside the index", name, shard));
  return map;
}

}  // namespace

NamedTensors load_sharded(const fs::path& index) {
  const WeightMap map = read_index(index);
  std::map<std::string, std::map<std::string, Tensor>> shards;
  std::vector<std::string> absent;
  for (const auto& [name, shard] : map) {
    const fs::path file = index.parent_path() / shard;
    if (shards.contains(shard)) continue;
    if (!fs::exists(file)) {
      if (absent.empty() || absent.back() != shard) absent.push_back(shard);
      continue;
    }
    auto& tensors = shards[shard];
    for (auto& [name_there, t] : read_tensors(file)) tensors.emplace(name_there, t);
  }
  std::sort(absent.begin(), absent.end());
  absent.erase(std::unique(absent.begin(), absent.end()), absent.end());
  if (!absent.empty()) throw FileError(fmt::format("{}: shards are missing beside it: {}", index.string(), fmt::join(absent, ", ")));
  NamedTensors tensors;
  for (const auto& [name, shard] : map) {
    const auto& there = shards.at(shard);
    if (const auto found = there.find(name); found != there.end()) tensors.emplace_back(name, found->second);
    else absent.push_back(fmt::format("{} ({})", name, shard));
  }
  if (!absent.empty()) throw FileError(fmt::format("{}: its shards do not hold {}", index.string(), fmt::join(absent, ", ")));
  return tensors;
}

}  // namespace fm
