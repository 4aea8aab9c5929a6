// scores.csv: every score of a run, oldest first. Rows are added and never removed; columns unknown to this program are kept.
#pragma once

#include <filesystem>
#include <functional>

#include "flowmap/training/chain/score.h"

namespace fm {

// All scores of the file; empty if the file is missing. FileError if it is not a table of scores: no column "name", or a cell that is not a number.
std::vector<Score> read_scores(const std::filesystem::path& csv);

// Adds rows, and the accuracies by class to by_class_file(csv), where a row is one class of one score. Holds a lock from reading the old
// rows to the rename, so two processes that add at once lose nothing. `meanwhile` runs under the lock, with all scores of the file, the new
// ones last. FileError; while another process holds the lock, the exception of check_interrupt (tensor/interrupt.h).
void add_scores(const std::filesystem::path& csv, const std::vector<Score>& scores,
                const std::function<void(const std::vector<Score>& all)>& meanwhile = {});

// "scores.csv" -> "scores-by-class.csv" beside it.
std::filesystem::path by_class_file(const std::filesystem::path& csv);

// Fills in Score::by_class from by_class_file(csv): the rows of the same name, calls, checkpoint and date. Scores without rows there stay as they are.
// FileError for a file that is no table of them.
void read_classes(const std::filesystem::path& csv, std::vector<Score>& scores);

// The scores that a report shows: for each generator the rows of its newest weights, and of rows with the same question (calls, samples, seed, guidance,
// reference, k) the newest. In the order in which generators first appear, calls ascending.
std::vector<Score> newest_scores(const std::vector<Score>& all);

}  // namespace fm
