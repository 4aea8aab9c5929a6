// The class tokens of the training images, which a REG as the teacher takes beside the latents (sdvae-sit.md 2.5, reading A). They are encoded once, into a
// cache of their own (data/latent_cache.h), in the order of the latents and mirrored like them, so that both are read by the same row numbers.
#include "flowmap/training/chain/training_run.h"
#include "nn/training/ranks.h"
#include "tensor/narrow.h"

namespace fm {
namespace {

// Class tokens and latents of the same rows. ConfigError if they are of different images.
void add_tokens(LatentSet& set, const LatentSet& tokens, const std::filesystem::path& folder) {
  const auto same = [&] { return set.labels.to_vector<std::int64_t>() == tokens.labels.to_vector<std::int64_t>(); };
  if (!same()) throw ConfigError(fmt::format("{}: class tokens of other images than the latents: remove this folder, so that they are encoded again", folder.string()));
  const Tensor& values = tokens.raw.values;
  set.beside = values.reshape({values.dim(0), values.dim(1)});
}

}  // namespace

std::filesystem::path TrainingRun::class_tokens_folder() const {
  const std::filesystem::path latents = (latents_folder() / "").parent_path();            // without a slash at the end
  return latents.string() + "_class_tokens";
}

LatentCoder TrainingRun::class_token_coder() {
  const std::string& file = recipe_.class_token_weights;
  if (file.empty())
    throw ConfigError(fmt::format("{}: a REG, whose velocity takes the class token of DINOv2 of an image beside its latent: set class_token_weights to DINOv2's file, "
                                  "dinov2_vitb14_pretrain.pth, or give a SiT or REPA as the teacher", recipe_.teacher_weights));
  if (!class_token_encoder_) class_token_encoder_ = load_class_token_encoder(file, warner());
  return fm::class_token_coder(class_token_encoder_);
}

void TrainingRun::check_class_tokens(std::int64_t numbers) {
  const LatentCoder coder = class_token_coder();
  if (const std::int64_t found = coder.shape[0]; found != numbers)
    throw ConfigError(fmt::format("class_token_weights {}: class tokens of {} numbers, but those of the teacher {} have {}: give {}", recipe_.class_token_weights, found,
                                  recipe_.teacher_weights, numbers, numbers == 768 ? "dinov2_vitb14_pretrain.pth" : "the DINOv2 that the teacher was trained with"));
  if (!space_of(recipe_).pictures)
    throw ConfigError(fmt::format("class_token_weights: class tokens are of images, and space = \"{}\" has none: give a teacher without a class token", recipe_.space));
  if (!recipe_.latents.given.empty())
    throw ConfigError(fmt::format("latents.given {}: the teacher takes the class token of each image, and given latents have no images: set latents.given = \"\" and encode the "
                                  "images of the data set, or give a teacher without a class token", recipe_.latents.given));
  constexpr std::int64_t larger = 512;         // REG's code resizes to 224 (image_size div 256) pixels, and its positions likewise
  if (recipe_.image_size >= larger)
    throw ConfigError(fmt::format("class_token_weights: REG takes the class tokens of images of {} pixels from a larger grid than 16 x 16 patches, which is not built: "
                                  "give a teacher without a class token, or images below {} pixels", recipe_.image_size, larger));
}

LatentCacheInfo TrainingRun::class_tokens_info(const LatentCoder& coder) {
  LatentCacheInfo info;
  info.encoder = coder.encoder().front().second;
  info.preprocessing = coder.preprocessing;
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

void TrainingRun::open_class_tokens(std::int64_t numbers) {
  if (class_tokens_) return;
  check_class_tokens(numbers);
  const std::filesystem::path folder = class_tokens_folder();
  const LatentCoder coder = class_token_coder();
  const auto is_whole = [&] {
    const auto info = LatentCache::is_finished(folder) ? LatentCache::read_info(folder) : std::nullopt;
    return info && info->encoder == coder.encoder().front().second && info->mirrored == recipe_.latents.flip;
  };
  context_.ranks.only_first([&] {
    if (!is_whole()) fill_class_tokens();
  });
  const auto cache = std::make_shared<const LatentCache>(folder);
  check_data_of(cache->info(), folder);
  if (cache->count() != latent_source().count())
    throw ConfigError(fmt::format("{}: class tokens of {} images, but there are latents of {}: remove this folder, so that they are encoded again",
                                  folder.string(), cache->count(), latent_source().count()));
  class_tokens_ = latents_in_files(cache, recipe_.latents.workers);
  class_token_encoder_.reset();                            // training reads the cache only
  latents_ahead_.reset();
}

LatentSet TrainingRun::take_latents(std::uint64_t seed, std::int64_t first, std::int64_t n, std::int64_t next) {
  LatentSet set = latent_source().take(seed, first, n, next);
  if (class_tokens_) add_tokens(set, class_tokens_->take(seed, first, n, next), class_tokens_folder());
  return set;
}

}  // namespace fm
