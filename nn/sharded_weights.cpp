#include "nn/sharded_weights.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "tensor/error.h"
#include "tensor/io/atomic_file.h"

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
  std::map<std::string, Safetensors> shards;
  std::vector<std::string> absent;
  for (const auto& [name, shard] : map) {
    const fs::path file = index.parent_path() / shard;
    if (shards.contains(shard)) continue;
    if (!fs::exists(file)) {
      if (absent.empty() || absent.back() != shard) absent.push_back(shard);
      continue;
    }
    shards.emplace(shard, Safetensors(file));
  }
  std::sort(absent.begin(), absent.end());
  absent.erase(std::unique(absent.begin(), absent.end()), absent.end());
  if (!absent.empty()) throw FileError(fmt::format("{}: shards are missing beside it: {}", index.string(), fmt::join(absent, ", ")));
  NamedTensors tensors;
  for (const auto& [name, shard] : map) {
    const Safetensors& file = shards.at(shard);
    if (file.has(name)) tensors.emplace_back(name, file[name]);
    else absent.push_back(fmt::format("{} ({})", name, shard));
  }
  if (!absent.empty()) throw FileError(fmt::format("{}: its shards do not hold {}", index.string(), fmt::join(absent, ", ")));
  return tensors;
}

}  // namespace fm
