#include "tensor/ops/modulation.h"

#include <algorithm>
#include <string>

#include "tensor/error.h"
#include "tensor/ops/reduce.h"

namespace fm {
namespace {

// Returns a modulation as rows (groups, C) whose last dimension has stride 1.
Tensor as_rows(const Tensor& m, const Shape& x, const char* op) {
  if (!m.defined()) return m;
  const std::int64_t c = x.back();
  const bool per_sample = m.rank() >= 2 && m.dim(0) == x[0] && m.shape().back() == c && m.numel() == x[0] * c;
  if (m.shape() != x && !per_sample)
    throw ShapeError(std::string(op) + ": a modulation of shape " + to_string(m.shape()) + " for x of shape " + to_string(x) + "; it must be [" +
                     std::to_string(x[0]) + ", " + std::to_string(c) + "] or x's shape");
  const Tensor rows = m.reshape({m.numel() / c, c});
  return rows.strides()[1] == 1 || c == 1 ? rows : rows.contiguous();
}

Tensor with_groups(const Tensor& m, std::int64_t groups) {
  if (!m.defined() || m.dim(0) == groups) return m;
  const std::int64_t n = m.dim(0), c = m.dim(1);
  return m.unsqueeze(1).expand({n, groups / n, c}).reshape({groups, c});
}

}  // namespace

ModulationRows modulation_rows(const Tensor& first, const Tensor& second, const Shape& x, const char* op) {
  ModulationRows out{as_rows(first, x, op), as_rows(second, x, op), 0, {}};
  for (const Tensor& m : {out.first, out.second})
    if (m.defined()) out.groups = std::max(out.groups, m.dim(0));
  if (out.groups == 0) return out;
  if (x.numel() == 0) return {};                             // no row is modulated
  out.first = with_groups(out.first, out.groups);
  out.second = with_groups(out.second, out.groups);
  const bool unlike = out.first.defined() && out.second.defined() && out.first.strides()[0] != out.second.strides()[0];
  if (unlike && out.groups > 1) {
    out.first = out.first.contiguous();
    out.second = out.second.contiguous();
  }
  const Tensor& either = out.first.defined() ? out.first : out.second;
  out.layout = {x.numel() / x.back() / out.groups, out.groups > 1 ? either.strides()[0] : x.back()};
  return out;
}

Tensor modulation_gradient(const Tensor& rows, const Shape& operand) {
  const std::int64_t c = operand.back(), n = operand.numel() / c;
  if (rows.dim(0) == n) return rows.reshape(operand);
  return sum(rows.reshape({n, rows.dim(0) / n, c}), {1}).reshape(operand);
}

}  // namespace fm
