// Results of set_metrics.h in files: pictures.csv, one row for each number, with its settings, sets and features; and report.html.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "data/picture_set.h"
#include "flowmap/training/picture_sets/set_metrics.h"

namespace fm {

struct SetScore {
  std::string date;                                    // UTC
  SetNumber number;
  std::string samples, samples_id;                     // name and fingerprint
  std::int64_t samples_count = 0;
  std::string reference, reference_id;
  std::int64_t reference_count = 0;                    // 0: unknown
  std::string features;                                // fingerprint: network, preparation, checksum of the weights; empty: compares pixels
};

inline constexpr const char* set_scores_file = "pictures.csv";

// Adds rows to folder/pictures.csv. FileError if the file has other columns or cannot be written. The caller holds the folder's lock.
void add_set_scores(const std::filesystem::path& folder, const std::vector<SetScore>& scores);

// One line for each number, for the terminal.
std::string set_scores_text(const std::vector<SetScore>& scores);

// What keeps the numbers of these metrics from being compared with published ones: few images, another size of the two sets. One sentence each.
std::vector<std::string> limits_of(const std::vector<std::string>& metrics, const SeenSet& samples, const SetReference& reference);
// The same for Frechet distances in features of this width: samples or images of the reference that are fewer. 0: an unknown number.
std::vector<std::string> limits_of_counts(std::int64_t samples, std::int64_t real, std::int64_t width);
// The same for samples of which only the statistics in `file` are known.
std::vector<std::string> limits_of_statistics(const FeatureStatistics& samples, const std::string& file, const SetReference& reference);

// Writes folder/report.html: the numbers, their limits, the line of fid_infinity, and the first images of each set.
struct SetReport {
  std::vector<SetScore> scores;
  std::vector<std::string> limits;
  const FrechetLimit* limit = nullptr;
  const PictureSet* samples = nullptr;
  const PictureSet* reference = nullptr;               // null: statistics only
};
void write_set_report(const std::filesystem::path& folder, const SetReport& report);

}  // namespace fm
