// Shapes and strides: up to eight dimensions, in place (no allocation).
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>

namespace fm {

inline constexpr int max_rank = 8;

class Shape {
 public:
  Shape() = default;
  Shape(std::initializer_list<std::int64_t> dims);
  static Shape filled(int rank, std::int64_t value);

  int rank() const { return rank_; }
  std::int64_t operator[](int i) const { return dims_[static_cast<std::size_t>(i)]; }
  std::int64_t& operator[](int i) { return dims_[static_cast<std::size_t>(i)]; }
  const std::int64_t* begin() const { return dims_.data(); }
  const std::int64_t* end() const { return dims_.data() + rank_; }
  std::int64_t back() const { return dims_[static_cast<std::size_t>(rank_ - 1)]; }

  std::int64_t numel() const;           // ShapeError if the product of the dimensions other than 0 is 2^63 or more (strides are such products)
  void push_back(std::int64_t d);       // throws ShapeError beyond max_rank
  Shape without(int i) const;           // the shape with dimension i left out
  Shape with(int i, std::int64_t d) const;
  Shape rows(std::int64_t n) const;     // the shape of n rows of this shape: n, then its dimensions
  bool operator==(const Shape& other) const;

 private:
  std::array<std::int64_t, max_rank> dims_{};
  int rank_ = 0;
};

using Strides = Shape;                  // in elements; a stride of 0 repeats an element

Strides row_major_strides(const Shape& shape);
Shape broadcast_shapes(const Shape& a, const Shape& b, const char* op);   // NumPy's rule; ShapeError names op and both shapes
std::string to_string(const Shape& shape);                                // "[2, 196, 384]"
int normalise_dim(int dim, int rank, const char* op);                     // -1 stands for the last dimension; ShapeError names op

}  // namespace fm
