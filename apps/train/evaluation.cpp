#include "apps/train/evaluation.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "apps/support/signals.h"
#include "nn/checkpoint.h"
#include "tensor/io/atomic_file.h"
#include "tensor/ops/copy.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/reduce.h"

namespace fm {
namespace {

double seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

std::vector<std::int64_t> balanced_labels(std::int64_t n, std::int64_t classes) {
  std::vector<std::int64_t> labels;
  for (std::int64_t i = 0; i < n; ++i) labels.push_back(i % classes);
  return labels;
}

std::vector<std::int64_t> first_rows(const Dataset& data, std::int64_t n) {
  std::vector<std::int64_t> rows(static_cast<std::size_t>(std::min(n, data.count)));
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<std::int64_t>(i);
  return rows;
}

}  // namespace

Late accuracy(const Tensor& logits, const Tensor& labels) {
  const Tensor right = sum(equal(argmax(logits, 1).to(DType::f64), labels.to(DType::f64)));
  return div(right, Tensor::scalar(static_cast<double>(labels.numel()), DType::f64, right.device()));
}

Evaluator::Evaluator(TrainingRun& run) : run_(run), judge_(run.recipe().judge.model), test_(open_dataset(run.recipe().data, Split::test)) {
  const std::string& given = run.recipe().judge_weights;
  const std::filesystem::path file = given.empty() ? run.root() / "judge" / "judge.safetensors" : std::filesystem::path(given);
  load_model(judge_, load_weights(file.string(), {}));
  const auto rows = first_rows(test_, run.recipe().evaluate.samples);
  Tensor logits;
  real_features_ = features(image_rows(test_, rows), &logits);
  real_ = fit_gaussian(real_features_);
  judge_accuracy_ = accuracy(logits, label_rows(test_, rows));
}

Tensor Evaluator::features(const Tensor& images, Tensor* logits) const {
  const PauseTape pause;
  std::vector<Tensor> parts, scores;
  for (std::int64_t i = 0; i < images.dim(0); i += 250) {
    const Var h = judge_.features(images.slice(0, i, std::min(images.dim(0), i + 250)).to(default_device()));
    parts.push_back(h.value());
    scores.push_back(judge_.classify(h).value());
  }
  *logits = concat(scores, 0);
  return concat(parts, 0);
}

Score Evaluator::score(const std::string& name, const Tensor& images, const std::vector<std::int64_t>& labels) const {
  // As they will be seen: rounded to 8 bits.
  const Tensor rounded = affine(images, 255, 0.5).to(DType::u8).to(DType::f32) / 255.0;
  Tensor logits;
  const Tensor h = features(rounded, &logits);
  const PrecisionRecall pr = precision_recall(real_features_, h, static_cast<int>(run_.recipe().evaluate.k));
  return {.name = name, .frechet = frechet_distance(fit_gaussian(h), real_), .precision = pr.precision, .recall = pr.recall,
          .accuracy = accuracy(logits, Tensor::from(labels, {logits.dim(0)}))};
}

Score Evaluator::score(const std::string& name, const LatentGenerator& generate, std::int64_t calls) {
  const EvaluateConfig& c = run_.recipe().evaluate;
  const auto labels = balanced_labels(c.samples, run_.recipe().classes);
  const double start = seconds();
  const Tensor images = generate_images(run_.autoencoder(), generate, consecutive(1000000, c.samples), labels,
                                        static_cast<std::uint64_t>(run_.recipe().seed), c.batch, [&](std::int64_t done) {
                                          throw_if_stop_requested();
                                          run_.context().log.status(fmt::format("{}: {}/{} samples", name, done, c.samples));
                                        });
  const double spent = seconds() - start;
  run_.context().log.end_status();
  Score s = score(name, images, labels);
  s.calls = calls;
  s.ms_per_image = 1000 * spent / static_cast<double>(c.samples);
  return s;
}

Score Evaluator::score_decoder() {
  const auto rows = first_rows(test_, run_.recipe().evaluate.samples);
  const Tensor x = image_rows(test_, rows);
  Rae& rae = run_.autoencoder();
  const double start = seconds();
  const Tensor y = rae.decode(rae.stats.normalise(rae.encode(x.to(default_device())))).to(Device{});
  const double spent = seconds() - start;
  Score s = score("reconstruction", y, label_rows(test_, rows).to_vector<std::int64_t>());
  s.psnr = -10 * std::log10(sum_squares(y - x) / static_cast<double>(x.numel()));
  s.ms_per_image = 1000 * spent / static_cast<double>(rows.size());
  return s;
}

std::vector<Score> evaluate_run(TrainingRun& run, const std::string& only, const std::function<void(const std::string&)>& tell) {
  run.prepare_stats();
  Evaluator evaluator(run);
  run.context().log.info("judge: {:.1f} % of the real test images right", 100 * evaluator.judge_accuracy());
  std::vector<Score> scores;
  const auto wanted = [&](const std::string& name) { return only.empty() || only == name; };
  const auto add = [&](const Score& s) {
    if (scores.empty()) tell(score_head());
    scores.push_back(s);
    tell(score_row(s));
  };
  if (wanted("reconstruction")) add(evaluator.score_decoder());
  const EvaluateConfig& c = run.recipe().evaluate;
  if (wanted("teacher") && c.teacher && run.has_teacher()) {
    const DitDh teacher = run.load_teacher();
    const std::int64_t calls_a_step = run.recipe().guidance == 1 ? 1 : 2;      // guided: with the label and without
    add(evaluator.score("teacher", ode_generator(run.guided(teacher), static_cast<int>(c.teacher_points), run.latent_shift()),
                        calls_a_step * (c.teacher_points - 1)));
  }
  for (const std::string stage : {"cmt", "mfd", "mft"}) {
    if (!wanted(stage) || !run.has(stage)) continue;
    const DitDh student = run.load_student(stage);
    for (int n : parse_steps(c.steps)) add(evaluator.score(stage, flow_map_generator(flow_map_net(student), n), n));
  }
  if (scores.empty())
    throw ConfigError("there is nothing to evaluate in " + run.root().string() + (only.empty() ? "" : " for stage " + only));
  return scores;
}

std::string score_head() {
  return fmt::format("{:<15} {:>5} {:>9} {:>9} {:>7} {:>9} {:>7} {:>9}", "", "calls", "frechet", "precision", "recall", "accuracy", "psnr",
                     "ms/image");
}

std::string score_row(const Score& s) {
  return fmt::format("{:<15} {:>5} {:>9.3f} {:>9.3f} {:>7.3f} {:>7.1f} % {:>7} {:>9.2f}", s.name, s.calls, s.frechet, s.precision, s.recall,
                     100 * s.accuracy, s.psnr > 0 ? fmt::format("{:.2f}", s.psnr) : "-", s.ms_per_image);
}

void save_scores(const std::filesystem::path& csv, const std::vector<Score>& scores) {
  std::string text = "name,calls,frechet,precision,recall,accuracy,psnr,ms_per_image\n";
  for (const Score& s : scores)
    text += fmt::format("{},{},{:.6g},{:.6g},{:.6g},{:.6g},{:.6g},{:.6g}\n", s.name, s.calls, s.frechet, s.precision, s.recall, s.accuracy,
                        s.psnr, s.ms_per_image);
  write_atomically(csv, text);
}

}  // namespace fm
