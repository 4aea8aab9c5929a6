// Features of published networks, whose distances can be compared with published numbers:
//
//   inception:FILE   FID's Inception (nn/models/inception.h)             vectors: pool3 (2048), also spatial and logits     tf1, half-pixel or clean
//   dinov2:FILE      FD-DINOv2's network (nn/models/dinov2_features.h)   vectors: class token (384, 768 or 1024)            pillow
//
// The last column is the preparation of images, which is part of the convention: see nn/models/inception_input.h, and prepare_for_dinov2 below. The
// fingerprint of the features is "KIND PREPARATION CHECKSUM".
//
// `see` takes images (n,1,H,W) or (n,3,H,W) in [0,1]; a grey channel is repeated. Pixels are rounded to 8 bits, with which all these conventions begin. Refused
// are other shapes (ShapeError) and values outside of [0,1] or not finite (Error with the number of the image). Images pass the network in groups of 16, so
// memory stays bounded.
#pragma once

#include <memory>
#include <string>

#include "flowmap/training/features.h"
#include "nn/checkpoint.h"
#include "nn/models/dinov2_features.h"
#include "nn/models/inception.h"
#include "nn/models/inception_input.h"

namespace fm {

Features inception_features(std::shared_ptr<const Inception> net, InceptionInput input);
Features dinov2_features(std::shared_ptr<const Dinov2Features> net);

// "inception:FILE" in parts. Without a colon the file is empty.
struct FeaturesText {
  std::string network, file;
};
FeaturesText parse_features(const std::string& text);
std::string to_text(const FeaturesText& features);

// Whether the text has one of the forms above.
bool names_published_features(const std::string& text);

// Loads the network that the text names. An empty preparation is the usual one: tf1 for Inception, pillow for DINOv2. ConfigError for another form or
// preparation, FileError for a file that cannot be used.
Features open_published_features(const std::string& text, const std::string& preparation, const Warn& warn);

// RGB images (N,3,H,W) u8 -> (N,3,224,224) f32, the input of DINOv2: resized by Pillow's bicubic filter in 8 bits, without keeping proportions, then
// (x/255 - mean)/deviation of ImageNet. ShapeError or DTypeError for other images.
Tensor prepare_for_dinov2(const Tensor& images);

}  // namespace fm
