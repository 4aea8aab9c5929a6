// Files of feature statistics: NumPy's .npz with mean and covariance of the features of a reference set.
//
//   mu (D), sigma (D, D)       of the features; guided-diffusion, pytorch-fid.  ref_mu, ref_sigma: the same, in files of MeanFlow
//   mu_s, sigma_s              of the spatial features (sFID); guided-diffusion
//   count, network, convention, fingerprint      of files written here: number of samples; UTF-8 texts as arrays of u8
//   arr_0                      images, which guided-diffusion's reference files also contain; they are not read here
//
// The elements are f32 or f64. Files written here can be read by guided-diffusion and pytorch-fid.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "flowmap/metrics/frechet.h"

namespace fm {

struct FeatureStatistics {
  std::optional<GaussianFit> features, spatial;   // each fit's count is the value of `count`, or 0 if that is unknown
  std::optional<std::int64_t> count;              // number of samples; none: unknown
  std::string network, convention, fingerprint;   // feature network, preparation of its input, reference set; empty: unknown
  bool has_images = false;                        // the file has arr_0
};

// Reads a .npz. Statistics are optional in a file with images. FileError names the file and the fault: a pickle (with the command that
// converts it) or other kind of file; damage; neither statistics nor images; a mean without its covariance or the reverse; shapes that
// disagree; numbers that are not finite; a negative variance; a covariance whose two halves differ by more than 1e-5 of its largest
// variance (smaller differences are averaged); a count that is not an integer above 1.
FeatureStatistics read_statistics(const std::filesystem::path& path);

// The same for a comparison with features of this network and convention: `features` has a value. FileError if the file has no statistics,
// or if it has another network or convention, which it names; an unknown one is accepted.
FeatureStatistics read_statistics_of(const std::filesystem::path& path, const std::string& network, const std::string& convention);

// Writes all that is defined, in f64, atomically. The count is `count`, or else that of `features`, if it is not 0. Error if `features` has
// no value, if the two counts differ, or for statistics that read_statistics would refuse.
void write_statistics(const std::filesystem::path& path, const FeatureStatistics& statistics);

}  // namespace fm
