// scores.csv: every score of a run, oldest first. Rows are added and never removed; columns unknown to this program are kept.
#pragma once

#include <filesystem>
#include <functional>

#include "flowmap/training/chain/score.h"

namespace fm {

// All scores of the file; empty if the file is missing. FileError if it is not a table of scores: no column "name", or a cell that is not a number.
std::vector<Score> read_scores(const std::filesystem::path& csv);

// Adds one row for each score, and to by_class_file(csv) one row for each class of each score. Holds a lock from reading the old rows until the new files
// are in place, so two processes that add rows at the same time lose nothing. Calls `meanwhile` under the lock with all scores of the file, the new ones
// last. FileError if a file cannot be read or written. An interrupt ends the wait for the lock with the exception of check_interrupt
// (tensor/interrupt.h).
void add_scores(const std::filesystem::path& csv, const std::vector<Score>& scores,
                const std::function<void(const std::vector<Score>& all)>& meanwhile = {});

// "scores.csv" -> "scores-by-class.csv" beside it.
std::filesystem::path by_class_file(const std::filesystem::path& csv);

// Fills in Score::by_class from by_class_file(csv): the rows of the same name, calls, checkpoint and date. Scores without rows there stay as they are.
// FileError if the file is not a table of such rows.
void read_classes(const std::filesystem::path& csv, std::vector<Score>& scores);

// Returns the scores that a report shows: for each generator the rows of its newest weights. If rows have the same settings (calls, samples, seed,
// guidance, reference, k), only the newest of them is shown. Generators stay in the order of their first appearance; the rows of a
// generator are sorted by rising number of calls.
std::vector<Score> newest_scores(const std::vector<Score>& all);

}  // namespace fm
