#include "data/rows.h"

#include <algorithm>
#include <numeric>

#include "data/permutation.h"
#include "tensor/narrow.h"

namespace fm {
namespace {

constexpr RandomKey row_key{0x5245464552454E43, 1}, class_key{0x5245464552454E43, 2}, drawn_key{0x5245464552454E43, 3};
constexpr std::uint32_t label_stream = 0x4C41424C;

using Rows = std::vector<std::int64_t>;

Rows all_rows(std::int64_t n) {
  Rows rows(static_cast<std::size_t>(n));
  std::iota(rows.begin(), rows.end(), std::int64_t{0});
  return rows;
}

// The number of rows to take of each class, given the classes' sizes.
Rows quotas(const Rows& sizes, std::int64_t count) {
  Rows quota(sizes.size(), 0);
  for (std::int64_t level = 0; count > 0;) {
    Rows open;  // classes with rows left
    for (std::size_t c = 0; c < sizes.size(); ++c)
      if (sizes[c] > level) open.push_back(static_cast<std::int64_t>(c));
    const auto n = static_cast<std::int64_t>(open.size());
    if (count < n) {  // one more row for some of the classes
      const Permutation order(n, class_key, 0);
      for (std::int64_t i = 0; i < count; ++i) ++quota[static_cast<std::size_t>(open[static_cast<std::size_t>(order(i))])];
      return quota;
    }
    std::int64_t step = count / n;
    for (const std::int64_t c : open) step = std::min(step, sizes[static_cast<std::size_t>(c)] - level);
    for (const std::int64_t c : open) quota[static_cast<std::size_t>(c)] += step;
    level += step;
    count -= step * n;
  }
  return quota;
}

}  // namespace

Rows balanced_rows(const SampleSource& source, std::int64_t count) {
  if (count <= 0 || count >= source.count()) return all_rows(source.count());
  std::vector<Rows> of_class(source.class_names().size());
  for (std::int64_t i = 0; i < source.count(); ++i) of_class[static_cast<std::size_t>(source.label(i))].push_back(i);
  Rows sizes, rows;
  for (const Rows& r : of_class) sizes.push_back(static_cast<std::int64_t>(r.size()));
  const Rows quota = quotas(sizes, count);
  for (std::size_t c = 0; c < of_class.size(); ++c) {
    if (sizes[c] == 0) continue;
    const Permutation order(sizes[c], row_key, narrow<std::uint32_t>(c));
    for (std::int64_t i = 0; i < quota[c]; ++i) rows.push_back(of_class[c][static_cast<std::size_t>(order(i))]);
  }
  std::sort(rows.begin(), rows.end());
  return rows;
}

Rows drawn_rows(const Rows& rows, std::int64_t count) {
  const auto n = static_cast<std::int64_t>(rows.size());
  if (count >= n) return rows;
  const Permutation order(n, drawn_key, 0);
  Rows out;
  for (std::int64_t i = 0; i < count; ++i) out.push_back(rows[static_cast<std::size_t>(order(i))]);
  std::sort(out.begin(), out.end());
  return out;
}

Rows balanced_labels(std::int64_t count, std::int64_t classes, std::uint64_t seed) {
  const Permutation order(classes, {seed, label_stream}, 0);
  Rows labels;
  for (std::int64_t i = 0; i < count; ++i) labels.push_back(i < count - count % classes ? i % classes : order(i % classes));
  return labels;
}

}  // namespace fm
