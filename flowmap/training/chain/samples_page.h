// A section of report.html for samples that are not images: their curves and statistics beside those of real samples, and, for comparison, the scores of
// data and of noise.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "flowmap/training/chain/evaluation.h"
#include "flowmap/training/sample_curves.h"

namespace fm {

// The path of the section in a run's folder.
std::filesystem::path samples_page(const std::filesystem::path& root);

// Returns the first samples of `values` (n, D) f32 and their labels, as many as curves use, in the shape of the recipe's samples.
NamedSamples named_samples(const Recipe& recipe, const std::string& name, const Tensor& values, const std::vector<std::int64_t>& labels);

class SamplesPage {
 public:
  // The evaluator's features must be the samples' values. The evaluator's reference is the test data on the page. `run` and `evaluator` must outlive the page.
  SamplesPage(TrainingRun& run, const Evaluator& evaluator);

  // Adds the samples of a score, (n, D) f32. The page shows the first four generators, each in its first number of calls; other samples are ignored.
  void add(const Score& of, const Tensor& values, const std::vector<std::int64_t>& labels);
  // Writes the section to samples_page(root). FileError if the file cannot be written.
  void write();

 private:
  NamedSamples named(const std::string& name, const Tensor& values, const std::vector<std::int64_t>& labels) const;
  Tensor training_values() const;        // evaluate.samples training samples, or all if there are fewer
  Tensor noise_values() const;           // evaluate.samples samples of noise, decoded

  TrainingRun& run_;
  const Evaluator& evaluator_;
  std::vector<NamedSamples> sets_;
  std::vector<std::string> generators_, steps_;
};

}  // namespace fm
