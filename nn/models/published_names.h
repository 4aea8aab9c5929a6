// Translates the names of tensors in published files to the names in our modules.
//
//   file                                                names in it                                  part            becomes
//   Hugging Face Dinov2WithRegisters                    embeddings.cls_token, encoder.layer.0. ...   encoder         the same
//   Hugging Face Siglip (SigLIP 2)                      vision_model.encoder.layers.0. ...           encoder         without "vision_model.", no head
//   Hugging Face ViTMAE                                 vit.encoder.layer.0. ...                     encoder         without "vit."
//   Meta's DINOv2 .pth                                  cls_token, blocks.0.attn.qkv. ...            encoder         Hugging Face's; qkv cut in three
//   RAE autoencoder                                     encoder.encoder. ..., decoder. ...           encoder         without "encoder.encoder.", or
//                                                       (SigLIP 2, MAE: encoder.model. ...)                          "encoder.model."
//                                                                                                    decoder         without "decoder."
//   RAE decoder (model.pt), DiT^DH (stage2_model.pt)    decoder_embed., blocks.0.attn.qkv. ...       decoder, dit    the same
//   AutoencoderKL of diffusers, old or new              encoder.down_blocks.0.resnets.0. ...         vae             new ones: autoencoder_kl_names.h
//   CompVis' autoencoder or Stable Diffusion            [first_stage_model.]encoder.down.0. ...      vae             likewise
//   DiT, SiT, REPA                                      x_embedder.proj., blocks.0.attn.qkv. ...     sit             the same, no "projectors."
//   REG                                                 the same and cls_projectors2., wg_norm.      sit             the same, no "projectors."
//   MeanFlow in PyTorch                                 the same and r_embedder. or h_embedder.      sit             the same, with r_embedder.
//   MeanFlow in Flax                                    ema_params/net/x_embedder/proj/kernel ...    sit             likewise: flax_dit_names.h
//
// First, the prefixes of wrappers are removed: "module." (data parallel) and "_orig_mod." (torch.compile).
// Sources: mfrae.md 1.3, 1.4, 2, 2.1, 4.8; sdvae-sit.md 2.2, 2.5, 3.1; for prefixes that mfrae.md does not give, the released code.
#pragma once

#include <string>

#include "tensor/io/safetensors.h"

namespace fm {

// The parts of published files.
namespace weights_part {
inline constexpr const char *encoder = "encoder", *decoder = "decoder", *dit = "dit", *vae = "vae", *sit = "sit";
}

enum class Layout { hugging_face_dino, hugging_face_siglip, hugging_face_mae, meta_dino, rae, rae_decoder, dit_dh, dit, flax_dit, diffusers_vae, compvis_vae, other };
const char* name_of(Layout layout);

// Finds the layout of a file from the names of its tensors, after removing the prefixes of wrappers.
Layout layout_of(const NamedTensors& tensors);

// Returns the tensors of `part` (one of weights_part) under our names, in the file's order, as views. With part "" it returns all tensors and only
// removes the prefixes of wrappers. FileError if the file's layout has no such part.
NamedTensors to_our_names(const NamedTensors& tensors, const std::string& part);

// Returns the tensors of the encoder under our names. Without affine_norm the weight and bias of the last norm are left out, as in RAE.
NamedTensors encoder_tensors(const NamedTensors& tensors, bool affine_norm);

// Translates our names to published ones. Style "meta", for DINOv2 encoders, joins query, key and value. Style "rae", for encoders and decoders, adds
// RAE's prefix. Style "compvis" is for an AutoencoderKL. ConfigError for another style.
NamedTensors to_published_names(const NamedTensors& tensors, const std::string& style);

}  // namespace fm
