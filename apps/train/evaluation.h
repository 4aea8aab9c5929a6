// How good generated images are, by a judge that no generator has seen: Frechet distance, precision and recall in its features against the
// real test split, and the share of images that it takes for the class that was asked for.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "apps/train/training_run.h"
#include "flowmap/metrics/frechet.h"
#include "tensor/late.h"

namespace fm {

struct Score {
  std::string name;                 // "mfd", "teacher", "decoder"
  std::int64_t calls = 0;           // network calls a sample
  double frechet = 0, precision = 0, recall = 0, accuracy = 0;
  double psnr = 0;                  // of reconstructions, dB; 0 for generators
  double ms_per_image = 0;
};

// The share of the rows of logits (n, classes) that are largest at their label (n).
Late accuracy(const Tensor& logits, const Tensor& labels);

class Evaluator {
 public:
  // The judge and the real test images. ConfigError when there is no judge.
  Evaluator(TrainingRun& run);

  // Scores images (n, C, H, W) asked for with these labels.
  Score score(const std::string& name, const Tensor& images, const std::vector<std::int64_t>& labels) const;

  // Generates the recipe's number of samples, equally many a class, and scores them.
  Score score(const std::string& name, const LatentGenerator& generate, std::int64_t calls);
  Score score_decoder();            // reconstructions of test images

  double judge_accuracy() const { return judge_accuracy_; }           // on the real test images

 private:
  Tensor features(const Tensor& images, Tensor* logits) const;

  TrainingRun& run_;
  Judge judge_;
  Dataset test_;
  Tensor real_features_;
  GaussianFit real_;
  double judge_accuracy_ = 0;
};

// The decoder, the teacher, and every trained student of the run; `only` names one stage ("" for all).
std::vector<Score> evaluate_run(TrainingRun& run, const std::string& only, const std::function<void(const std::string&)>& tell);

std::string score_head();  // a table for the terminal
std::string score_row(const Score& score);
void save_scores(const std::filesystem::path& csv, const std::vector<Score>& scores);

}  // namespace fm
