#include "nn/layers/patch.h"

#include "autodiff/rules/linear.h"

namespace fm {

namespace {

Var patchify_sequence(const Var& x, std::int64_t p) {
  if (x.dim(2) % p != 0)
    throw ShapeError("patchify: " + to_string(x.shape()) + " is not a (B,C,L) whose L is a multiple of the patch size " + std::to_string(p));
  const std::int64_t b = x.dim(0), c = x.dim(1), n = x.dim(2) / p;
  if (p == 1) return transpose(x, 1, 2);
  return reshape(transpose(reshape(x, {b, c, n, p}), 1, 2), {b, n, c * p});
}

}  // namespace

Var patchify(const Var& image, std::int64_t p) {
  if (image.rank() == 3) return patchify_sequence(image, p);
  if (image.rank() != 4 || image.dim(2) % p != 0 || image.dim(3) % p != 0)
    throw ShapeError("patchify: " + to_string(image.shape()) + " is not a (B,C,H,W) whose H and W are multiples of the patch size " +
                     std::to_string(p));
  const std::int64_t b = image.dim(0), c = image.dim(1), rows = image.dim(2) / p, columns = image.dim(3) / p;
  if (p == 1) return transpose(reshape(image, {b, c, rows * columns}), 1, 2);
  const Var cut = permute(reshape(image, {b, c, rows, p, columns, p}), {0, 2, 4, 1, 3, 5});
  return reshape(cut, {b, rows * columns, c * p * p});
}

Var unpatchify(const Var& tokens, std::int64_t rows, std::int64_t columns, std::int64_t p) {
  if (tokens.rank() != 3 || tokens.dim(1) != rows * columns || tokens.dim(2) % (p * p) != 0)
    throw ShapeError("unpatchify: tokens " + to_string(tokens.shape()) + " do not fill " + std::to_string(rows) + " x " +
                     std::to_string(columns) + " patches of " + std::to_string(p) + " x " + std::to_string(p));
  const std::int64_t b = tokens.dim(0), c = tokens.dim(2) / (p * p);
  if (p == 1) return reshape(transpose(tokens, 1, 2), {b, c, rows, columns});
  const Var placed = permute(reshape(tokens, {b, rows, columns, p, p, c}), {0, 5, 1, 3, 2, 4});
  return reshape(placed, {b, c, rows * p, columns * p});
}

Var unpatchify(const Var& tokens, std::int64_t length, std::int64_t p) {
  if (tokens.rank() != 3 || tokens.dim(1) != length || tokens.dim(2) % p != 0)
    throw ShapeError("unpatchify: tokens " + to_string(tokens.shape()) + " do not fill " + std::to_string(length) + " patches of " + std::to_string(p));
  const std::int64_t b = tokens.dim(0), c = tokens.dim(2) / p;
  if (p == 1) return transpose(tokens, 1, 2);
  return reshape(permute(reshape(tokens, {b, length, p, c}), {0, 3, 1, 2}), {b, c, length * p});
}

Var PatchEmbed::project(const Var& tokens, DType result) const {
  const Shape& w = weight.value.shape();
  if (tokens.rank() != 3 || tokens.dim(2) * w[0] != w.numel())
    throw ShapeError("patch embedding: tokens of shape " + to_string(tokens.shape()) + " do not fit the weight " + to_string(w) + ", in " +
                     ModulePath::current());
  return linear(tokens, reshape(weight, {w[0], -1}), bias, result);
}

}  // namespace fm
