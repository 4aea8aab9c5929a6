#include "flowmap/batch.h"

#include <algorithm>

#include "tensor/error.h"

namespace fm {
namespace {

bool in_order(const std::vector<std::int64_t>& order) {
  for (std::size_t i = 0; i < order.size(); ++i)
    if (order[i] != static_cast<std::int64_t>(i)) return false;
  return true;
}

void check(const Batch& batch) {
  const std::int64_t rows = batch.z0.dim(0), samples = static_cast<std::int64_t>(batch.draws.rows());
  if (rows != samples)
    throw ShapeError("batch: " + std::to_string(rows) + " rows of data but " + std::to_string(samples) + " sample numbers: each row needs one");
  if (batch.y.defined() && batch.y.shape() != Shape{rows})
    throw ShapeError("batch: labels " + to_string(batch.y.shape()) + " for " + std::to_string(rows) + " rows of data: each row needs one label");
  if (batch.eps.defined() && batch.eps.shape() != batch.z0.shape())
    throw ShapeError("batch: noise must have the shape of the data, but noise has " + to_string(batch.eps.shape()) + " and the data have " +
                     to_string(batch.z0.shape()));
  if (batch.beside.defined() && (batch.beside.rank() != 2 || batch.beside.dim(0) != rows))
    throw ShapeError("batch: the second variable has shape " + to_string(batch.beside.shape()) + ", but must have one row of numbers for each of " +
                     std::to_string(rows) + " rows of data");
}

}  // namespace

PathBatch place_on_path(const Batch& batch, const Pairs& pairs, const Labels& dropped) {
  check(batch);
  const std::int64_t rows = batch.z0.dim(0);
  const DType dtype = batch.z0.dtype();
  const bool stay = in_order(pairs.order);
  const Tensor order = Tensor::from(pairs.order, {rows});
  const auto rearranged = [&](const Tensor& x) { return stay || !x.defined() ? x : gather(x, order); };
  PathBatch p;
  p.z0 = rearranged(batch.z0);
  p.y = rearranged(dropped);
  p.draws = batch.draws.reordered(pairs.order);
  p.eps = batch.eps.defined() ? rearranged(batch.eps) : p.draws.normal(batch.z0.shape().without(0), dtype);
  p.s = Tensor::from(pairs.s, {rows}).to(dtype);
  p.t = Tensor::from(pairs.t, {rows}).to(dtype);
  p.z = interpolate(p.z0, p.eps, p.t);
  if (batch.beside.defined())
    p.beside = rearranged(batch.beside).to(dtype), p.beside_noise = p.draws.normal({batch.beside.dim(1)}, dtype, Purpose::beside);
  p.off_diagonal = pairs.off_diagonal;
  return p;
}

PathBatch draw_path_batch(const Batch& batch, const PairConfig& pairs, const LabelDropout& labels) {
  check(batch);
  const Labels dropped = drop_labels(batch.y, labels, batch.draws);
  const auto on_diagonal = pairs.null_rows_diagonal ? is_null(dropped, labels.null_label) : std::vector<bool>{};
  return place_on_path(batch, draw_pairs(pairs, batch.draws, batch.z0.numel() / batch.z0.dim(0), on_diagonal), dropped);
}

PathBatch draw_jumps_to_data(const Batch& batch, const TimeConfig& time, const LabelDropout& labels) {
  check(batch);
  const std::int64_t dim = batch.z0.numel() / batch.z0.dim(0);
  return place_jumps_to_data(batch, [&](std::size_t row) { return time(batch.draws.uniform(Purpose::time, row), dim); }, labels);
}

PathBatch place_jumps_to_data(const Batch& batch, const std::function<double(std::size_t row)>& time, const LabelDropout& labels) {
  constexpr double earliest = 1e-6;                          // a row at t = 0 would have s = t
  Pairs pairs;
  for (std::size_t i = 0; i < batch.draws.rows(); ++i) {
    pairs.s.push_back(0);
    pairs.t.push_back(std::max(time(i), earliest));
    pairs.order.push_back(static_cast<std::int64_t>(i));
  }
  pairs.off_diagonal = std::ssize(pairs.t);
  return place_on_path(batch, pairs, drop_labels(batch.y, labels, batch.draws));
}

}  // namespace fm
