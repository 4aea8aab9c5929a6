#include "flowmap/training/diff_augment.h"

#include <cmath>

#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/linear.h"
#include "tensor/narrow.h"

namespace fm {
namespace {

constexpr double largest_shift = 0.125;          // share of the side

std::int64_t shift_from(double uniform, std::int64_t side) {
  const std::int64_t most = std::llround(largest_shift * static_cast<double>(side));
  return static_cast<std::int64_t>(uniform * static_cast<double>(2 * most + 1)) - most;
}

// Moves each image along dimension 2 of (B, C, H, W): row i + by[b] comes to row i, and rows from outside are zeros.
Var moved(const Var& x, const std::vector<std::int64_t>& by) {
  const std::int64_t b = x.dim(0), c = x.dim(1), h = x.dim(2), zeros = b * c * h;
  std::vector<std::int64_t> from;
  for (std::int64_t n = 0; n < b; ++n)
    for (std::int64_t channel = 0; channel < c; ++channel)
      for (std::int64_t i = 0; i < h; ++i) {
        const std::int64_t row = i + by[static_cast<std::size_t>(n)];
        from.push_back(row >= 0 && row < h ? (n * c + channel) * h + row : zeros);
      }
  const Var rows = pad(reshape(x, {zeros, x.dim(3)}), 0, 0, 1);
  return reshape(gather(rows, Tensor::from(from, {zeros}).to(x.value().device())), x.shape());
}

Var translated(const Var& x, const Augmentations& changes) {
  std::vector<std::int64_t> dy, dx;
  for (const Augmentation& a : changes.rows) dy.push_back(a.dy), dx.push_back(a.dx);
  return transpose(moved(transpose(moved(x, dy), 2, 3), dx), 2, 3);
}

// Returns one number for each image, as (B, 1, 1, 1).
Tensor per_image(const Augmentations& changes, double Augmentation::*member, const Tensor& like) {
  std::vector<double> values;
  for (const Augmentation& a : changes.rows) values.push_back(a.*member);
  return Tensor::from(values, {like.dim(0), 1, 1, 1}).to(like.dtype()).to(like.device());
}

Var recolored(const Var& images, const Augmentations& changes) {
  const auto numbers = [&](double Augmentation::*member) { return per_image(changes, member, images.value()); };
  Var x = images + numbers(&Augmentation::brightness);
  Var m = mean(x, {1}, true);
  x = (x - m) * numbers(&Augmentation::saturation) + m;
  m = mean(x, {1, 2, 3}, true);
  return (x - m) * numbers(&Augmentation::contrast) + m;
}

}  // namespace

Augmentations draw_augmentations(const Draws& draws, Augmented kind, double probability, std::int64_t height, std::int64_t width) {
  const std::uint32_t first = 8 * narrow<std::uint32_t>(static_cast<std::int64_t>(kind), "kind of augmented images");
  const auto happens = [&](std::uint32_t i) { return draws.shared(Purpose::augmentation, first + i) < probability; };
  Augmentations out{happens(5), happens(6), {}};
  for (std::size_t row = 0; row < draws.rows(); ++row) {
    const auto uniform = [&](std::uint32_t i) { return draws.uniform(Purpose::augmentation, row, first + i); };
    out.rows.push_back({shift_from(uniform(0), height), shift_from(uniform(1), width), uniform(2) - 0.5, 2 * uniform(3), uniform(4) + 0.5});
  }
  return out;
}

Var augmented(const Var& images, const Augmentations& changes) {
  if (images.rank() != 4 || images.dim(0) != static_cast<std::int64_t>(changes.rows.size()))
    throw ShapeError("augmented: images have shape " + to_string(images.shape()) + ", but there are changes for " + std::to_string(changes.rows.size()) +
                     " images (B, C, H, W)");
  const Var x = changes.moves ? translated(images, changes) : images;
  return changes.colors ? recolored(x, changes) : x;
}

}  // namespace fm
