// Chooses the samples that an evaluation takes, and the classes of the samples that it generates.
#pragma once

#include "data/source.h"

namespace fm {

// `count` rows of a split, ascending: the same number of each class, or all of a class that has fewer. If `count` does not divide evenly, some
// classes get one row more. A fixed key chooses these classes, and the rows of each class. A larger count keeps the rows of a smaller one, except for
// the additional rows. A count of 0, or of at least the number of rows, takes all rows.
std::vector<std::int64_t> balanced_rows(const SampleSource& source, std::int64_t count);

// `count` of these rows, ascending, chosen with a fixed key and so about in proportion to their classes. All rows if `count` is at least their number.
std::vector<std::int64_t> drawn_rows(const std::vector<std::int64_t>& rows, std::int64_t count);

// Labels of `count` samples: 0, 1, ..., classes - 1 in turn. If the last turn is incomplete, the seed chooses its labels.
std::vector<std::int64_t> balanced_labels(std::int64_t count, std::int64_t classes, std::uint64_t seed);

}  // namespace fm
