// Latents of variational autoencoders as other programs store them: the first half of the channels has the means, the second half the deviations or the
// logarithms of the variances.
//
//   FOLDER    dataset.json and one .npy file (2C, h, w) for each image, in this folder or below it (REPA, REG, EDM2: vae-sd/)
//   FILE.npz  an array (n, 2C, h, w) called "moments" or "x", and the labels "y" or "labels" (n)
//
// Both halves have the same shape, so a file does not tell what the second one is: REPA and MeanFlow's official code store deviations, MAR and the code of
// Zhu's MeanFlow log-variances. Sources: sdvae-sit.md 6.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "tensor/shape.h"

namespace fm {

enum class SecondHalf { deviation, log_variance };

class StoredLatents {
 public:
  virtual ~StoredLatents() = default;
  const Shape& shape() const { return shape_; }                     // (2C, h, w)
  std::int64_t count() const { return static_cast<std::int64_t>(labels_.size()); }
  const std::vector<std::int64_t>& labels() const { return labels_; }
  const std::vector<std::string>& class_names() const { return class_names_; }    // may be empty
  // Writes mean | deviation of one image. Log-variances are clamped to [-30, 20] first, as the autoencoder does. FileError, with the file, for a number
  // that is not finite (array_rows.h), and for a deviation that is not positive. Any thread may call it.
  void read(std::int64_t index, SecondHalf second, float* out) const;
  // Refuses log-variances without a negative number in the first latents: these are deviations, and read() would make exp(deviation / 2) of them. FileError.
  void check_form(SecondHalf second) const;

 protected:
  virtual void read_values(std::int64_t index, float* out) const = 0;
  virtual std::string place(std::int64_t index) const = 0;          // "FILE", for messages

  Shape shape_;
  std::vector<std::int64_t> labels_;
  std::vector<std::string> class_names_;
};

// FileError: neither of the two forms, no labels, shapes that are not (2C, h, w), or that differ within a folder.
std::unique_ptr<const StoredLatents> open_stored_latents(const std::filesystem::path& where);

}  // namespace fm
