// The class tokens of the training images, which a REG as the teacher takes beside the latents (sdvae-sit.md 2.5, reading A). They are encoded once, into a
// cache of their own (data/latent_cache.h), in the order of the latents and mirrored like them, so that both are read by the same row numbers.
//
// Tokens and latents must be of the same pixels. The cache's index holds the fingerprint of the images, which is compared where the images are available.
#include "flowmap/training/chain/training_run.h"
#include "nn/models/published_weights.h"
#include "nn/training/ranks.h"
#include "tensor/narrow.h"

namespace fm {
namespace {

constexpr const char* before_fingerprint = ", images ";

// Class tokens and latents of the same rows. ConfigError if they are of different images.
void add_tokens(LatentSet& set, const LatentSet& tokens, const std::filesystem::path& folder) {
  const auto same = [&] { return set.labels.to_vector<std::int64_t>() == tokens.labels.to_vector<std::int64_t>(); };
  if (!same()) throw ConfigError(fmt::format("{}: class tokens of other images than the latents: remove this folder, so that they are encoded again", folder.string()));
  const Tensor& values = tokens.raw.values;
  set.beside = values.reshape({values.dim(0), values.dim(1)});
}

}  // namespace

bool TrainingRun::has_joint_teacher() {
  const std::string& file = recipe_.teacher_weights;
  return !file.empty() && std::filesystem::exists(weights_and_part(file).first) && load_teacher().beside() > 0;
}

std::filesystem::path TrainingRun::class_tokens_folder() const {
  const std::filesystem::path latents = (latents_folder() / "").parent_path();            // without a slash at the end
  return latents.string() + "_class_tokens";
}

LatentCoder TrainingRun::class_token_coder() {
  const std::string& file = recipe_.class_token_weights;
  if (file.empty())
    throw ConfigError(fmt::format("{}: a REG, whose velocity takes the class token of DINOv2 of an image beside its latent: set class_token_weights to DINOv2's file, "
                                  "dinov2_vitb14_pretrain.pth, or give a SiT or REPA as the teacher", recipe_.teacher_weights));
  const LatentCoder coder = fm::class_token_coder(load_class_token_encoder(file, warner()));
  class_tokens_id_ = fmt::format("{} {}", coder.encoder().front().second, coder.preprocessing), class_token_numbers_ = coder.shape[0];
  return coder;
}

const std::string& TrainingRun::class_tokens_id() {
  if (class_tokens_id_.empty()) class_token_coder();
  return class_tokens_id_;
}

void TrainingRun::check_class_tokens(std::int64_t numbers) {
  class_tokens_id();                                       // loads the network once a run, to know what it is
  if (const std::int64_t found = class_token_numbers_; numbers > 0 && found != numbers)
    throw ConfigError(fmt::format("class_token_weights {}: class tokens of {} numbers, but those of the teacher {} have {}: give {}", recipe_.class_token_weights, found,
                                  recipe_.teacher_weights, numbers, numbers == 768 ? "dinov2_vitb14_pretrain.pth" : "the DINOv2 that the teacher was trained with"));
  if (!space_of(recipe_).pictures)
    throw ConfigError(fmt::format("class_token_weights: class tokens are of images, and space = \"{}\" has none: give a teacher without a class token", recipe_.space));
  constexpr std::int64_t larger = 512;         // REG's code resizes to 224 (image_size div 256) pixels, and its positions likewise
  if (recipe_.image_size >= larger)
    throw ConfigError(fmt::format("class_token_weights: REG takes the class tokens of images of {} pixels from a larger grid than 16 x 16 patches, which is not built: "
                                  "give a teacher without a class token, or images below {} pixels", recipe_.image_size, larger));
  refuse_latents_of_other_pixels();
  if (LatentCache::is_finished(class_tokens_folder())) check_class_tokens_of(LatentCache(class_tokens_folder()).info());
}

// Refuses latents that a token cannot be paired with: of another program, whose order and crops are unknown, and of crops that change with each visit.
void TrainingRun::refuse_latents_of_other_pixels() {
  std::string given = recipe_.latents.given;
  if (const auto cached = recipe_.latents.from == "cache" ? LatentCache::read_info(latents_folder()) : std::nullopt; cached && given.empty()) given = cached->given;
  if (!given.empty())
    throw ConfigError(fmt::format("latents of another program ({}): the teacher takes the class token of the image of each latent, and the images of these are unknown: encode "
                                  "the images of the data set into another folder (--latents-folder), or give a teacher without a class token", given));
  if (recipe_.latents.from == "images" && pictures()->is_random())
    throw ConfigError(fmt::format("{}: each visit sees another crop of an image, and class tokens are encoded once: choose a fixed crop, or latents.from = \"cache\", whose latents "
                                  "are of one crop", recipe_.data));
}

// Refuses tokens that were made otherwise, or of other images.
void TrainingRun::check_class_tokens_of(const LatentCacheInfo& info) {
  const std::string where = class_tokens_folder().string();
  const std::size_t end = info.preprocessing.find(before_fingerprint);
  const std::string id = fmt::format("{} {}", info.encoder, info.preprocessing.substr(0, end)), remedy = "remove this folder, so that they are encoded again";
  if (id != class_tokens_id()) throw ConfigError(fmt::format("{}: class tokens {}, but this run's are {}: {}", where, id, class_tokens_id(), remedy));
  if (info.mirrored != recipe_.latents.flip)
    throw ConfigError(fmt::format("{}: class tokens {} mirrored images, but latents.flip = {}: {}", where, info.mirrored ? "also of" : "without", recipe_.latents.flip, remedy));
  check_data_of(info, where);
  if (pictures_ == nullptr) return;                        // not available: check_data_of() has said so
  if (const std::string now = before_fingerprint + fingerprint(*pictures_); end == std::string::npos || info.preprocessing.substr(end) != now)
    throw ConfigError(fmt::format("{}: class tokens of other images than {} holds now: {}", where, recipe_.data, remedy));
}

LatentCacheInfo TrainingRun::class_tokens_info(const LatentCoder& coder) {
  LatentCacheInfo info;
  info.encoder = coder.encoder().front().second;
  info.preprocessing = coder.preprocessing + before_fingerprint + fingerprint(*pictures());
  info.data = recipe_.data;
  info.image_size = recipe_.image_size, info.channels = recipe_.channels;
  describe_samples(info);
  info.latent = coder.shape;
  info.dtype = DType::f32;
  info.mirrored = recipe_.latents.flip;
  info.shard_size = recipe_.latents.shard;
  return info;
}

void TrainingRun::fill_class_tokens() {
  const std::filesystem::path folder = class_tokens_folder();
  const LatentCoder coder = class_token_coder();
  const LatentCacheInfo info = class_tokens_info(coder);
  fill_cache(folder, info, [&](std::int64_t first, std::int64_t count, const auto& block) {
    encode_pictures(coder, pictures(), recipe_.latents, first, count, block);
  });
  context_.log.info("{}: class tokens of {} images{}, {} of {}", folder.string(), info.labels.size(), info.mirrored ? ", mirrored too" : "", coder.preprocessing, info.encoder);
}

double TrainingRun::class_token_bytes() {
  constexpr double of_base = 768 * sizeof(float);          // the published size
  if (recipe_.class_token_weights.empty() || LatentCache::is_finished(class_tokens_folder())) return 0;
  return static_cast<double>(pictures()->count()) * of_base * (recipe_.latents.flip ? 2 : 1);
}

void TrainingRun::open_class_tokens(std::int64_t numbers) {
  if (class_tokens_) return;
  check_class_tokens(numbers);
  const std::filesystem::path folder = class_tokens_folder();
  context_.ranks.only_first([&] {
    if (!LatentCache::is_finished(folder)) fill_class_tokens();
  });
  const auto cache = std::make_shared<const LatentCache>(folder);
  if (cache->count() != latent_source().count())
    throw ConfigError(fmt::format("{}: class tokens of {} images, but there are latents of {}: remove this folder, so that they are encoded again",
                                  folder.string(), cache->count(), latent_source().count()));
  class_tokens_ = latents_in_files(cache, recipe_.latents.workers);
  latents_ahead_.reset();
}

LatentSet TrainingRun::take_latents(std::uint64_t seed, std::int64_t first, std::int64_t n, std::int64_t next) {
  LatentSet set = latent_source().take(seed, first, n, next);
  if (class_tokens_) add_tokens(set, class_tokens_->take(seed, first, n, next), class_tokens_folder());
  return set;
}

}  // namespace fm
