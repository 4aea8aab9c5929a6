#include "apps/train/evaluation.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "apps/support/signals.h"
#include "data/report/clock.h"
#include "data/class_names.h"
#include "flowmap/metrics/sample_metrics.h"
#include "nn/checkpoint.h"
#include "tensor/error.h"
#include "tensor/io/npy.h"
#include "tensor/narrow.h"
#include "tensor/ops/copy.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/reduce.h"

namespace fm {
namespace {

double seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

void refuse_other_images(const Recipe& r, const SampleSource& test) {
  const PictureSize size = picture_size(test, "an evaluation of images");
  if (size.height == r.image_size && size.width == r.image_size && size.channels == r.channels &&
      std::ssize(test.class_names()) == r.classes)
    return;
  throw ConfigError(fmt::format(
      "the test split of {} has {}x{} images of {} channels in {} classes, the run's models are for {}x{}, {} and {}: "
      "give the run's --data",
      r.data, size.height, size.width, size.channels, test.class_names().size(), r.image_size, r.image_size, r.channels, r.classes));
}

constexpr std::int64_t first_sample = 1000000;  // noise that no preview shows

}  // namespace

Late accuracy(const Tensor& logits, const Tensor& labels) {
  const Tensor right = sum(equal(argmax(logits, 1).to(DType::f64), labels.to(DType::f64)));
  return div(right, Tensor::scalar(static_cast<double>(labels.numel()), DType::f64, right.device()));
}

void check_evaluation(const EvaluateConfig& c, std::int64_t test_images) {
  const std::int64_t reference = c.reference == 0 ? test_images : std::min(c.reference, test_images), wanted = c.k + 1;
  if (reference < wanted || test_images < 2)
    throw ConfigError(fmt::format(
        "the test split has {} image{}{}; an evaluation compares with at least {} (evaluate.k {}, and 2): add test "
        "images, or lower --evaluate.k",
        test_images, test_images == 1 ? "" : "s", reference < test_images ? fmt::format(", evaluate.reference takes {}", reference) : "",
        std::max<std::int64_t>(2, wanted), c.k));
  if (c.samples < wanted) throw ConfigError(fmt::format("evaluate.samples {} is not above evaluate.k {}", c.samples, c.k));
}

// Features of images as they will be seen, rounded to 8 bits, and how often the judge sees in them what was asked for.
class Evaluator::Tally {
 public:
  Tally(const Judge& judge, std::string name, const std::vector<std::string>& class_names) : judge_(judge), name_(std::move(name)) {
    for (const std::string& class_name : class_names) classes_.push_back({.name = class_name});
  }

  void add(const Tensor& images, const std::vector<std::int64_t>& labels) {
    refuse_not_finite(images, name_ + ": pixels", consecutive(count(), images.dim(0)));
    const Tensor rounded = affine(images, 255, 0.5).to(DType::u8).to(DType::f32) / 255.0;
    const std::int64_t n = judged_at_a_time(images.dim(2) * images.dim(3));
    for (std::int64_t i = 0; i < images.dim(0); i += n) {
      const Judged judged = judge_images(judge_, rounded.slice(0, i, std::min(images.dim(0), i + n)));
      refuse_not_finite(judged.features, name_ + ": features", consecutive(count(), judged.features.dim(0)));
      features_.push_back(judged.features);
      for (std::size_t k = 0; k < judged.classes.size(); ++k) {
        const std::int64_t asked = labels[static_cast<std::size_t>(i) + k];
        labels_.push_back(asked);
        ClassScore& of = classes_.at(static_cast<std::size_t>(asked));
        ++of.samples, of.right += judged.classes[k] == asked;
      }
    }
  }
  std::int64_t count() const { return static_cast<std::int64_t>(labels_.size()); }
  Tensor features() const { return concat(features_, 0); }
  const std::vector<std::int64_t>& labels() const { return labels_; }
  const std::vector<ClassScore>& classes() const { return classes_; }

 private:
  const Judge& judge_;
  std::string name_;
  std::vector<ClassScore> classes_;
  std::vector<Tensor> features_;
  std::vector<std::int64_t> labels_;
};

namespace {

// One a label: --class-names and the words of ImageNet's ids where there are some.
std::vector<std::string> class_names(TrainingRun& run, const SampleSource& test) {
  std::vector<std::string> names = run.class_names().empty() ? test.class_names() : run.class_names();
  for (std::string& name : names) name = short_class_name(name);
  return names;
}

}  // namespace

Evaluator::Evaluator(TrainingRun& run) : run_(run), test_(open_source(run.recipe().data, Split::test)), judge_(run.recipe().judge.model) {
  if (run.recipe().is_identity())
    throw ConfigError(fmt::format("{}: a judge scores pictures; this run's samples are {}: flowmap_train pipeline and evaluate score points", run.recipe().data,
                                  to_string(run.recipe().sample_shape)));
  check_evaluation(run.recipe().evaluate, test_->count());
  refuse_other_images(run.recipe(), *test_);
  const std::string& given = run.recipe().judge_weights;
  const StageSpec& stage = stage_that_makes(Makes::classifier);
  const std::filesystem::path file = given.empty() ? run.root() / stage.name / stage.file : std::filesystem::path(given);
  load_model(judge_, load_weights(file.string(), {}));
  judge_id_ = checksum(state_dict(judge_));
  Logger& log = run.context().log;
  reference_ = load_reference(*test_, run.recipe().evaluate.reference, judge_, judge_id_, run.root() / "evaluation", log);
  log.info("reference: {} of the {} test images ({}); the judge takes {:.1f} % of them for their class", reference_.rows.size(),
           test_->count(), reference_.id, 100 * reference_.accuracy);
  std::string missing;
  for (std::size_t c = 0; c < test_->class_names().size(); ++c)
    if (std::find(reference_.labels.begin(), reference_.labels.end(), static_cast<std::int64_t>(c)) == reference_.labels.end())
      missing += (missing.empty() ? "" : ", ") + class_names(run, *test_)[c];
  if (!missing.empty()) log.warning("the reference has no images of {}, which samples are of: distances and recall count that", missing);
}

Score Evaluator::finished(Score s, const Tally& tally, double spent) const {
  const EvaluateConfig& c = run_.recipe().evaluate;
  const Tensor features = tally.features();
  const FeatureSets sets{reference_.features, reference_.fit, features, narrow<int>(c.k, "k")};
  for (const SampleMetric& metric : sample_metrics()) {
    const std::vector<double> numbers = metric.measure(sets);
    for (std::size_t i = 0; i < numbers.size(); ++i) s.metrics[metric.values[i].name] = numbers[i];
  }
  std::int64_t right = 0;
  for (const ClassScore& of : tally.classes()) right += of.right;
  s.accuracy = static_cast<double>(right) / static_cast<double>(tally.count());
  s.ms_per_image = 1000 * spent / static_cast<double>(tally.count());
  s.by_class = tally.classes();
  s.decoder = checksum(state_dict(run_.autoencoder().decoder));
  s.samples = tally.count();
  if (s.seed < 0) s.seed = run_.recipe().seed;
  s.k = c.k;
  s.classes = run_.recipe().classes;
  s.data = run_.recipe().data;
  s.reference = static_cast<std::int64_t>(reference_.rows.size());
  s.reference_id = reference_.id;
  s.reference_accuracy = reference_.accuracy;
  s.judge = judge_id_;
  s.date = utc_now();
  if (on_features) on_features(s, features, tally.labels());
  return s;
}

Score Evaluator::score(const ScoredGenerator& generator) {
  const EvaluateConfig& c = run_.recipe().evaluate;
  const auto seed = static_cast<std::uint64_t>(generator.of.seed >= 0 ? generator.of.seed : run_.recipe().seed);
  const std::vector<std::int64_t> labels = balanced_labels(c.samples, run_.recipe().classes, seed);
  Tally tally(judge_, generator.of.name, class_names(run_, *test_));
  double spent = 0, start = seconds();
  generate_batches(run_.autoencoder(), generator.generate, consecutive(first_sample, c.samples), labels, seed, c.batch,
                   [&](std::int64_t first, const Tensor& images) {
                     spent += seconds() - start;
                     throw_if_stop_requested();
                     tally.add(images, {labels.begin() + first, labels.begin() + first + images.dim(0)});
                     run_.context().log.status(fmt::format("{}: {}/{} samples", generator.of.name, tally.count(), c.samples));
                     start = seconds();
                   });
  run_.context().log.end_status();
  return finished(generator.of, tally, spent);
}

std::vector<Score> Evaluator::score_student(const std::string& name, const std::string& stage, const std::vector<int>& calls,
                                            const std::function<void(const Score&)>& each, std::int64_t seed) {
  const Network student = run_.load_student(stage);
  Score of{.name = name,
           .stage = stage,
           .step = run_.loaded_step(stage),
           .checkpoint = checksum(student.state()),
           .dtype = student.precision(),
           .seed = seed,
           .guidance = 1};
  std::vector<Score> list;
  for (const int n : calls) {
    of.calls = n;
    list.push_back(score({of, flow_map_generator(student.u(), n)}));
    if (each) each(list.back());
  }
  return list;
}

Score Evaluator::score_teacher() {
  const Recipe& r = run_.recipe();
  const Network teacher = run_.load_teacher();
  const std::int64_t calls_a_step = r.guidance == 1 ? 1 : 2;  // guided: with the label and without
  const StageSpec& stage = stage_that_makes(Makes::teacher);
  const Score of{.name = stage.scored_as,
                 .calls = calls_a_step * (r.evaluate.teacher_points - 1),
                 .stage = r.teacher_weights.empty() ? stage.name : r.teacher_weights,
                 .step = run_.loaded_step(stage.name),
                 .checkpoint = checksum(teacher.state()),
                 .dtype = teacher.precision(),
                 .guidance = r.guidance};
  return score({of, run_.teacher_generator(teacher.v(), r.evaluate.teacher_points)});
}

Score Evaluator::score_decoder() {
  const Recipe& r = run_.recipe();
  Rae& rae = run_.autoencoder();
  const std::vector<std::int64_t> rows = drawn_rows(reference_.rows, r.evaluate.samples);
  const StageSpec& stage = stage_that_makes(Makes::decoder);
  Tally tally(judge_, stage.scored_as, class_names(run_, *test_));
  double squares = 0, spent = 0;
  const auto n = static_cast<std::int64_t>(rows.size()), batch = judged_at_a_time(r.image_size * r.image_size);
  for (std::int64_t i = 0; i < n; i += batch) {
    throw_if_stop_requested();
    const std::vector<std::int64_t> part(rows.begin() + i, rows.begin() + std::min(n, i + batch));
    const Tensor x = read_rows(*test_, part);
    const double start = seconds();
    const Tensor y = rae.decode(rae.stats.normalise(rae.encode(x))).to(Device{});
    spent += seconds() - start;
    std::vector<std::int64_t> labels;
    for (const std::int64_t row : part) labels.push_back(test_->label(row));
    tally.add(y, labels);
    squares += sum_squares(y - x.to(Device{}));
    run_.context().log.status(fmt::format("{}: {}/{} images", stage.scored_as, tally.count(), n));
  }
  run_.context().log.end_status();
  const Score of{.name = stage.scored_as,
                 .psnr = -10 * std::log10(squares / static_cast<double>(n * r.channels * r.image_size * r.image_size)),
                 .stage = r.decoder_weights.empty() ? stage.name : r.decoder_weights,
                 .step = run_.loaded_step(stage.name),
                 .checkpoint = checksum(state_dict(rae))};
  return finished(of, tally, spent);
}

namespace {

// The names to score, in their order. ConfigError for one that is none.
std::vector<std::string> chosen(const TrainingRun& run, const std::vector<std::string>& asked) {
  const std::vector<std::string> all = scored_names();
  if (asked.empty()) return all;
  std::vector<std::string> list;
  for (const std::string& name : asked) {
    const bool known = std::find(all.begin(), all.end(), name) != all.end();
    if (name == "last")
      list.push_back(run.last_student());
    else if (known || (name.starts_with("ablate/") && run.has(name)))
      list.push_back(name);
    else
      throw ConfigError(
          fmt::format("--stage {}: want {}, last, or the folder of an ablation's variant, such as ablate/derivative/jvp", name,
                      fmt::join(all, ", ")));
  }
  return list;
}

// The features that scores were computed from, for other programs.
class FeaturesFile {
 public:
  FeaturesFile(const std::filesystem::path& path, const Reference& reference) : npz_(path) {
    add("reference", reference.features, reference.labels);
  }
  void add(const std::string& name, const Tensor& features, const std::vector<std::int64_t>& labels) {
    npz_.add(name, {features.dim(0), features.dim(1)}, features.to_vector<float>());
    npz_.add(name + "_labels", {features.dim(0)}, labels);
  }
  void finish() { npz_.finish(); }

 private:
  NpzWriter npz_;
};

}  // namespace

std::vector<Score> evaluate_run(TrainingRun& run, const EvaluateRequest& request, const std::function<void(const Score&)>& each) {
  const std::vector<std::string> stages = chosen(run, request.stages);
  run.prepare_stats();
  Evaluator evaluator(run);
  std::optional<FeaturesFile> features;
  if (!request.features.empty()) {
    features.emplace(request.features, evaluator.reference());
    evaluator.on_features = [&](const Score& s, const Tensor& x, const std::vector<std::int64_t>& labels) {
      features->add(s.calls < 0 ? s.name : fmt::format("{}_{}", s.name, s.calls), x, labels);
    };
  }
  const EvaluateConfig& c = run.recipe().evaluate;
  std::vector<Score> scores;
  const auto add = [&](const Score& s) {
    scores.push_back(s);
    each(s);
  };
  for (const std::string& name : stages) {
    if (name == stage_that_makes(Makes::decoder).scored_as) {
      add(evaluator.score_decoder());
    } else if (name == stage_that_makes(Makes::teacher).scored_as) {
      if (c.teacher && run.has_teacher()) add(evaluator.score_teacher());
    } else if (run.has(name)) {
      evaluator.score_student(name, name, parse_steps(c.steps), add);
    }
  }
  if (scores.empty())
    throw ConfigError(fmt::format("there is nothing to evaluate in {} for stage {}", run.root().string(), fmt::join(stages, ", ")));
  if (features) features->finish();
  return scores;
}

}  // namespace fm
