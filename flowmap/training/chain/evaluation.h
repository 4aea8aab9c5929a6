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

// The share of the rows of logits (n, classes) that are largest at their label (n).
Late accuracy(const Tensor& logits, const Tensor& labels);

class Evaluator {
 public:
  // The features, and their values on the reference: `evaluate.reference` samples of the test split. ConfigError before any work if test split
  // and `evaluate` do not fit; FileError when the features' weights are missing.
  explicit Evaluator(TrainingRun& run);

  // Called with the features of every score: samples, requested labels.
  std::function<void(const Score& score, const Tensor& features, const std::vector<std::int64_t>& labels)> on_features;

  // Generates evaluate.samples samples, equally many a class, and scores them. SamplesNotFinite names the first sample that is not finite.
  Score score(const ScoredGenerator& generator);
  // Reconstructions of as many images of the reference as samples are generated, or of all of it (drawn_rows). Their classes have the
  // reference's shares, so a distance of many images measures the autoencoder alone.
  Score score_decoder();

  // All metrics that apply to these samples, by name, from their features (n, D) f32.
  std::map<std::string, double> metrics_of(const Tensor& features) const;

  const Reference& reference() const { return reference_; }
  bool scores_values() const { return features_.are_values; }       // of the samples as they are

 private:
  class Tally;  // features of the scored samples, batch by batch
  Score finished(Score score, const Tally& tally, double seconds) const;

  TrainingRun& run_;
  std::shared_ptr<const SampleSource> test_;
  Features features_;
  Reference reference_;
};

// ConfigError when the test split has too few images for `evaluate`: to be called before a training whose end is an evaluation.
void check_evaluation(const EvaluateConfig& config, std::int64_t test_images);

// The scores that evaluate_run computes.
struct EvaluateRequest {
  std::vector<std::string> stages;  // of scored_names(), last, or the folder of an ablation's variant; none: all
  std::filesystem::path features;   // .npz for the features; empty: none
  bool page = false;                // writes the page of samples that are not images (samples_page.h)
};

// The decoder, the teacher and every trained student, or the requested ones. `each` receives every score as soon as it is known.
std::vector<Score> evaluate_run(TrainingRun& run, const EvaluateRequest& request, const std::function<void(const Score&)>& each);

}  // namespace fm
