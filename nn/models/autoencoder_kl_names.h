// The names of an AutoencoderKL's tensors in published files. Ours are those of diffusers.
//
//   old diffusers files        query, key, value, proj_attn in the attention, instead of to_q, to_k, to_v, to_out.0
//   CompVis (latent-diffusion) encoder.down.0.block.0., decoder.up.3.block.0. (the lowest resolution has the largest number), mid.attn_1.q. ...;
//                              weights of the attention are 1x1 convolutions (C,C,1,1); in a Stable Diffusion file all begin with
//                              "first_stage_model."
//
// Sources: sdvae-sit.md 1.2.
#pragma once

#include "tensor/io/safetensors.h"

namespace fm {

// True if the names, without prefixes of wrappers, are those of an AutoencoderKL of diffusers (old or new), or of CompVis.
bool has_diffusers_vae_names(const NamedTensors& tensors);
bool has_compvis_vae_names(const NamedTensors& tensors);

// Returns the tensors of the autoencoder under our names, in the file's order, as views. All other tensors (other parts of Stable Diffusion, `loss.`,
// `model_ema.`) are left out. Names below the autoencoder's parts that no table has stay as they are, so that loading them fails with their name.
NamedTensors vae_tensors(const NamedTensors& tensors);

// Translates our names to CompVis', without the prefix of Stable Diffusion files.
NamedTensors to_compvis_vae(const NamedTensors& tensors);

}  // namespace fm
