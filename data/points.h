// Sets of points in the plane, computed without files: the smallest data on which a flow can be trained and plotted. Sample number i is a pure
// function of (name, seed, i). It does not depend on the points that were read before, or on the number of threads.
//
//   8gaussians    eight modes at angles k pi/4 and radius sqrt 2, deviation 0.1                       label: the mode, k = 0 .. 7
//   checkerboard  uniform on 8 of the 4 x 4 cells of [-sqrt 3, sqrt 3]^2                              label: the cell, 0 .. 7
//   spiral        radius 2 sqrt(q), angle 3 pi sqrt(q), q uniform in [0, 1); deviation 0.05           label: 0, the one arm
//   moons         two half circles, each axis scaled, deviation 0.05                                  label: 0 the upper, 1 the lower
//
// Both coordinates have variance 1: exactly for checkerboard and moons, to 1 % for 8gaussians (1.01), to 4 % for the spiral. So noise N(0, 1)
// and data have the same scale, which the linear path assumes.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "data/data_spec.h"
#include "data/source.h"
#include "tensor/tensor.h"

namespace fm {

struct PointsOptions {
  std::string name = "8gaussians";
  std::int64_t count = 0;                // points of the split; 0: 2,097,152 for training (8,192 steps of 256), 10,000 for the test
  std::uint64_t seed = 1;
};

// One split of such a set: samples f32 (2). Training points have the numbers 0, 1, ..., test points start at 2^40: no point is in both.
class Points : public SampleSource {
 public:
  // ConfigError for an unknown name (it lists the known ones) and for a count outside 1 .. 2^40.
  Points(const PointsOptions& options, Split split);

  std::string name() const override;                                          // "points:moons"
  std::int64_t count() const override { return count_; }
  Shape shape() const override { return {2}; }
  DType dtype() const override { return DType::f32; }
  const std::vector<std::string>& class_names() const override { return class_names_; }
  std::int32_t label(std::int64_t index) const override;
  void read(std::int64_t index, const PhiloxBlock& random, void* out) const override;      // Error if the index is out of range

  // Points samples[0], samples[1], ... as rows (n, 2) f32, and their labels (n) i64. A number wraps around at count(), so a
  // training can pass the sample numbers of any step. Error for a negative number.
  Tensor rows(const std::vector<std::int64_t>& samples) const;
  Tensor labels(const std::vector<std::int64_t>& samples) const;

 private:
  struct Draw;
  Draw draw(std::int64_t index) const;
  std::size_t kind_;
  std::int64_t count_, first_;
  std::uint64_t seed_;
  std::vector<std::string> class_names_;
};

std::vector<std::string> point_sets();                                        // their names, in the order above

// "points:NAME?count=N,seed=N" (kinds.h). ConfigError for an unknown name, or none.
std::shared_ptr<const SampleSource> open_points(DataSpec& spec, Split split);
std::vector<std::string> point_class_names(const DataSpec& spec);

// The centers of 8gaussians, in the order of labels, and the deviation of each coordinate around a center.
std::vector<std::array<double, 2>> eight_gaussians_centres();
inline constexpr double eight_gaussians_deviation = 0.1;

}  // namespace fm
