// The names of MeanFlow's network in JAX and Flax (Geng et al. 2025), joined by "/", and its layouts of weights. Ours are those of PyTorch.
//
//   Flax                                                        here
//   x_embedder/proj/kernel                 (p,p,C,D)            x_embedder.proj.weight                     (D,C,p,p)
//   h_embedder/mlp/layers_0/_flax_linear/kernel  (in,out)       h_embedder.mlp.0.weight                    (out,in)
//   y_embedder/embedding_table/_flax_embedding/embedding        y_embedder.embedding_table.weight          the same
//   blocks/layers_3/adaLN_modulation/layers_1/_flax_linear/bias blocks.3.adaLN_modulation.1.bias           the same
//
// Before these names may stand "ema_params/" or "params/", the parts of a checkpoint, and "net/". There is no table of positions. Facts: sdvae-sit.md 3.1.
#pragma once

#include "tensor/io/safetensors.h"

namespace fm {

// True if the names are those of MeanFlow's Flax network.
bool has_flax_dit_names(const NamedTensors& tensors);

// Returns the network's tensors under PyTorch's names and layouts, as views, in the file's order: those of "ema_params/" if there are any, else of
// "params/". Tensors outside the network (the optimizer's) are left out. FileError for a name that the table does not have, or a kernel whose shape does
// not fit its bias.
NamedTensors flax_dit_tensors(const NamedTensors& tensors);

}  // namespace fm
