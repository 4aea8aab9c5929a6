// A score: its subject and its numbers. score_columns() is the only list of its columns; scores.csv, printed tables and ablations
// all read that list.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <variant>
#include <vector>

namespace fm {

// How often the judge took samples of a class for it.
struct ClassScore {
  std::string name;
  std::int64_t samples = 0, right = 0;
};

// A text that is empty, an integer below 0 and a number that is NaN are absent: an empty cell.
struct Score {
  static constexpr double none = std::numeric_limits<double>::quiet_NaN();

  std::string name;         // "mfd", "teacher", "reconstruction", or an ablation's variant
  std::int64_t calls = -1;  // network calls a sample
  std::map<std::string, double> metrics;  // by the names of flowmap/metrics/sample_metrics.h
  double accuracy = none;
  double psnr = none;  // of reconstructions, dB
  double ms_per_image = none;

  std::string stage;                // the folder in the run, or the file, that the weights are from
  std::int64_t step = -1;           // of its checkpoint
  std::string checkpoint, decoder;  // checksums of the weights
  std::string dtype;                // the element type of the network's computation
  std::int64_t samples = -1, seed = -1, k = -1;
  double guidance = none;  // scale of classifier-free guidance while sampling; 1: none
  std::int64_t classes = -1;
  std::string data;                  // as --data names it
  std::int64_t reference = -1;       // real test images compared with
  std::string reference_id;          // fingerprint of the reference's images, their labels and the judge
  double reference_accuracy = none;  // of the judge, on the reference
  std::string judge;                 // checksum
  std::string date;                  // UTC, when it was computed

  std::vector<ClassScore> by_class;  // by label; in a file of its own (score_file.h)

  double metric(const std::string& metric_name) const;   // NaN where absent
};

// A column of sample_metrics() as a member of a score.
struct MetricMember {
  const char* name;
};

struct ScoreColumn {
  const char* name;   // in files
  const char* title;  // in tables for people; empty: not shown there
  const char* help;
  bool measured;  // a measurement, whose mean over seeds is meaningful; otherwise a property of the subject
  std::variant<std::string Score::*, std::int64_t Score::*, double Score::*, MetricMember> member;
  int decimals = 0;       // shown
  double factor = 1;      // shown: 100 for percentages
  const char* unit = "";  // shown behind the number
};

const std::vector<ScoreColumn>& score_columns();

std::string score_cell(const Score& score, const ScoreColumn& column);  // as files hold it, numbers to the last bit; "" where absent
std::string shown_cell(const Score& score, const ScoreColumn& column);  // rounded, with unit; "-" where absent
double score_number(const Score& score, const ScoreColumn& column);     // NaN where absent; of a text NaN

// Reads a cell of a file back. FileError names the column when the text is no number.
void set_score_cell(Score& score, const ScoreColumn& column, const std::string& text);

// A table for the terminal: a head, then a line a score of the same evaluation. Its columns are the metrics that these scores have.
std::string score_head(const Score& first);
std::string score_row(const Score& score);

}  // namespace fm
