#include "apps/evaluate/pictures.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <string_view>

#include "apps/cli/console.h"
#include "apps/cli/progress.h"
#include "autodiff/tape.h"
#include "data/report/clock.h"
#include "flowmap/training/picture_sets/set_pairs.h"
#include "flowmap/training/picture_sets/set_scores.h"
#include "flowmap/training/published_features.h"
#include "nn/loaded.h"
#include "nn/models/lpips_weights.h"
#include "tensor/error.h"
#include "tensor/io/folder_lock.h"
#include "tensor/narrow.h"

namespace fm {
namespace {

// The state of one command: what it opened, and the rows that it found.
class Evaluation {
 public:
  Evaluation(const PicturesCommand& c, Context& context) : c_(c), context_(context) {}

  void open() {
    if (c_.samples.empty() && (c_.reference.empty() || c_.write_statistics.empty()))
      throw ConfigError("evaluate pictures needs --samples DIR|FILE and --reference DIR|FILE, or --reference and --write-statistics FILE.npz");
    if (c_.reference.empty() && c_.write_statistics.empty() && !needs_no_reference()) throw ConfigError("--reference DIR|FILE is missing: the images or statistics to compare with");
    if (c_.features.empty() && !c_.pairs)
      throw ConfigError("--features is missing: inception:FILE (FID's weights) or dinov2:FILE, or give --pairs for PSNR and SSIM");
    check_set_metrics(c_.metrics);
    if (!c_.lpips.empty() && !c_.pairs) throw ConfigError(fmt::format("--lpips {} measures pairs: add --pairs", c_.lpips));
    if (!c_.samples.empty()) samples_ = opened(c_.samples);
    if (!c_.reference.empty()) open_reference();
    if (c_.pairs && (!samples_ || !reference_)) throw ConfigError("--pairs compares images: give --samples and --reference as folders or arrays of images");
  }

  void measure() {
    if (c_.pairs) measure_pairs();
    if (!c_.features.empty()) measure_sets();
  }

  void publish() const {
    if (scores_.empty()) return;
    add_set_scores(c_.out, scores_);
    std::vector<std::string> limits = limits_;
    write_set_report(c_.out, {scores_, limits, limit_ ? &*limit_ : nullptr, samples_.get(), reference_.get()});
    print_copy("{}", set_scores_text(scores_));
    for (const std::string& limit : limits) context_.log.warning("{}", limit);
    context_.log.info("scores   {}", (std::filesystem::path(c_.out) / set_scores_file).string());
    context_.log.info("report   {}", (std::filesystem::path(c_.out) / "report.html").string());
  }

 private:
  // The Inception Score alone compares with nothing.
  bool needs_no_reference() const {
    return !c_.metrics.empty() && std::all_of(c_.metrics.begin(), c_.metrics.end(), [](const std::string& m) { return m == "is" || m == "is_adm"; });
  }

  // Checksum of the statistics, fingerprint of the images.
  static std::string id_of(const SetReference& r) {
    const auto& fit = r.statistics.features;
    const std::string statistics = fit ? checksum(NamedTensors{{"mu", fit->mean}, {"sigma", fit->covariance}}) : "", images = r.images ? r.images->id : "";
    return statistics + (statistics.empty() || images.empty() ? "" : " ") + images;
  }

  std::shared_ptr<const PictureSet> opened(const std::string& path) const {
    const auto set = open_picture_set(path);
    for (const std::string& note : set->notes()) context_.log.warning("{}", note);
    context_.log.info("{}: {} images", set->name(), set->count());
    return set;
  }

  std::string preparation() const { return !c_.preparation.empty() ? c_.preparation : c_.features.starts_with("dinov2") ? "pillow" : "tf1"; }

  void open_reference() {
    if (c_.reference.ends_with(".npz")) {
      statistics_ = read_statistics(c_.reference);
      if (!statistics_.has_images) return;
    }
    reference_ = opened(c_.reference);
  }

  SeenSet seen(const PictureSet& set, const Features& features) const {
    ImageProgress progress(context_.log, "features of " + set.name(), c_.limit > 0 ? std::min(c_.limit, set.count()) : set.count());
    progress.begin(0);
    return seen_set(set, features, {.cache = std::filesystem::path(c_.out) / "features", .limit = c_.limit, .progress = [&](std::int64_t done) { progress.at(done); }}, *context_.ranks, context_.log);
  }

  SetScore row(const SetNumber& number) const {
    return {.date = utc_now(), .number = number, .samples = samples_->name(), .samples_id = {}, .samples_count = c_.limit > 0 ? std::min(c_.limit, samples_->count()) : samples_->count(),
            .reference = c_.reference, .reference_id = {}, .reference_count = {}, .features = {}};
  }

  void measure_pairs() {
    PairOptions options{.limit = c_.limit};
    if (!c_.lpips.empty()) {
      const auto lpips = std::make_shared<const Lpips>(open_lpips(c_.lpips, [&](const std::string& line) { context_.log.warning("{}", line); }));
      options.lpips = [lpips](const Tensor& x, const Tensor& y) {
        const PauseTape pause;
        return (*lpips)(x.to(default_device()), y.to(default_device())).value().to(Device{}).to_vector<double>();
      };
    }
    ImageProgress progress(context_.log, "pairs", c_.limit > 0 ? std::min(c_.limit, samples_->count()) : samples_->count());
    progress.begin(0);
    options.progress = [&](std::int64_t done) { progress.at(done); };
    const PairResults results = measured_pairs(*samples_, *reference_, options);
    for (const SetNumber& number : results.numbers) {
      SetScore score = row(number);
      score.samples_id = results.samples_id, score.reference_id = results.reference_id;
      score.reference_count = score.samples_count;
      scores_.push_back(score);
    }
  }

  void measure_sets() {
    const Features features = open_published_features(c_.features, c_.preparation, [&](const std::string& line) { context_.log.warning("{}", line); });
    SetReference reference{.name = c_.reference, .id = {}, .images = {}, .statistics = statistics_};
    if (statistics_.features) refuse_other_statistics(features);
    if (reference_) reference.images = seen(*reference_, features);
    reference.id = id_of(reference);
    if (!samples_) return write_statistics_of(*reference.images, features);
    const SeenSet samples = seen(*samples_, features);
    if (!c_.write_statistics.empty()) write_statistics_of(reference.images ? *reference.images : samples, features);
    if (!context_.ranks.first()) return;
    const std::vector<std::string> metrics = c_.metrics.empty() ? usual_set_metrics(samples, reference) : c_.metrics;
    const SetResults results = measured_set(features.name, samples, reference, metrics, {.seed = narrow<std::uint32_t>(c_.seed, "--seed"), .halves = narrow<int>(c_.halves, "--halves")});
    for (const SetNumber& number : results.numbers) {
      SetScore score = row(number);
      score.samples_id = samples.id, score.reference_id = reference.id, score.features = features.fingerprint;
      score.reference_count = reference.statistics.features ? reference.statistics.count.value_or(0) : reference.images ? reference.images->count : 0;
      scores_.push_back(score);
    }
    limits_ = limits_of(samples, reference), limit_ = results.limit;
  }

  // Statistics that name their network and preparation must have been made with these features.
  void refuse_other_statistics(const Features& features) { statistics_ = read_statistics_of(c_.reference, features.fingerprint, preparation()); }

  void write_statistics_of(const SeenSet& set, const Features& features) const {
    if (!context_.ranks.first()) return;
    FeatureStatistics statistics = statistics_of(set, features);
    statistics.convention = preparation();
    write_statistics(c_.write_statistics, statistics);
    context_.log.info("{}: mean and covariance of {} images", c_.write_statistics, set.count);
  }

  const PicturesCommand& c_;
  Context& context_;
  std::shared_ptr<const PictureSet> samples_, reference_;
  FeatureStatistics statistics_;
  std::vector<SetScore> scores_;
  std::vector<std::string> limits_;
  std::optional<FrechetLimit> limit_;
};

bool is_number(std::string_view text) { return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos; }

}  // namespace

int evaluate_pictures(PicturesCommand& command, Context& context) {
  Evaluation evaluation(command, context);
  evaluation.open();
  std::error_code error;
  std::filesystem::create_directories(command.out, error);
  if (error) throw FileError(fmt::format("--out {}: cannot make the folder: {}", command.out, error.message()));
  std::optional<FolderLock> lock;
  if (context.ranks.first()) lock.emplace(command.out, "--out");
  evaluation.measure();
  if (context.ranks.first()) evaluation.publish();
  return exit_code::finished;
}

std::vector<const char*> with_pictures(int argc, char** argv) {
  std::vector<const char*> out(argv, argv + argc);
  if (argc < 2 || argv[1][0] != '-') return out;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    const bool joined = argument.starts_with("--samples=");
    if (!joined && (argument != "--samples" || i + 1 >= argc)) continue;
    if (!is_number(joined ? argument.substr(std::string_view("--samples=").size()) : std::string_view(argv[i + 1]))) out.insert(out.begin() + 1, "pictures");
    break;
  }
  return out;
}

}  // namespace fm
