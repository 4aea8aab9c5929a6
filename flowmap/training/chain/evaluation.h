// Scores of generated samples, in features that are independent of the generators: Frechet distance, precision and recall against the real test split,
// and, for features with classes, the share of samples whose predicted class is the requested one.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "flowmap/training/chain/score_file.h"
#include "flowmap/training/chain/scored.h"
#include "flowmap/training/chain/training_run.h"
#include "flowmap/training/reference.h"
#include "tensor/late.h"

namespace fm {

// Returns the share of rows of logits (n, classes) whose largest value is at the row's label (n).
Late accuracy(const Tensor& logits, const Tensor& labels);

class Evaluator {
 public:
  // Opens the features and computes them for the reference, `evaluate.reference` samples of the test split. ConfigError, before any work, if the test
  // split does not fit `evaluate` or the run. FileError if the features' weights are missing.
  explicit Evaluator(TrainingRun& run);

  // Called for every score with the features of its samples and the labels that were requested.
  std::function<void(const Score& score, const Tensor& features, const std::vector<std::int64_t>& labels)> on_features;

  // Generates evaluate.samples samples, equally many of each class, and scores them. SamplesNotFinite names the first sample that is not finite.
  Score score(const ScoredGenerator& generator);
  // Scores reconstructions of evaluate.samples images of the reference, or of all its images if there are fewer (drawn_rows). The classes have the same
  // shares as in the reference, so with many images the distance measures the autoencoder alone.
  Score score_decoder();

  // Computes all metrics that apply to samples with these features. The keys are the metrics' names.
  std::map<std::string, double> metrics_of(const Seen& generated) const;

  const Reference& reference() const { return reference_; }
  // What its scores depend on besides the generator: features, number of samples, reference, k.
  std::string text() const;
  bool scores_values() const { return features_.are_values; }       // whether the features are the samples' own values

 private:
  class Tally;  // features of the scored samples, batch by batch
  Score finished(Score score, const Tally& tally, double seconds) const;

  TrainingRun& run_;
  std::shared_ptr<const SampleSource> test_;
  Features features_;
  Reference reference_;
};

// ConfigError if the test split has too few images for `evaluate`. Called before a training that ends with an evaluation.
void check_evaluation(const EvaluateConfig& config, std::int64_t test_images);

// The scores that evaluate_run computes.
struct EvaluateRequest {
  std::vector<std::string> stages;  // names of scored_names(), "last", or folders of an ablation's variants; empty: all names
  std::filesystem::path features;   // the .npz file to write the features to; empty: not written
  bool page = false;                // whether to write the page of samples that are not images (samples_page.h)
};

// Scores the decoder, the teacher and every trained flow map, or the requested ones. Calls `each` with every score as soon as it is computed.
std::vector<Score> evaluate_run(TrainingRun& run, const EvaluateRequest& request, const std::function<void(const Score&)>& each);

}  // namespace fm
