// Prepares images for the Inception of FID (nn/models/inception.h): resizes them to 299x299 and moves them to the network's range. Published numbers
// use different preparations, and feature statistics of two preparations cannot be compared, so every number is stored with the name of its own.
//
//   name         resize to 299x299                                                                       then           used by
//   tf1          bilinear of TensorFlow 1: output i is at input position i in/299                        (x-128)/128    ADM, torch-fidelity, EDM
//   half-pixel   x/255, then bilinear: output i is at input position (i + 1/2) in/299 - 1/2              2x - 1         pytorch-fid
//   clean        bicubic of Pillow on floats: antialiased, a = -1/2, clipped to [0, 255], not rounded    (x-128)/128    clean-fid
//
// tf1 and half-pixel compute in f32, in the order of TensorFlow and PyTorch; clean sums in f64 and rounds to f32 after each pass, as Pillow does.
// Images of side 299 are resized by the identity. Facts: evaluation.md 1.3.
#pragma once

#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace fm {

enum class InceptionInput { tf1, half_pixel, clean };

std::string name_of(InceptionInput input);
std::vector<std::string> inception_input_names();                 // tf1, half-pixel, clean
InceptionInput inception_input(const std::string& name);          // ConfigError for another name

// RGB images (N,3,H,W), u8 or f32 with values in 0..255 -> (N,3,299,299) f32 on the default device. ShapeError or DTypeError for other images. The result
// of an image does not depend on the other images.
Tensor prepare_for_inception(const Tensor& images, InceptionInput input);

}  // namespace fm
