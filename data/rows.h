// Which samples an evaluation takes, and of which classes it generates some.
#pragma once

#include "data/source.h"

namespace fm {

// `count` rows of a split, ascending: the same number of each class, or all of a class that has fewer. A fixed key chooses the classes that get
// the remainder, and the rows of a class. A larger count keeps the rows of a smaller one, except for that remainder. 0, or at least
// the number of rows: all.
std::vector<std::int64_t> balanced_rows(const SampleSource& source, std::int64_t count);

// `count` of these rows, ascending, chosen with a fixed key, so about in proportion to their classes; or all of them.
std::vector<std::int64_t> drawn_rows(const std::vector<std::int64_t>& rows, std::int64_t count);

// Labels of `count` samples: 0, 1, ..., classes - 1 by turns; the last turn, if it is not whole, is drawn by the seed.
std::vector<std::int64_t> balanced_labels(std::int64_t count, std::int64_t classes, std::uint64_t seed);

}  // namespace fm
