// How good generated images are, by a judge that no generator has seen: Frechet distance, precision and recall in its features against the
// real test split, and the share of images that it takes for the class that was asked for.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "apps/train/reference.h"
#include "apps/train/score_file.h"
#include "apps/train/training_run.h"
#include "tensor/late.h"

namespace fm {

// The share of the rows of logits (n, classes) that are largest at their label (n).
Late accuracy(const Tensor& logits, const Tensor& labels);

// What is scored. `of` says what it is: name, stage, step, checkpoint, calls, guidance; and the seed of the
// samples, below 0 for the run's; the Evaluator fills in the rest.
struct ScoredGenerator {
  Score of;
  LatentGenerator generate;
};

class Evaluator {
 public:
  // The judge and the features of the reference: `evaluate.reference` images of the test split. ConfigError before any work when test split
  // and `evaluate` do not fit; FileError when there is no judge.
  explicit Evaluator(TrainingRun& run);

  // Called with the features of every score: samples, labels asked for.
  std::function<void(const Score& score, const Tensor& features, const std::vector<std::int64_t>& labels)> on_features;

  // Generates evaluate.samples images, equally many a class, and scores them. SamplesNotFinite names the first sample that is not finite.
  Score score(const ScoredGenerator& generator);

  // The averaged weights of a flow map in the run's folder `stage`, one score for each number of calls.
  std::vector<Score> score_student(const std::string& name, const std::string& stage, const std::vector<int>& calls,
                                   const std::function<void(const Score&)>& each = {}, std::int64_t seed = -1);
  Score score_teacher();
  // Reconstructions of as many images of the reference as samples are generated, or of all of it (drawn_rows): its classes have the
  // reference's shares, so that what a distance of many images measures is the autoencoder.
  Score score_decoder();

  const Reference& reference() const { return reference_; }
  double judge_accuracy() const { return reference_.accuracy; }  // on the reference

 private:
  class Tally;  // features of what is scored, batch by batch
  Score finished(Score score, const Tally& tally, double seconds) const;

  TrainingRun& run_;
  std::shared_ptr<const SampleSource> test_;
  Judge judge_;
  std::string judge_id_;
  Reference reference_;
};

// ConfigError when the test split has too few images for `evaluate`: to be called before a training whose end is an evaluation.
void check_evaluation(const EvaluateConfig& config, std::int64_t test_images);

// What evaluate_run scores of a run.
struct EvaluateRequest {
  std::vector<std::string> stages;  // of scored_names(), last, or the folder of an ablation's variant; none: all
  std::filesystem::path features;   // .npz for the features; empty: none
};

// The decoder, the teacher and every trained student, or those that are asked for. `each` gets every score as it is known.
std::vector<Score> evaluate_run(TrainingRun& run, const EvaluateRequest& request, const std::function<void(const Score&)>& each);

}  // namespace fm
