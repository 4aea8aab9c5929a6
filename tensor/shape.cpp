#include "tensor/shape.h"

#include <algorithm>

#include "tensor/error.h"

namespace fm {

Shape::Shape(std::initializer_list<std::int64_t> dims) {
  for (std::int64_t d : dims) push_back(d);
}

Shape Shape::filled(int rank, std::int64_t value) {
  Shape s;
  for (int i = 0; i < rank; ++i) s.push_back(value);
  return s;
}

std::int64_t Shape::numel() const {
  std::int64_t n = 1;
  bool empty = false, fits = true;
  for (std::int64_t d : *this) {
    empty = empty || d == 0;
    fits = !__builtin_mul_overflow(n, d == 0 ? 1 : d, &n) && fits;
  }
  if (!fits) throw ShapeError("shape " + to_string(*this) + ": the product of its dimensions exceeds 2^63 - 1");
  return empty ? 0 : n;
}

void Shape::push_back(std::int64_t d) {
  if (rank_ == max_rank) throw ShapeError("a tensor has at most 8 dimensions");
  dims_[static_cast<std::size_t>(rank_++)] = d;
}

Shape Shape::without(int skip) const {
  Shape s;
  for (int i = 0; i < rank_; ++i)
    if (i != skip) s.push_back((*this)[i]);
  return s;
}

Shape Shape::with(int i, std::int64_t d) const {
  Shape s = *this;
  s[i] = d;
  return s;
}

Shape Shape::rows(std::int64_t n) const {
  Shape s{n};
  for (const std::int64_t d : *this) s.push_back(d);
  return s;
}

bool Shape::operator==(const Shape& other) const { return rank_ == other.rank_ && std::equal(begin(), end(), other.begin()); }

Strides row_major_strides(const Shape& shape) {
  Strides strides = Shape::filled(shape.rank(), 1);
  for (int i = shape.rank() - 2; i >= 0; --i) strides[i] = strides[i + 1] * shape[i + 1];
  return strides;
}

Shape broadcast_shapes(const Shape& a, const Shape& b, const char* op) {
  const int rank = std::max(a.rank(), b.rank());
  Shape out = Shape::filled(rank, 1);
  for (int i = 0; i < rank; ++i) {
    const int ia = i - (rank - a.rank()), ib = i - (rank - b.rank());
    const std::int64_t da = ia < 0 ? 1 : a[ia], db = ib < 0 ? 1 : b[ib];
    if (da != db && da != 1 && db != 1)
      throw ShapeError(std::string(op) + ": shapes " + to_string(a) + " and " + to_string(b) + " do not broadcast: dimension " +
                       std::to_string(i) + " is " + std::to_string(da) + " against " + std::to_string(db));
    out[i] = da == 1 ? db : da;
  }
  return out;
}

std::string to_string(const Shape& shape) {
  std::string s = "[";
  for (int i = 0; i < shape.rank(); ++i) s += (i ? ", " : "") + std::to_string(shape[i]);
  return s + "]";
}

int normalise_dim(int dim, int rank, const char* op) {
  const int d = dim < 0 ? dim + rank : dim;
  if (d < 0 || d >= rank)
    throw ShapeError(std::string(op) + ": there is no dimension " + std::to_string(dim) + " in a tensor of rank " + std::to_string(rank));
  return d;
}

}  // namespace fm
