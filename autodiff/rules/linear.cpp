#include "autodiff/rules/linear.h"

#include <algorithm>

#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/rows.h"

namespace fm {
namespace {

// Records y = A x as one node; `transposed` applies A^T to a Tensor.
template <class F> Var linear_node(const char* name, const Tensor& value, const Var& x, F&& transposed) {
  return record(name, value, {&x}, [transposed](const Tensor& gy, Cotangents& g) { g.add(0, transposed(gy)); });
}

// The tangent of x with all its rows.
Var full(const Var& x) { return pad_rows(x.tangent(), x.rank() ? x.dim(0) : 1); }

}  // namespace

Var reshape(const Var& x, const Shape& wanted) {
  const Shape from = x.shape(), to = resolve_shape(wanted, x.numel(), "reshape");
  const Var y = linear_node("reshape", x.value().reshape(to), x, [from](const Tensor& gy) { return gy.reshape(from); });
  if (!x.has_tangent()) return y;
  return y.with_tangent(push([&] {
    const std::int64_t rows = x.tangent_rows();
    if (rows == (x.rank() ? x.dim(0) : 1)) return reshape(x.tangent(), to);
    const bool keeps_rows = to.rank() > 0 && to[0] * rows % from[0] == 0;
    return keeps_rows ? reshape(x.tangent(), to.with(0, to[0] * rows / from[0])) : reshape(full(x), to);
  }));
}

Var permute(const Var& x, const std::vector<int>& dims) {
  std::vector<int> inverse(dims.size());
  const Tensor value = x.value().permute(dims);
  for (std::size_t i = 0; i < dims.size(); ++i)
    inverse[static_cast<std::size_t>(normalise_dim(dims[i], x.rank(), "permute"))] = static_cast<int>(i);
  const Var y = linear_node("permute", value, x, [inverse](const Tensor& gy) { return gy.permute(inverse); });
  if (!x.has_tangent()) return y;
  return y.with_tangent(push([&] { return permute(inverse.empty() || inverse[0] == 0 ? x.tangent() : full(x), dims); }));
}

Var transpose(const Var& x, int a, int b) {
  std::vector<int> dims(static_cast<std::size_t>(x.rank()));
  for (int i = 0; i < x.rank(); ++i) dims[static_cast<std::size_t>(i)] = i;
  std::swap(dims[static_cast<std::size_t>(normalise_dim(a, x.rank(), "transpose"))],
            dims[static_cast<std::size_t>(normalise_dim(b, x.rank(), "transpose"))]);
  return permute(x, dims);
}

Var unsqueeze(const Var& x, int dim) { return reshape(x, x.value().unsqueeze(dim).shape()); }

Var slice(const Var& x, int dim, std::int64_t begin, std::int64_t end) {
  const int d = normalise_dim(dim, x.rank(), "slice");
  const Var y = record("slice", x.value().slice(d, begin, end), {&x}, [=](const Tensor& gy, Cotangents& g) { g.add_slice(0, d, begin, gy); });
  if (!x.has_tangent()) return y;
  if (d != 0) return y.with_tangent(push([&] { return slice(x.tangent(), d, begin, end); }));
  const std::int64_t last = std::min(end, x.tangent_rows());
  return last <= begin ? y : y.with_tangent(push([&] { return slice(x.tangent(), 0, begin, last); }));
}

std::vector<Var> chunk(const Var& x, int parts) {
  if (parts < 1 || x.rank() == 0 || x.dim(-1) % parts != 0)
    throw ShapeError("chunk: the last dimension of " + to_string(x.shape()) + " cannot be cut into " + std::to_string(parts) + " equal parts");
  const std::int64_t width = x.dim(-1) / parts;
  std::vector<Var> out;
  for (int i = 0; i < parts; ++i) out.push_back(slice(x, -1, i * width, (i + 1) * width));
  return out;
}

Var select(const Var& x, int dim, std::int64_t index) {
  const int d = normalise_dim(dim, x.rank(), "select");
  return reshape(slice(x, d, index, index + 1), x.shape().without(d));
}

Var expand(const Var& x, const Shape& shape) {
  if (x.shape() == shape) return x;
  const Shape from = x.shape();
  const Var y = linear_node("expand", x.value().expand(shape), x, [from](const Tensor& gy) { return sum_to(gy, from); });
  if (!x.has_tangent()) return y;
  const bool rows_stay = x.rank() == shape.rank() && x.rank() > 0 && x.dim(0) == shape[0];
  return y.with_tangent(push([&] { return rows_stay ? expand(x.tangent(), shape.with(0, x.tangent_rows())) : expand(full(x), shape); }));
}

namespace {

Var concat_tangent(const std::vector<Var>& parts, int d) {
  std::int64_t rows = 0;
  for (const Var& p : parts) rows = std::max(rows, p.tangent_rows());
  std::vector<Var> tangents;
  for (const Var& p : parts) {
    const std::int64_t own = d == 0 ? p.dim(0) : rows;
    tangents.push_back(p.has_tangent() ? pad_rows(p.tangent(), own) : Var(Tensor::zeros(p.shape().with(0, own), p.dtype(), p.value().device())));
  }
  return concat(tangents, d);
}

}  // namespace

Var concat(const std::vector<Var>& parts, int dim) {
  std::vector<Tensor> values;
  for (const Var& p : parts) values.push_back(p.value());
  const Tensor value = concat(values, dim);
  const int d = normalise_dim(dim, value.rank(), "concat");
  std::vector<std::int64_t> sizes;
  for (const Var& p : parts) sizes.push_back(p.shape()[d]);
  const Var y = record("concat", value, parts, [d, sizes](const Tensor& gy, Cotangents& g) {
    std::int64_t at = 0;
    for (std::size_t i = 0; i < sizes.size(); at += sizes[i++])
      if (g.wants(i)) g.add(i, gy.slice(d, at, at + sizes[i]).contiguous());
  });
  const bool any = std::any_of(parts.begin(), parts.end(), [](const Var& p) { return p.has_tangent(); });
  return any ? y.with_tangent(push([&] { return concat_tangent(parts, d); })) : y;
}

Var pad(const Var& x, int dim, std::int64_t before, std::int64_t after) {
  const int d = normalise_dim(dim, x.rank(), "pad");
  const std::int64_t n = x.dim(d);
  const Var y = linear_node("pad", pad(x.value(), d, before, after), x, [=](const Tensor& gy) { return gy.slice(d, before, before + n).contiguous(); });
  if (!x.has_tangent()) return y;
  return y.with_tangent(push([&] { return d == 0 && before == 0 ? x.tangent() : pad(d == 0 ? full(x) : x.tangent(), d, before, after); }));
}

Var sum(const Var& x, const std::vector<int>& dims, bool keep) {
  const Shape from = x.shape();
  const Tensor value = sum(x.value(), dims, keep);
  Shape kept = from;
  for (int d : dims) kept[normalise_dim(d, from.rank(), "sum")] = 1;
  const Var y = linear_node("sum", value, x, [from, kept](const Tensor& gy) { return gy.reshape(kept).expand(from); });
  if (!x.has_tangent()) return y;
  // Rows without a tangent are zero, so a sum over rows may skip them. A sum over other dimensions keeps the rows.
  return y.with_tangent(push([&] { return sum(x.tangent(), dims, keep); }));
}

Var sum(const Var& x) {
  std::vector<int> all;
  for (int i = 0; i < x.rank(); ++i) all.push_back(i);
  return sum(x, all);
}

Var mean(const Var& x, const std::vector<int>& dims, bool keep) {
  double n = 1;
  for (int d : dims) n *= static_cast<double>(x.shape()[normalise_dim(d, x.rank(), "mean")]);
  return affine(sum(x, dims, keep), 1 / n, 0);
}

Var mean(const Var& x) { return affine(sum(x), 1 / static_cast<double>(x.numel()), 0); }

Var gather(const Var& x, const Tensor& index) {
  const Shape from = x.shape();
  const Var y = linear_node("gather", gather(x.value(), index), x, [=](const Tensor& gy) { return scatter_add(gy, index, from); });
  return x.has_tangent() ? y.with_tangent(push([&] { return gather(full(x), index); })) : y;
}

Var cast(const Var& x, DType dtype) {
  const DType from = x.dtype();
  if (from == dtype) return x;
  const Var y = linear_node("cast", x.value().to(dtype), x, [from](const Tensor& gy) { return gy.to(from); });
  return x.has_tangent() ? y.with_tangent(push([&] { return cast(x.tangent(), dtype); })) : y;
}

}  // namespace fm
