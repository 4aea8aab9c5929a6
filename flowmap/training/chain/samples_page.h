// A section of report.html for samples that are not images, beside real ones: curves, statistics, and for comparison the scores of data and of noise.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "flowmap/training/chain/evaluation.h"
#include "flowmap/training/sample_curves.h"

namespace fm {

// The path of the section in a run's folder.
std::filesystem::path samples_page(const std::filesystem::path& root);

// Samples of a run, (n, D) f32 and their labels: as many as the curves show.
NamedSamples named_samples(const Recipe& recipe, const std::string& name, const Tensor& values, const std::vector<std::int64_t>& labels);

class SamplesPage {
 public:
  // For the evaluator's reference, whose features must be the samples' values. Both must outlive the page.
  SamplesPage(TrainingRun& run, const Evaluator& evaluator);

  // The samples of a score, (n, D) f32: shown of the first four generators, in the first number of calls of each.
  void add(const Score& of, const Tensor& values, const std::vector<std::int64_t>& labels);
  // Writes the section to samples_page(root). FileError.
  void write();

 private:
  NamedSamples named(const std::string& name, const Tensor& values, const std::vector<std::int64_t>& labels) const;
  Tensor training_values() const;        // as many as samples are generated, or all
  Tensor noise_values() const;           // noise, decoded

  TrainingRun& run_;
  const Evaluator& evaluator_;
  std::vector<NamedSamples> sets_;
  std::vector<std::string> generators_, steps_;
};

}  // namespace fm
