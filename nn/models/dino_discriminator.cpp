#include "nn/models/dino_discriminator.h"

#include <cmath>

#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/linear.h"

namespace fm {
namespace {

constexpr double token_norm_eps = 1e-6;
constexpr std::int64_t wide_kernel = 9;

Var leaky(const Var& x) { return maximum(x, x * 0.2); }

Var normed(const GroupNorm& norm, const Var& x) { return leaky(norm(x)); }

}  // namespace

std::vector<std::int64_t> blocks_of_maps(std::int64_t depth) {
  std::vector<std::int64_t> blocks{depth - 1};
  for (std::int64_t quarter = 1; quarter <= 4; ++quarter)
    if (const std::int64_t block = (quarter * depth + 3) / 4 - 1; blocks.size() == 1 || block != blocks.back()) blocks.push_back(block);
  return blocks;
}

std::vector<Var> maps_of(const std::vector<Var>& tokens) {
  std::vector<Var> maps;
  for (const Var& t : tokens) maps.push_back(transpose(t, 1, 2));
  return maps;
}

DiscriminatorHead::DiscriminatorHead(std::int64_t width)
    : first(width, width, 1),
      wide(width, width, wide_kernel),
      last(width, 1, 1),
      first_norm(width, width, token_norm_eps),
      wide_norm(width, width, token_norm_eps) {}

void DiscriminatorHead::iterate() {
  for (SpectralConv1d* layer : {&first, &wide, &last}) layer->iterate();
}

Var DiscriminatorHead::operator()(const Var& map) const {
  const Var h = normed(first_norm, first(map));
  const Var scores = last((normed(wide_norm, wide(h)) + h) * (1 / std::sqrt(2.0)));
  return reshape(scores, {scores.dim(0), scores.dim(2)});
}

DinoDiscriminator::DinoDiscriminator(std::int64_t width, std::int64_t maps, std::uint64_t seed) {
  for (std::int64_t i = 0; i < maps; ++i) heads.emplace_back(width);
  reset_parameters(*this, seed);
}

void DinoDiscriminator::iterate() {
  for (DiscriminatorHead& head : heads) head.iterate();
}

Var DinoDiscriminator::operator()(const std::vector<Var>& maps) const {
  if (maps.size() != heads.size())
    throw ShapeError("DinoDiscriminator: " + std::to_string(maps.size()) + " maps for " + std::to_string(heads.size()) + " heads");
  std::vector<Var> scores;
  for (std::size_t i = 0; i < heads.size(); ++i) {
    const ModulePath path("heads." + std::to_string(i));
    scores.push_back(heads[i](maps[i]));
  }
  return concat(scores, 1);
}

}  // namespace fm
