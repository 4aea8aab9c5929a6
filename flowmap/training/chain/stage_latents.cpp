// The latents of the training set (in memory, in files or encoded during training) and their statistics (mfrae 1.2, 10).
#include "data/report/numbers.h"
#include "flowmap/training/chain/training_run.h"
#include "flowmap/training/move_aside.h"
#include "flowmap/training/vae_space.h"
#include "nn/models/published_weights.h"
#include "nn/training/ranks.h"
#include "tensor/io/atomic_file.h"
#include "tensor/io/crc32c.h"
#include "tensor/io/folder_lock.h"
#include "tensor/narrow.h"
#include "tensor/parallel.h"

namespace fm {
namespace {

// Identifies the encoder to which a cache of latents belongs: the checksum of its weights, or the space's name if it has no weights.
std::string encoder_of(const LatentCoder& coder) { return coder.encoder ? coder.encoder().front().second : coder.name; }

// Warns if the scale of the samples, which are not normalized, is far from that of noise: mean 0 and variance 1.
void warn_of_scale(const Tensor& samples, Messages& log) {
  const Tensor few = samples.slice(0, 0, std::min<std::int64_t>(samples.dim(0), 65536)).to(DType::f64);
  const double m = mean(few).item(), variance = mean(square(few - m)).item();
  if (std::abs(m) > 1 || variance < 0.1 || variance > 10)
    log.warning("samples have mean {:.3g} and variance {:.3g}; noise has 0 and 1: set identity.normalize = true, or scale the data", m, variance);
}

// Warns if the noise that comes with the samples does not have mean 0 and variance 1, as the noise from which samplers begin. Allows deviations of 0.1,
// for noise that a solver found from the samples, plus 5 standard errors for chance.
void warn_of_noise(const Tensor& noise, Messages& log) {
  const Tensor few = noise.slice(0, 0, std::min<std::int64_t>(noise.dim(0), 65536)).to(DType::f64);
  const double m = mean(few).item(), variance = mean(square(few - m)).item(), n = static_cast<double>(few.numel());
  if (!(std::abs(m) < 0.1 + 5 / std::sqrt(n)) || !(std::abs(variance - 1) < 0.1 + 5 * std::sqrt(2 / n)))
    log.warning("the noise that comes with the samples has mean {:.3g} and variance {:.3g}; samplers begin from noise with mean 0 and variance 1, which this training does not "
                "use: scale the noise array", m, variance);
}

// Checksum of the first and the last latent, which tells other latents under the same name.
std::uint32_t some_of(const StoredLatents& given, SecondHalf second) {
  const std::int64_t size = given.shape().numel();
  std::vector<float> values(static_cast<std::size_t>(2 * size));
  given.read(0, second, values.data()), given.read(given.count() - 1, second, values.data() + size);
  return crc32c({reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)});
}

}  // namespace

// Returns the function that reports progress of encoding, as RunContext::progress.
std::function<void(std::int64_t)> TrainingRun::encoding_progress(std::int64_t total) {
  if (context_.progress) return context_.progress("encoding", total);
  return [](std::int64_t) {};
}

const LatentSet& TrainingRun::latents() {
  if (latents_.raw.values.defined()) return latents_;
  const std::int64_t count = pictures()->count();
  const LatentCoder coder = run_space().coder();
  if (!coder.encode) {
    latents_ = samples_as_latents(*pictures());
    if (!recipe_.identity.normalize) warn_of_scale(latents_.raw.values, context_.log);
    if (latents_.noise.defined()) warn_of_noise(latents_.noise, context_.log);
    return latents_;
  }
  const auto progress = encoding_progress(count);
  LatentSet set;
  set.labels = Tensor::empty({count}, DType::i64, Device{});
  encode_pictures(coder, pictures(), recipe_.latents, 0, count, [&](std::int64_t first, const LatentSet& block) {
    const std::int64_t end = first + block.raw.values.dim(0);
    const auto keep = [&](const RawLatents& from, RawLatents& to) {
      if (!from.values.defined()) return;
      if (!to.values.defined()) to.values = Tensor::empty(from.values.shape().with(0, count), DType::f32, Device{});
      to.values.slice(0, first, end).copy_from(from.values);
    };
    keep(block.raw, set.raw);
    keep(block.mirrored, set.mirrored);
    set.labels.slice(0, first, end).copy_from(block.labels);
    progress(end);
  });
  context_.log.end_status();
  latents_ = std::move(set);
  context_.log.info("latents: {} images of {}, {}{}", count, to_string(coder.stored()),
                    bytes_text(static_cast<double>(latents_.raw.values.bytes())),
                    recipe_.latents.flip ? " and as much for mirrored ones" : "");
  return latents_;
}

std::filesystem::path TrainingRun::latents_folder() const {
  return recipe_.latents.folder.empty() ? root_ / "latents" : std::filesystem::path(recipe_.latents.folder);
}

SecondHalf TrainingRun::second_half() const { return recipe_.latents.given_form == "deviation" ? SecondHalf::deviation : SecondHalf::log_variance; }

const StoredLatents& TrainingRun::given_latents() {
  if (!given_latents_) given_latents_ = open_stored_latents(recipe_.latents.given);
  return *given_latents_;
}

void TrainingRun::check_given_latents(const LatentCoder& coder) const {
  const std::string& given = recipe_.latents.given;
  if (recipe_.latents.flip) throw ConfigError(fmt::format("latents.given {}: it has no latents of mirrored images: set latents.flip = false", given));
  const StoredLatents& stored = *given_latents_;
  if (stored.shape() != coder.stored())
    throw ConfigError(fmt::format("{}: latents of {}, but those of this run's autoencoder are {}: change image_size, or give other latents", given,
                                  to_string(stored.shape()), to_string(coder.stored())));
  for (std::int64_t i = 0; i < stored.count(); ++i)
    if (const std::int64_t label = stored.labels()[static_cast<std::size_t>(i)]; label < 0 || label >= recipe_.classes)
      throw ConfigError(fmt::format("{}: latent {} has the label {}, but classes = {} allows 0 to {}: set classes to the number of labels", given, i, label, recipe_.classes,
                                    recipe_.classes - 1));
}

// Facts about the cache that follow from the images, or from the given latents.
void TrainingRun::describe_samples(LatentCacheInfo& info) {
  if (recipe_.latents.given.empty()) {
    const SampleSource& source = *pictures();
    info.class_names = source.class_names();
    for (std::int64_t i = 0; i < source.count(); ++i) info.labels.push_back(source.label(i));
    return;
  }
  info.given = fmt::format("{}, {}, {:08x}", recipe_.latents.given, recipe_.latents.given_form, some_of(given_latents(), second_half()));
  info.labels = given_latents().labels();
  info.class_names = given_latents().class_names();
  if (std::ssize(info.class_names) == recipe_.classes) return;
  info.class_names.clear();
  for (std::int64_t i = 0; i < recipe_.classes; ++i) info.class_names.push_back(std::to_string(i));
}

LatentCacheInfo TrainingRun::cache_info() {
  LatentCacheInfo info;
  const LatentCoder coder = run_space().coder();
  if (!recipe_.latents.given.empty()) given_latents(), check_given_latents(coder);
  info.encoder = encoder_of(coder);
  info.preprocessing = coder.preprocessing;
  info.data = recipe_.data;
  info.image_size = recipe_.image_size, info.channels = recipe_.channels;
  describe_samples(info);
  info.latent = coder.stored();
  info.dtype = recipe_.latents.dtype == "f32" ? DType::f32 : DType::bf16;
  info.mirrored = recipe_.latents.flip;
  info.shard_size = recipe_.latents.shard;
  return info;
}

void TrainingRun::encode_latents() {
  refuse_init_from(stage_name::encode);
  if (!recipe_.class_token_weights.empty() && !context_.launch.fresh) check_class_tokens(0);
  context_.ranks.only_first([&] { fill_cache(); });
  if (recipe_.class_token_weights.empty()) return;
  context_.ranks.only_first([&] {
    if (const auto tokens = class_tokens_folder(); context_.launch.fresh && std::filesystem::exists(tokens)) move_aside(tokens, context_.log);
    fill_class_tokens();
  });
}

void TrainingRun::read_given(std::int64_t first, std::int64_t count, const std::function<void(std::int64_t, const LatentSet&)>& block) {
  const StoredLatents& given = given_latents();
  const SecondHalf second = second_half();
  const Shape row = given.shape();
  for (std::int64_t i = first; i < first + count; i += recipe_.latents.batch) {
    const std::int64_t n = std::min(recipe_.latents.batch, first + count - i);
    LatentSet set{{Tensor::empty(row.rows(n), DType::f32, Device{})}, {}, Tensor::empty({n}, DType::i64, Device{})};
    parallel_for(n, row.numel(), [&](std::int64_t k) { given.read(i + k, second, set.raw.values.data<float>() + k * row.numel()); });
    for (std::int64_t k = 0; k < n; ++k) set.labels.data<std::int64_t>()[k] = given.labels()[static_cast<std::size_t>(i + k)];
    block(i, set);
  }
}

void TrainingRun::fill_cache() {
  const std::filesystem::path folder = latents_folder();
  if (context_.launch.fresh && std::filesystem::exists(folder)) move_aside(folder, context_.log);
  const LatentCacheInfo info = cache_info();
  const LatentCoder coder = run_space().coder();
  fill_cache(folder, info, [&](std::int64_t first, std::int64_t count, const auto& block) {
    if (recipe_.latents.given.empty()) encode_pictures(coder, pictures(), recipe_.latents, first, count, block);
    else read_given(first, count, block);
  });
  context_.log.info("{}: {} images of {} in {}{}, {}", folder.string(), info.labels.size(), to_string(info.latent), name_of(info.dtype),
                    info.mirrored ? ", mirrored too" : "", info.given.empty() ? "encoder " + info.encoder : "from " + info.given);
}

void TrainingRun::fill_cache(const std::filesystem::path& folder, const LatentCacheInfo& info, const ReadLatents& read) {
  const auto count = static_cast<std::int64_t>(info.labels.size());
  std::filesystem::create_directories(folder);
  const FolderLock lock(folder, "--out");
  // Before the writer, which stores the form in the cache's index: the same folder must accept the form that an error names.
  if (!info.given.empty()) given_latents().check_form(second_half());
  LatentCacheWriter writer(folder, info, warner());
  const std::vector<LatentShard> missing = writer.missing();
  if (writer.finished() > 0)
    context_.log.info("{}: {} shards are intact, {} are missing", folder.string(), writer.finished(), missing.size());
  std::int64_t done = count;
  for (const LatentShard& s : missing) done -= s.count;
  const auto progress = encoding_progress(count);
  for (const LatentShard& s : missing) {
    const Shape all = info.latent.rows(s.count);
    const Tensor latents = Tensor::empty(all, info.dtype, Device{}), mirrored = info.mirrored ? Tensor::empty(all, info.dtype, Device{}) : Tensor();
    Moments moments(info.latent);
    const auto keep = [&](std::int64_t i, const LatentSet& block) {
      const std::int64_t begin = i - s.first, end = begin + block.raw.values.dim(0);
      latents.slice(0, begin, end).copy_from(block.raw.values);
      moments.add(block.raw.values);
      if (info.mirrored) mirrored.slice(0, begin, end).copy_from(block.mirrored.values);
      if (info.mirrored) moments.add(block.mirrored.values);
      progress(done += end - begin);
    };
    read(s.first, s.count, keep);
    writer.write(s, latents, mirrored, moments);
  }
  context_.log.end_status();
  writer.finish();
}

// Refuses a cache whose latents are of other data. Compares the data's name and, if the images are available, their number, labels and class names. A
// cache can be used without images.
void TrainingRun::check_data_of(const LatentCacheInfo& info, const std::filesystem::path& folder) {
  const std::string where = folder.string(), other = "encode the images into another folder (--latents-folder)";
  if (info.data != recipe_.data)
    throw ConfigError(fmt::format("{}: holds latents of {}, but this run's data is {}: give the data of the latents as --data, or {}; if the same images "
                                  "were moved, change \"data\" in its index.json", where, info.data, recipe_.data, other));
  try {
    pictures();
  } catch (const FileError& e) {
    context_.log.info("{}: not compared with its images, which are not available ({})", where, e.what());
    return;
  }
  const SampleSource& now = *pictures();
  const auto count = static_cast<std::int64_t>(info.labels.size());
  if (now.count() != count)
    throw ConfigError(fmt::format("{}: holds latents of {} images, but {} has {} now: {}", where, count, recipe_.data, now.count(), other));
  for (std::size_t i = 0; i < info.class_names.size(); ++i)
    if (info.class_names[i] != now.class_names()[i])
      throw ConfigError(fmt::format("{}: class {} was named '{}' when these latents were made, but {} now names it '{}': {}", where, i, info.class_names[i],
                                    recipe_.data, now.class_names()[i], other));
  for (std::int64_t i = 0; i < count; ++i)
    if (info.labels[static_cast<std::size_t>(i)] != now.label(i))
      throw ConfigError(fmt::format("{}: image {} was of class {} when these latents were made, but in {} it is now of class {}: {}", where, i,
                                    info.labels[static_cast<std::size_t>(i)], recipe_.data, now.label(i), other));
}

std::unique_ptr<LatentSource> TrainingRun::cached_latents() {
  const auto cache = std::make_shared<const LatentCache>(latents_folder());
  const LatentCacheInfo& info = cache->info();
  const LatentCoder coder = run_space().coder();
  const std::string encoder = encoder_of(coder), where = latents_folder().string();
  if (info.encoder != encoder || info.preprocessing != coder.preprocessing)
    throw ConfigError(
        fmt::format("{}: latents of encoder {} ({}), but this run's encoder is {} ({}): give the encoder of the latents, or encode into another folder", where,
                    info.encoder, info.preprocessing, encoder, coder.preprocessing));
  if (info.latent != coder.stored() || static_cast<std::int64_t>(info.class_names.size()) != recipe_.classes)
    throw ConfigError(fmt::format("{}: latents of {} in {} classes; the config says {} and classes {}: change the config, or encode into another folder", where,
                                  to_string(info.latent), info.class_names.size(), to_string(coder.stored()), recipe_.classes));
  if (info.mirrored != recipe_.latents.flip)
    throw ConfigError(fmt::format("{}: holds latents {} mirrored images; set latents.flip = {}, or encode into another folder", where,
                                  info.mirrored ? "also of" : "without", info.mirrored));
  check_data_of(info, where);
  context_.log.info("latents: {} images of {} in {}{}, from {}", cache->count(), to_string(info.latent), name_of(info.dtype),
                    info.mirrored ? ", mirrored too" : "", where);
  return latents_in_files(cache, recipe_.latents.workers);
}

LatentSource& TrainingRun::latent_source() {
  if (source_) return *source_;
  const std::string& from = recipe_.latents.from;
  if (from == "cache")
    source_ = cached_latents();
  else if (from == "images")
    source_ = latents_of_pictures(run_space().coder(), pictures(), recipe_.latents, encoding_progress(pictures()->count()));
  else
    source_ = latents_in_memory(latents());
  return *source_;
}

Batch TrainingRun::flow_batch(const StepPart& part, std::int64_t batch, std::uint64_t seed) {
  if (!latents_ahead_ || seed != ahead_seed_) {
    latents_ahead_ = std::make_unique<BatchAhead<LatentSet>>(
        [this, seed](std::int64_t first, std::int64_t n, std::int64_t next) { return take_latents(seed, first, n, next); });
    ahead_seed_ = seed;
    batch_space_ = space();
  }
  const LatentSet here = latents_ahead_->take(part.step * batch + part.first, part.count, part.next);
  const Draws draws{seed, narrow<std::uint32_t>(part.step, "step"), consecutive(part.first, part.count)};
  return {batch_space_.sampled(here.raw, draws), recipe_.conditional ? here.labels : Labels(), draws, here.noise, here.beside};
}

Checksums TrainingRun::sources_of_latents() {
  const LatentSpace here = space();
  Checksums out = here.coder().encoder ? here.coder().encoder() : Checksums{{"data", fingerprint(*pictures())}};
  if (here.statistics().defined()) out.emplace_back("statistics", checksum(here.statistics()));
  return out;
}

LatentStats TrainingRun::given_stats() {
  LatentStats given = load_stats(recipe_.stats_file, warner());
  const Shape latent = recipe_.latent_shape();
  if (given.variance.shape() != latent)
    throw FileError(fmt::format("{}: statistics of latents {}, but this recipe's latents are {}: give statistics for its encoder and image_size, or set "
                                "stats_file = \"\" so that the run computes them",
                                recipe_.stats_file, to_string(given.variance.shape()), to_string(latent)));
  return given;
}

std::string TrainingRun::data_checksum() {
  if (recipe_.latents.from == "images") return fingerprint(*pictures());
  if (recipe_.latents.from == "cache") return fmt::format("{:08x}", crc32c(read_file(latents_folder() / "index.json")));
  const LatentSet& set = latents();
  NamedTensors tensors{{"latents", set.raw.values}, {"labels", set.labels}};
  if (set.mirrored.values.defined()) tensors.emplace_back("mirrored", set.mirrored.values);
  if (set.noise.defined()) tensors.emplace_back("noise", set.noise);
  return checksum(tensors);
}

// Sets stats_, from recipe.stats_file or from out/stats.safetensors. out/stats.safetensors is computed if it is missing or belongs to another encoder (after
// encoder --fresh, or with other encoder_weights).
void TrainingRun::prepare_stats() {
  if (const LatentStats given = run_space().given_statistics(); given.defined()) {
    stats_ = {given.mean.to(default_device()), given.variance.to(default_device())};
    return;
  }
  if (!space_of(recipe_).uses(recipe_, Makes::statistics)) return;
  if (!recipe_.stats_file.empty()) {
    stats_ = given_stats();
    return;
  }
  const auto file = root_ / "stats.safetensors";
  // All ranks load the latents here, not only the first one, which computes the statistics: each rank needs the latents soon.
  if (!context_.ranks.alone() && recipe_.latents.from == "memory" && !std::filesystem::exists(file)) latent_source();
  context_.ranks.only_first([&] { compute_stats(file); });
  const Safetensors stored(file);
  stats_ = {stored["mean"].clone().to(default_device()), stored["var"].clone().to(default_device())};
  check_stats(stats_, file.string());
}

// Refuses statistics of other data than the run's. Programs that only read a run use the statistics of its training with any data.
void TrainingRun::check_data_of_stats(const std::filesystem::path& file) const {
  const Metadata stored = Safetensors(file).metadata();
  const auto data = stored.find("data");
  if (only_reads() || data == stored.end() || data->second == recipe_.data) return;
  throw ConfigError(fmt::format("{}: mean and variance of the latents of {}, but this run's data is {}: train on this data in another --out, or remove "
                                "the file so that the run computes it again", file.string(), data->second, recipe_.data));
}

void TrainingRun::compute_stats(const std::filesystem::path& file) {
  const LatentCoder coder = run_space().coder();
  Metadata wanted{{"mirrored", recipe_.latents.flip ? "yes" : "no"}};
  if (coder.encoder)
    for (const auto& [part, sum] : coder.encoder()) wanted[part] = sum;
  else if (!only_reads()) wanted["samples"] = fingerprint(*pictures());      // without weights, latents depend on the data alone
  const auto belongs = [&](const Metadata& m) {
    return std::all_of(wanted.begin(), wanted.end(),
                       [&](const auto& entry) { return m.contains(entry.first) && m.at(entry.first) == entry.second; });
  };
  const bool found = std::filesystem::exists(file), there = found && belongs(Safetensors(file).metadata());
  if (there || (found && !coder.encoder)) check_data_of_stats(file);
  if (!there && !coder.encoder) {
    if (found)
      throw ConfigError(fmt::format("{}: mean and variance of other samples than those that {} contains now: train on the new samples in another --out, or remove "
                                    "the file and train again", file.string(), recipe_.data));
    if (only_reads())
      throw FileError(fmt::format("{} is missing: mean and variance of the samples that this run was trained on; `flowmap_train stats` computes it", file.string()));
  }
  if (!there) {
    LatentStats s = coder.encode ? latent_source().statistics() : statistics_of(latents().raw.values);
    if (coder.posterior) s = scaling_of_posteriors(s);
    context_.log.end_status();
    Metadata metadata = wanted;
    metadata["data"] = recipe_.data, metadata["count"] = std::to_string(latent_source().count());
    remove_stale_temporaries_of(file);           // left by a process that was killed
    std::filesystem::create_directories(root_);  // `stats` or `fm` may be the first stage of a run whose encoder is given
    save_safetensors(file, {{"mean", s.mean}, {"var", s.variance}}, metadata);
    context_.log.info("stats: mean and variance of the latents of {} images in {}", latent_source().count(), file.string());
  }
}

}  // namespace fm
