#include "flowmap/training/chain/decoder_memory.h"

#include "nn/models/dino_vit.h"
#include "nn/models/lpips_weights.h"

namespace fm {
namespace {

// A lower bound of the numbers that a transformer's pass keeps: eight tensors of the tokens in each block.
std::int64_t transformer_values(std::int64_t tokens, std::int64_t width, std::int64_t depth) { return 8 * tokens * width * depth; }

bool has_lpips(const DecoderStage& c) { return c.lpips_weight > 0; }
bool has_discriminator(const DecoderStage& c) { return c.gan.weight > 0; }
bool has_dino(const DecoderStage& c) { return has_discriminator(c) && !c.gan.backbone_weights.empty(); }

Lpips lpips_of(const DecoderStage& c) { return Lpips(c.lpips_weights.empty() ? LpipsConfig{} : parse_lpips(c.lpips_weights).config); }

std::int64_t tokens(const Recipe& r) { return r.rae.decoder.latent_size * r.rae.decoder.latent_size; }

// The heads of the discriminator, one for each map of its backbone.
DinoDiscriminator discriminator_of(const Recipe& r) {
  const DinoVitConfig dino;
  const bool published = has_dino(r.decoder);
  const std::int64_t width = published ? dino.width : r.rae.encoder.width, depth = published ? dino.depth : r.rae.encoder.depth;
  return DinoDiscriminator(width, std::ssize(blocks_of_maps(depth)));
}

}  // namespace

std::int64_t values_through_encoder(const Recipe& r) { return transformer_values(tokens(r), r.rae.encoder.width, r.rae.encoder.depth); }

Beside beside_decoder(const Recipe& r) {
  const ShapesOnly shapes;
  Beside out{.frozen = parameter_count(VitEncoder(r.rae.encoder))};
  if (has_lpips(r.decoder)) out.frozen += parameter_count(lpips_of(r.decoder));
  if (has_dino(r.decoder)) out.frozen += parameter_count(DinoVit(DinoVitConfig{}));
  if (has_discriminator(r.decoder)) out.trained = parameter_count(discriminator_of(r));
  return out;
}

std::int64_t decoder_values(const Recipe& r) {
  const ShapesOnly shapes;
  std::int64_t sum = r.channels * r.image_size * r.image_size + transformer_values(tokens(r), r.rae.decoder.width, r.rae.decoder.depth);
  if (r.decoder.feature_weight > 0) sum += values_through_encoder(r);
  if (has_lpips(r.decoder)) sum += lpips_of(r.decoder).trunk.taped_numbers(r.image_size);
  const DinoVitConfig dino;
  if (has_discriminator(r.decoder)) sum += has_dino(r.decoder) ? transformer_values(dino.tokens(), dino.width, dino.depth) : values_through_encoder(r);
  return sum;
}

}  // namespace fm
