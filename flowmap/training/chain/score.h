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

// How many of the samples that were requested for a class the judge assigns to this class.
struct ClassScore {
  std::string name;
  std::int64_t samples = 0, right = 0;
};

// An empty text, a negative integer and NaN stand for an absent value, which is an empty cell in files.
struct Score {
  static constexpr double none = std::numeric_limits<double>::quiet_NaN();

  std::string name;         // "mfd", "teacher", "reconstruction", or an ablation's variant
  std::int64_t calls = -1;  // network calls a sample
  std::map<std::string, double> metrics;  // the keys are the names in flowmap/metrics/sample_metrics.h
  double accuracy = none;
  double psnr = none;  // peak signal-to-noise ratio of reconstructions, dB: of the mean squared error over all images, not the mean over images
  double ms_per_image = none;

  std::string stage;                // the folder in the run, or the file, that the weights are from
  std::int64_t step = -1;           // training step of the checkpoint
  std::string checkpoint, decoder;  // checksums of the weights
  std::string dtype;                // the element type of the network's computation
  std::int64_t samples = -1, seed = -1, k = -1;
  double guidance = none;  // scale of classifier-free guidance while sampling; 1: none
  double guidance_from = none, guidance_to = none;   // times at which it acts; absent: all
  std::int64_t classes = -1;
  std::string data;                  // the value of --data
  std::int64_t reference = -1;       // number of real test images that samples are compared with
  std::string reference_id;          // fingerprint of the reference's images, their labels and the features
  double reference_accuracy = none;  // accuracy of the judge on the reference
  std::string features;              // the features that distances are measured in: "judge", "values", "inception tf1"; empty in files of older programs
  std::string judge;                 // the fingerprint of these features: the checksum of the judge's weights
  std::string date;                  // UTC, when the score was computed

  std::vector<ClassScore> by_class;  // one for each label; stored in a file of its own (score_file.h)

  double metric(const std::string& metric_name) const;   // NaN if absent
  bool has_usual_features() const;                       // the judge's, or the values; older programs had no others
};

// A column of sample_metrics() as a member of a score.
struct MetricMember {
  const char* name;
};

struct ScoreColumn {
  const char* name;   // column name in files
  const char* title;  // heading in tables for people; empty: not in tables
  const char* help;
  bool measured;  // a measurement, whose mean over seeds is meaningful; otherwise a property of the subject
  std::variant<std::string Score::*, std::int64_t Score::*, double Score::*, MetricMember> member;
  int decimals = 0;       // digits after the point in tables
  double factor = 1;      // tables show value x factor: 100 for percentages
  const char* unit = "";  // shown behind the number in tables
};

const std::vector<ScoreColumn>& score_columns();

std::string score_cell(const Score& score, const ScoreColumn& column);  // the cell in files, numbers without rounding; "" if absent
std::string shown_cell(const Score& score, const ScoreColumn& column);  // the cell in tables, rounded, with unit; "-" if absent
double score_number(const Score& score, const ScoreColumn& column);     // NaN if absent or a text

// Sets the value from a cell of a file. FileError names the column if the text is not a number.
void set_score_cell(Score& score, const ScoreColumn& column, const std::string& text);

// A table for the terminal: a head, then one line for each score of the same evaluation. The columns are the numbers that these scores have.
std::string score_head(const Score& first);
std::string score_row(const Score& score);

}  // namespace fm
