// Translates the names in published files to those of our modules.
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
//
// First, the prefixes of wrappers are removed: "module." (data parallel) and "_orig_mod." (torch.compile).
// Facts: mfrae.md 1.3, 1.4, 2, 2.1, 4.8; where these leave a prefix open, the released code.
#pragma once

#include <string>

#include "tensor/io/safetensors.h"

namespace fm {

// The parts of published files.
namespace weights_part {
inline constexpr const char *encoder = "encoder", *decoder = "decoder", *dit = "dit";
}

enum class Layout { hugging_face_dino, hugging_face_siglip, hugging_face_mae, meta_dino, rae, rae_decoder, dit_dh, other };
const char* name_of(Layout layout);

// Decided by the names alone, after removing wrappers' prefixes.
Layout layout_of(const NamedTensors& tensors);

// The tensors of `part` (of weights_part; "": all, with the layout's own names) under our names, in the file's order; views of
// the given ones. FileError when the file's layout has no such part.
NamedTensors to_our_names(const NamedTensors& tensors, const std::string& part);

// The same for a whole encoder: without the last norm's weight and bias unless it has them, as RAE drops those of the published files.
NamedTensors encoder_tensors(const NamedTensors& tensors, bool affine_norm);

// The other way, for an encoder under our names: "meta" joins query, key and value (DINOv2 alone); "rae" puts RAE's prefix in front, for
// encoders and decoders. ConfigError for another style.
NamedTensors to_published_names(const NamedTensors& tensors, const std::string& style);

}  // namespace fm
