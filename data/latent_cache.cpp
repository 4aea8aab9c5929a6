#include "data/latent_cache.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "tensor/error.h"
#include "tensor/io/atomic_file.h"
#include "tensor/io/crc32c.h"
#include "tensor/io/file_text.h"
#include "tensor/io/system_error.h"
#include "tensor/narrow.h"

namespace fm {
namespace fs = std::filesystem;
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* format_name = "flowmap latents";
constexpr int format_version = 1;

fs::path index_file(const fs::path& folder) { return folder / "index.json"; }
fs::path shard_file(const fs::path& folder, std::int64_t number) { return folder / fmt::format("latents-{:05}.safetensors", number); }
fs::path stats_file(const fs::path& folder) { return folder / "stats.safetensors"; }

std::string labels_checksum(const std::vector<std::int64_t>& labels) {
  return fmt::format("{:08x}", crc32c({reinterpret_cast<const char*>(labels.data()), labels.size() * sizeof(std::int64_t)}));
}

// Everything that must be equal to continue a cache.
Json identity(const LatentCacheInfo& i) {
  return {{"encoder", i.encoder},
          {"preprocessing", i.preprocessing},
          {"data", i.data},
          {"given", i.given},
          {"image_size", i.image_size},
          {"channels", i.channels},
          {"count", i.labels.size()},
          {"labels", labels_checksum(i.labels)},
          {"class_names", i.class_names},
          {"latent", std::vector<std::int64_t>(i.latent.begin(), i.latent.end())},
          {"dtype", name_of(i.dtype)},
          {"mirrored", i.mirrored},
          {"shard_size", i.shard_size}};
}

struct Index {
  LatentCacheInfo info;  // labels: zeros, of the right number
  Json identity;
  std::vector<LatentShard> finished;
};

Index parse_index(const std::string& text) {
  const Json json = Json::parse(text);
  if (json.at("format") != format_name || json.at("version") != format_version) throw FileError("another format or version");
  Index index;
  index.identity = json.at("of");
  const Json& of = index.identity;
  LatentCacheInfo& info = index.info;
  info.encoder = of.at("encoder"), info.preprocessing = of.at("preprocessing"), info.data = of.at("data");
  info.given = of.value("given", std::string());
  info.image_size = of.at("image_size"), info.channels = of.at("channels");
  info.class_names = of.at("class_names").get<std::vector<std::string>>();
  for (const Json& d : of.at("latent")) info.latent.push_back(d.get<std::int64_t>());
  info.dtype = of.at("dtype") == name_of(DType::f32) ? DType::f32 : DType::bf16;
  info.mirrored = of.at("mirrored");
  info.shard_size = of.at("shard_size");
  const std::int64_t count = of.at("count");
  if (info.latent.rank() != 3 || info.shard_size < 1 || count < 1 || count > std::int64_t{1} << 32) throw FileError("sizes out of range");
  info.labels.resize(static_cast<std::size_t>(count));
  for (const Json& s : json.at("shards"))
    index.finished.push_back({s.at("number"), s.at("first"), s.at("count"), s.at("bytes"),
                              narrow<std::uint32_t>(std::stoul(s.at("crc32c").get<std::string>(), nullptr, 16), "crc32c")});
  return index;
}

std::optional<Index> read_index(const fs::path& folder) {
  const fs::path file = index_file(folder);
  if (!fs::exists(file)) return std::nullopt;
  const std::string text = read_file(file);
  try {
    return parse_index(text);
  } catch (const std::exception& e) {
    throw FileError(fmt::format("{}: not an index of latents ({}): make the cache again in another folder", file.string(), one_line(e.what(), 200)));
  }
}

std::vector<LatentShard> cut(std::int64_t count, std::int64_t size) {
  std::vector<LatentShard> shards;
  for (std::int64_t first = 0; first < count; first += size)
    shards.push_back({static_cast<std::int64_t>(shards.size()), first, std::min(size, count - first)});
  return shards;
}

// The first difference: encoder "1a2b3c4d" instead of "5e6f7a8b". Empty if there is none.
std::string difference(const Json& before, const Json& now) {
  for (const auto& [key, value] : now.items()) {
    const Json absent = key == "given" ? Json("") : Json();            // caches of versions without given latents lack the key
    const Json old = before.contains(key) ? before.at(key) : absent;
    if (old == value) continue;
    return value.is_array() ? fmt::format("other {}", key) : fmt::format("{} {} instead of {}", key, one_line(old.dump()), value.dump());
  }
  return {};
}

bool intact(const fs::path& file, const LatentShard& s) {
  try {
    const FileSum sum = sum_of_file(file);
    return sum.size == static_cast<std::uint64_t>(s.bytes) && sum.crc == s.crc32c;
  } catch (const SystemFileError& e) {
    if (e.is_missing()) return false;
    throw;                             // the file may be intact: do not replace it
  }
}

}  // namespace

LatentCacheWriter::LatentCacheWriter(fs::path folder, LatentCacheInfo info, const Report& warn)
    : folder_(std::move(folder)),
      info_(std::move(info)),
      shards_(cut(static_cast<std::int64_t>(info_.labels.size()), info_.shard_size)),
      done_(shards_.size()) {
  std::error_code error;
  fs::create_directories(folder_, error);
  if (error) throw ConfigError(fmt::format("{}: cannot create the folder for latents: {}", folder_.string(), error.message()));
  remove_stale_temporaries(folder_);
  const std::optional<Index> before = read_index(folder_);
  if (!before) {
    write_index();
    return;
  }
  if (const std::string what = difference(before->identity, identity(info_)); !what.empty())
    throw ConfigError(fmt::format("{}: holds latents with {}: choose another folder, or remove this one", folder_.string(), what));
  bool damaged = false;
  for (const LatentShard& s : before->finished) {
    const auto i = static_cast<std::size_t>(s.number);
    if (i >= shards_.size()) continue;
    done_[i] = s.first == shards_[i].first && s.count == shards_[i].count && intact(file(s.number), s);
    if (done_[i]) {
      shards_[i] = s;
      continue;
    }
    damaged = true;
    warn(fmt::format("{}: missing or damaged (size or checksum): encoded again", file(s.number).string()));
  }
  if (damaged) write_index();  // if this process is killed, the index must not list the damaged shards as finished
}

fs::path LatentCacheWriter::file(std::int64_t shard) const { return shard_file(folder_, shard); }

std::vector<LatentShard> LatentCacheWriter::missing() const {
  std::vector<LatentShard> list;
  for (std::size_t i = 0; i < shards_.size(); ++i)
    if (!done_[i]) list.push_back(shards_[i]);
  return list;
}

std::int64_t LatentCacheWriter::finished() const { return std::count(done_.begin(), done_.end(), true); }

void LatentCacheWriter::write(const LatentShard& shard, const Tensor& latents, const Tensor& mirrored, const Moments& moments) {
  const auto begin = info_.labels.begin() + shard.first;
  NamedTensors tensors = moments.state();
  tensors.emplace_back("labels", Tensor::from(std::vector<std::int64_t>(begin, begin + shard.count), {shard.count}));
  tensors.emplace_back("latents", latents.to(info_.dtype));
  if (info_.mirrored) tensors.emplace_back("mirrored", mirrored.to(info_.dtype));
  LatentShard& s = shards_.at(static_cast<std::size_t>(shard.number));
  s.crc32c = save_safetensors(file(shard.number), tensors, {{"encoder", info_.encoder}, {"first", std::to_string(shard.first)}});
  s.bytes = fs::file_size(file(shard.number));
  done_[static_cast<std::size_t>(shard.number)] = true;
  write_index();
}

void LatentCacheWriter::write_index() const {
  Json shards = Json::array();
  for (std::size_t i = 0; i < shards_.size(); ++i) {
    const LatentShard& s = shards_[i];
    if (done_[i])
      shards.push_back(
          {{"number", s.number}, {"first", s.first}, {"count", s.count}, {"bytes", s.bytes}, {"crc32c", fmt::format("{:08x}", s.crc32c)}});
  }
  const Json json{{"format", format_name}, {"version", format_version}, {"of", identity(info_)}, {"shards", shards}};
  write_atomically(index_file(folder_), json.dump(1) + "\n");
}

void LatentCacheWriter::finish() {
  if (finished() != static_cast<std::int64_t>(shards_.size())) throw Error(fmt::format("{}: some shards are missing: write those of missing() before finish()", folder_.string()));
  Moments all(info_.latent);
  for (const LatentShard& s : shards_) {
    const Safetensors stored(file(s.number));
    all.add(Moments::from_state(stored["count"], stored["sum"], stored["square_sum"]));
  }
  save_safetensors(stats_file(folder_), {{"mean", all.mean().to(DType::f32)}, {"var", all.variance().to(DType::f32)}},
                   {{"data", info_.data},
                    {"count", std::to_string(all.count())},
                    {"encoder", info_.encoder},
                    {"mirrored", info_.mirrored ? "yes" : "no"}});
}

std::optional<LatentCacheInfo> LatentCache::read_info(const fs::path& folder) {
  auto index = read_index(folder);
  if (!index) return std::nullopt;
  index->info.labels.clear();
  return index->info;
}

bool LatentCache::is_finished(const fs::path& folder) {
  const auto index = read_index(folder);
  return index && index->finished.size() == cut(static_cast<std::int64_t>(index->info.labels.size()), index->info.shard_size).size() &&
         fs::exists(stats_file(folder));
}

LatentCache::LatentCache(const fs::path& folder) {
  const std::optional<Index> index = read_index(folder);
  if (!index) throw FileError(fmt::format("{}: no latents (index.json is missing): make them with `flowmap_train encode`", folder.string()));
  info_ = index->info;
  const std::vector<LatentShard> wanted = cut(count(), info_.shard_size);
  if (!is_finished(folder))
    throw FileError(fmt::format("{}: {} of {} shards are made: finish them with `flowmap_train encode`", folder.string(),
                                index->finished.size(), wanted.size()));
  for (const LatentShard& s : wanted) {
    const fs::path file = shard_file(folder, s.number);
    const Safetensors stored(file);
    const auto tensor = [&](const char* name) {
      Tensor t = stored[name];
      const Shape shape{s.count, info_.latent[0], info_.latent[1], info_.latent[2]};
      if (t.shape() != shape || t.dtype() != info_.dtype)
        throw FileError(fmt::format("{}: {} is {} {}, the index says {} {}", file.string(), name, name_of(t.dtype()), to_string(t.shape()),
                                    name_of(info_.dtype), to_string(shape)));
      return t;
    };
    shards_.push_back({tensor("latents"), info_.mirrored ? tensor("mirrored") : Tensor()});
    const std::vector<std::int64_t> labels = stored["labels"].to_vector<std::int64_t>();
    if (static_cast<std::int64_t>(labels.size()) != s.count)
      throw FileError(fmt::format("{}: has {} labels, but the index says {} latents: make the cache again", file.string(), labels.size(), s.count));
    std::copy(labels.begin(), labels.end(), info_.labels.begin() + s.first);
  }
  if (labels_checksum(info_.labels) != index->identity.at("labels"))
    throw FileError(fmt::format("{}: the labels in the shards differ from those in the index: make the cache again", folder.string()));
  const Safetensors stats(stats_file(folder));
  mean_ = stats["mean"].clone(), variance_ = stats["var"].clone();
}

void LatentCache::read(std::int64_t picture, bool mirrored, float* out) const {
  if (mirrored && !info_.mirrored)
    throw ConfigError("the cached latents are of unmirrored images only: encode them with latents.flip = true, or train with latents.flip = false");
  const Shard& shard = shards_[static_cast<std::size_t>(picture / info_.shard_size)];
  const Tensor& from = mirrored ? shard.mirrored : shard.latents;
  const std::int64_t size = info_.latent.numel(), at = picture % info_.shard_size * size;
  if (info_.dtype == DType::f32)
    std::copy_n(from.data<float>() + at, size, out);
  else
    std::copy_n(from.data<bf16>() + at, size, out);
}

}  // namespace fm
