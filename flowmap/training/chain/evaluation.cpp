#include "flowmap/training/chain/evaluation.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "data/class_names.h"
#include "data/report/clock.h"
#include "flowmap/metrics/sample_metrics.h"
#include "flowmap/training/chain/feature_rows.h"
#include "flowmap/training/chain/samples_page.h"
#include "flowmap/training/picture_sets/set_scores.h"
#include "nn/checkpoint.h"
#include "tensor/error.h"
#include "tensor/interrupt.h"
#include "tensor/io/npy.h"
#include "tensor/narrow.h"
#include "tensor/ops/copy.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/reduce.h"

namespace fm {
namespace {

double seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

void refuse_other_samples(const Recipe& r, const SampleSource& test) {
  const auto classes = std::ssize(test.class_names());
  if (!space_of(r).pictures) {
    if (test.shape() == r.sample_shape && classes == r.classes) return;
    throw ConfigError(fmt::format("the test split of {} has samples of {} in {} classes, but the run's models are for samples of {} in {} classes: give the "
                                  "run's --data", r.data, to_string(test.shape()), classes, to_string(r.sample_shape), r.classes));
  }
  const PictureSize size = picture_size(test, "an evaluation of images");
  if (size.height == r.image_size && size.width == r.image_size && size.channels == r.channels && classes == r.classes) return;
  throw ConfigError(fmt::format(
      "the test split of {} has {}x{} images of {} channels in {} classes, but the run's models are for {}x{} images of {} channels in {} classes: "
      "give the run's --data",
      r.data, size.height, size.width, size.channels, classes, r.image_size, r.image_size, r.channels, r.classes));
}

constexpr std::int64_t first_sample = 1000000;  // number of the first sample: previews do not show its noise

}  // namespace

Late accuracy(const Tensor& logits, const Tensor& labels) {
  const Tensor right = sum(equal(argmax(logits, 1).to(DType::f64), labels.to(DType::f64)));
  return div(right, Tensor::scalar(static_cast<double>(labels.numel()), DType::f64, right.device()));
}

void check_evaluation(const EvaluateConfig& c, std::int64_t test_images) {
  const std::int64_t reference = c.reference == 0 ? test_images : std::min(c.reference, test_images), wanted = c.k + 1;
  if (reference < wanted || test_images < 2)
    throw ConfigError(fmt::format(
        "the test split has {} image{}{}; an evaluation needs at least {} test images (2, and more than evaluate.k = {}): add test "
        "images, or lower --evaluate.k",
        test_images, test_images == 1 ? "" : "s", reference < test_images ? fmt::format(", evaluate.reference takes {}", reference) : "",
        std::max<std::int64_t>(2, wanted), c.k));
  if (c.samples < wanted) throw ConfigError(fmt::format("evaluate.samples {} is not above evaluate.k {}: raise the samples or lower k", c.samples, c.k));
}

// Collects the features of samples as users see them (images rounded to 8 bits), and counts for each class how often the predicted class is the requested
// one.
class Evaluator::Tally {
 public:
  Tally(const Features& features, std::string name, bool pictures, const std::vector<std::string>& class_names)
      : by_(features), name_(std::move(name)), pictures_(pictures) {
    for (const std::string& class_name : class_names) classes_.push_back({.name = class_name});
  }

  void add(const Tensor& samples, const std::vector<std::int64_t>& labels) {
    refuse_not_finite(samples, name_ + (pictures_ ? ": pixels" : ": values"), consecutive(count(), samples.dim(0)));
    const Tensor shown = pictures_ ? affine(samples, 255, 0.5).to(DType::u8).to(DType::f32) / 255.0 : samples;
    const std::int64_t n = seen_at_a_time(samples.shape().without(0));
    for (std::int64_t i = 0; i < samples.dim(0); i += n) {
      const Seen seen = by_.see(shown.slice(0, i, std::min(samples.dim(0), i + n)));
      const std::int64_t rows = seen.vectors.dim(0);
      refuse_not_finite(seen.vectors, name_ + ": features", consecutive(count(), rows));
      parts_.add(seen);
      for (std::int64_t k = 0; k < rows; ++k) {
        const std::int64_t asked = labels[static_cast<std::size_t>(i + k)];
        labels_.push_back(asked);
        if (seen.classes.empty()) continue;
        ClassScore& of = classes_.at(static_cast<std::size_t>(asked));
        ++of.samples, of.right += seen.classes[static_cast<std::size_t>(k)] == asked;
      }
    }
  }
  std::int64_t count() const { return static_cast<std::int64_t>(labels_.size()); }
  Seen seen() const { return parts_.joined(); }
  const std::vector<std::int64_t>& labels() const { return labels_; }
  // Empty if the features have no classes.
  std::vector<ClassScore> classes() const {
    const bool known = std::any_of(classes_.begin(), classes_.end(), [](const ClassScore& of) { return of.samples > 0; });
    return known ? classes_ : std::vector<ClassScore>();
  }

 private:
  const Features& by_;
  std::string name_;
  bool pictures_;
  std::vector<ClassScore> classes_;
  SeenParts parts_;
  std::vector<std::int64_t> labels_;
};

namespace {

// The short name of each label.
std::vector<std::string> class_names(TrainingRun& run, const SampleSource& test) {
  std::vector<std::string> names = run.class_names().empty() ? test.class_names() : run.class_names();
  for (std::string& name : names) name = short_class_name(name);
  return names;
}

}  // namespace

Evaluator::Evaluator(TrainingRun& run) : run_(run), test_(open_source(run.recipe().data, Split::test)) {
  check_evaluation(run.recipe().evaluate, test_->count());
  refuse_other_samples(run.recipe(), *test_);
  features_ = open_features(run);
  Messages& log = run.context().log;
  reference_ = load_reference(*test_, run.recipe().evaluate.reference, features_, run.root() / "evaluation", log);
  const std::string right = reference_.classes.empty() ? "" : fmt::format("; the {} assigns {:.1f} % of them to the right class", features_.name, 100 * reference_.accuracy);
  const char* things = space_of(run.recipe()).pictures ? "images" : "samples";
  log.info("reference: {} of the {} test {} ({}){}", reference_.rows.size(), test_->count(), things, reference_.id, right);
  if (!features_.preparation.empty()) {                    // a published network
    log.info("features {}, {}", features_.text(), features_.fingerprint);
    for (const std::string& limit : limits_of_counts(run.recipe().evaluate.samples, std::ssize(reference_.rows), reference_.features.dim(1))) log.warning("{}", limit);
  }
  std::string missing;
  for (std::size_t c = 0; c < test_->class_names().size(); ++c)
    if (std::find(reference_.labels.begin(), reference_.labels.end(), static_cast<std::int64_t>(c)) == reference_.labels.end())
      missing += (missing.empty() ? "" : ", ") + class_names(run, *test_)[c];
  if (!missing.empty())
    log.warning("the reference has no {} of {}, but generated samples have these classes, which makes distances and recall worse", things, missing);
}

std::string Evaluator::text() const {
  const EvaluateConfig& c = run_.recipe().evaluate;
  return fmt::format("{} {}, {} samples, reference {}, k {}", features_.text(), features_.fingerprint, c.samples, reference_.id, c.k);
}

std::map<std::string, double> Evaluator::metrics_of(const Seen& generated) const {
  const int neighbours = narrow<int>(run_.recipe().evaluate.k, "k");
  return measured_metrics({.real = reference_.features, .real_fit = reference_.fit, .generated = generated.vectors, .neighbours = neighbours,
                           .sample = features_.are_values ? test_->shape() : Shape(), .real_spatial_fit = reference_.spatial.defined() ? &reference_.spatial_fit : nullptr,
                           .spatial = generated.spatial, .logits = generated.logits});
}

Score Evaluator::finished(Score s, const Tally& tally, double spent) const {
  const EvaluateConfig& c = run_.recipe().evaluate;
  const Seen seen = tally.seen();
  s.metrics = metrics_of(seen);
  s.by_class = tally.classes();
  std::int64_t right = 0;
  for (const ClassScore& of : s.by_class) right += of.right;
  if (!s.by_class.empty()) s.accuracy = static_cast<double>(right) / static_cast<double>(tally.count());
  s.ms_per_image = 1000 * spent / static_cast<double>(tally.count());
  const LatentCoder coder = run_.decoding_space().coder();
  if (coder.decoder) s.decoder = coder.decoder();
  s.samples = tally.count();
  if (s.seed < 0) s.seed = run_.recipe().seed;
  s.k = c.k;
  s.classes = run_.recipe().classes;
  s.data = run_.recipe().data;
  s.reference = static_cast<std::int64_t>(reference_.rows.size());
  s.reference_id = reference_.id;
  s.reference_accuracy = reference_.accuracy;
  s.features = features_.text();
  s.judge = features_.fingerprint;
  s.date = utc_now();
  if (on_features) on_features(s, seen.vectors, tally.labels());
  return s;
}

Score Evaluator::score(const ScoredGenerator& generator) {
  const EvaluateConfig& c = run_.recipe().evaluate;
  const auto seed = static_cast<std::uint64_t>(generator.of.seed >= 0 ? generator.of.seed : run_.recipe().seed);
  const std::vector<std::int64_t> labels = balanced_labels(c.samples, run_.recipe().classes, seed);
  Tally tally(features_, generator.of.name, space_of(run_.recipe()).pictures, class_names(run_, *test_));
  const LatentGenerator generate = run_.recipe().conditional ? generator.generate : without_labels(generator.generate);
  double spent = 0, start = seconds();
  generate_batches(run_.decoding_space(), generate, consecutive(first_sample, c.samples), labels, seed, c.batch,
                   [&](std::int64_t first, const Tensor& images) {
                     spent += seconds() - start;
                     check_interrupt();
                     tally.add(images, {labels.begin() + first, labels.begin() + first + images.dim(0)});
                     run_.context().log.status(fmt::format("{}: {}/{} samples", generator.of.name, tally.count(), c.samples));
                     start = seconds();
                   });
  run_.context().log.end_status();
  return finished(generator.of, tally, spent);
}

Score Evaluator::score_decoder() {
  const Recipe& r = run_.recipe();
  const LatentSpace space = run_.decoding_space();
  const std::vector<std::int64_t> rows = drawn_rows(reference_.rows, r.evaluate.samples);
  const StageSpec& stage = *decoder_stage(r);
  Tally tally(features_, stage.scored_as, space_of(r).pictures, class_names(run_, *test_));
  double squares = 0, spent = 0;
  const auto n = static_cast<std::int64_t>(rows.size()), batch = seen_at_a_time(test_->shape());
  for (std::int64_t i = 0; i < n; i += batch) {
    check_interrupt();
    const std::vector<std::int64_t> part(rows.begin() + i, rows.begin() + std::min(n, i + batch));
    const Tensor x = read_rows(*test_, part);
    const double start = seconds();
    const Tensor y = space.decode(space.encode(x)).to(Device{});
    spent += seconds() - start;
    std::vector<std::int64_t> labels;
    for (const std::int64_t row : part) labels.push_back(test_->label(row));
    tally.add(y, labels);
    squares += sum_squares(y - x.to(Device{}));
    run_.context().log.status(fmt::format("{}: {}/{} images", stage.scored_as, tally.count(), n));
  }
  run_.context().log.end_status();
  const Score of{.name = stage.scored_as,
                 .psnr = -10 * std::log10(squares / static_cast<double>(n * test_->shape().numel())),
                 .stage = stage.is_given(r) ? r.*stage.given : stage.name,
                 .step = run_.loaded_step(stage.name),
                 .checkpoint = space.coder().weights()};
  return finished(of, tally, spent);
}

namespace {

// Writes the features that scores were computed from to an .npz file, for other programs.
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
  const std::vector<std::string> names = names_to_score(run, request.stages);
  Evaluator evaluator(run);
  std::optional<FeaturesFile> features;
  if (!request.features.empty()) features.emplace(request.features, evaluator.reference());
  std::optional<SamplesPage> page;
  if (request.page && evaluator.scores_values() && !space_of(run.recipe()).pictures) page.emplace(run, evaluator);
  evaluator.on_features = [&](const Score& s, const Tensor& x, const std::vector<std::int64_t>& labels) {
    if (features) features->add(s.calls < 0 ? s.name : fmt::format("{}_{}", s.name, s.calls), x, labels);
    if (page) page->add(s, x, labels);
  };
  std::vector<Score> scores;
  const auto add = [&](const Score& s) {
    scores.push_back(s);
    each(s);
  };
  const StageSpec* decoder = decoder_stage(run.recipe());
  for (const std::string& name : names) {
    if (decoder != nullptr && name == decoder->scored_as) add(evaluator.score_decoder());
    scored_generators(run, name, {run.recipe().evaluate.teacher_points}, [&](const ScoredGenerator& g) { add(evaluator.score(g)); });
  }
  if (scores.empty())
    throw ConfigError(fmt::format("there is nothing to evaluate in {} for stage {}: train a generator first", run.root().string(), fmt::join(names, ", ")));
  if (features) features->finish();
  if (page) page->write();
  return scores;
}

}  // namespace fm
