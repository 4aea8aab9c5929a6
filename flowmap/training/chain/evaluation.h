// How good generated samples are, by features that no generator has seen: Frechet distance, precision and recall against the real test split,
// and where the features know classes the share of samples that they take for the class that was asked for.
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
  // The features, and those of the reference: `evaluate.reference` samples of the test split. ConfigError before any work when test split
  // and `evaluate` do not fit; FileError when the features' weights are missing.
  explicit Evaluator(TrainingRun& run);

  // Called with the features of every score: samples, labels asked for.
  std::function<void(const Score& score, const Tensor& features, const std::vector<std::int64_t>& labels)> on_features;

  // Generates evaluate.samples samples, equally many a class, and scores them. SamplesNotFinite names the first sample that is not finite.
  Score score(const ScoredGenerator& generator);
  // Reconstructions of as many images of the reference as samples are generated, or of all of it (drawn_rows): its classes have the
  // reference's shares, so that what a distance of many images measures is the autoencoder.
  Score score_decoder();

  // Of features of some samples, (n, D) f32: the numbers of all metrics that are for them, by name.
  std::map<std::string, double> metrics_of(const Tensor& features) const;

  const Reference& reference() const { return reference_; }
  bool scores_values() const { return features_.are_values; }       // of the samples as they are

 private:
  class Tally;  // features of what is scored, batch by batch
  Score finished(Score score, const Tally& tally, double seconds) const;

  TrainingRun& run_;
  std::shared_ptr<const SampleSource> test_;
  Features features_;
  Reference reference_;
};

// ConfigError when the test split has too few images for `evaluate`: to be called before a training whose end is an evaluation.
void check_evaluation(const EvaluateConfig& config, std::int64_t test_images);

// What evaluate_run scores of a run.
struct EvaluateRequest {
  std::vector<std::string> stages;  // of scored_names(), last, or the folder of an ablation's variant; none: all
  std::filesystem::path features;   // .npz for the features; empty: none
  bool page = false;                // writes the page of samples that are no pictures (samples_page.h)
};

// The decoder, the teacher and every trained student, or those that are asked for. `each` gets every score as it is known.
std::vector<Score> evaluate_run(TrainingRun& run, const EvaluateRequest& request, const std::function<void(const Score&)>& each);

}  // namespace fm
