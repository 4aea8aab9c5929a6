// Reads the published weights of FID's Inception, and folds its batch norms into the convolutions:
//
//   a = gamma / sqrt(variance + 0.001)         W' = a W         b' = beta - mean a         (in f64, then rounded to the type of the model)
//
// A file has the tensors P.conv.weight, P.bn.{weight, bias, running_mean, running_var} of 94 convolutions P, fc.weight and fc.bias: 472, or 566 with the
// counters P.bn.num_batches_tracked, which are ignored, as is AuxLogits. Prefixes of wrappers are removed. Facts: evaluation.md 1.1, 6.2.
#pragma once

#include <string>

#include "nn/checkpoint.h"
#include "nn/models/inception.h"

namespace fm {

// The published files, for messages: their names, and the first digits of the sha256 of the first two, which are the same bytes.
std::string inception_file_text();

// Makes the network from the tensors of a published file. `type`: f32 or f64. FileError for missing, unexpected or differently shaped tensors, which it
// lists, for a negative variance, and for other Inceptions, which it names: torchvision's (1000 classes) and those under TensorFlow's names.
Inception inception_from(const NamedTensors& published, DType type = DType::f32);

// Loads a file that load_weights can read (nn/checkpoint.h). FileError names the file and, if it is missing or of another format (TensorFlow's .pb,
// NVIDIA's .pt and .pkl), the published files that can be read.
Inception load_inception(const std::string& where, const Warn& warn, DType type = DType::f32);

}  // namespace fm
