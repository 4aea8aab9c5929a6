#include "apps/evaluate/pictures.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <string_view>
#include <utility>

#include "apps/cli/console.h"
#include "apps/cli/progress.h"
#include "autodiff/tape.h"
#include "data/array_rows.h"
#include "data/report/clock.h"
#include "flowmap/training/picture_sets/set_pairs.h"
#include "flowmap/training/picture_sets/set_scores.h"
#include "flowmap/training/picture_sets/statistics_pair.h"
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
    check();
    if (!c_.samples.empty()) samples_ = opened_or_statistics(c_.samples, sample_statistics_);
    if (!c_.reference.empty()) reference_ = opened_or_statistics(c_.reference, statistics_);
    if (c_.features.empty() && !c_.pairs) {
      if (!sample_statistics_.features || !statistics_.features)
        throw ConfigError("--features is missing: inception:FILE (FID's weights) or dinov2:FILE, or give --pairs for PSNR and SSIM");
      samples_.reset(), reference_.reset();                          // without a network the images of such files have no use
    }
    if (samples_ && !c_.features.empty()) refuse_too_few(c_.metrics, counted(*samples_), counted_reference());
    if (!c_.write_statistics.empty() && statistics_.features) throw ConfigError(fmt::format("--write-statistics {}: the reference {} already has statistics: give images", c_.write_statistics, c_.reference));
    if (c_.pairs && (!samples_ || !reference_)) throw ConfigError("--pairs compares images: give --samples and --reference as folders or arrays of images");
  }

  void measure() {
    if (c_.pairs && context_.ranks.first()) measure_pairs(), store();        // before hours of features
    if (sample_statistics_.features && !samples_) measure_statistics();
    else if (!c_.features.empty()) measure_sets();
  }

  void publish() {
    if (scores_.empty() && c_.write_statistics.empty()) throw Error("nothing was measured");
    if (scores_.empty()) return;
    store();
    write_set_report(c_.out, {scores_, limits_, limit_ ? &*limit_ : nullptr, samples_.get(), reference_.get()});
    print_copy("{}", set_scores_text(scores_));
    for (const std::string& limit : limits_) context_.log.warning("{}", limit);
    context_.log.info("scores   {}", (std::filesystem::path(c_.out) / set_scores_file).string());
    context_.log.info("report   {}", (std::filesystem::path(c_.out) / "report.html").string());
  }

 private:
  // Adds the rows that are not in the table yet.
  void store() {
    add_set_scores(c_.out, {scores_.begin() + std::exchange(stored_, std::ssize(scores_)), scores_.end()});
  }

  // Refuses options that contradict each other, before any file is opened.
  void check() const {
    if (c_.samples.empty() && (c_.reference.empty() || c_.write_statistics.empty()))
      throw ConfigError("evaluate pictures needs --samples DIR|FILE and --reference DIR|FILE, or --reference and --write-statistics FILE.npz");
    if (c_.reference.empty() && c_.write_statistics.empty() && !needs_no_reference()) throw ConfigError("--reference DIR|FILE is missing: the images or statistics to compare with (--metrics is,is_adm needs none)");
    check_set_metrics(c_.metrics);
    if (c_.features.empty() && (!c_.write_statistics.empty() || (c_.pairs && !c_.metrics.empty())))
      throw ConfigError("--metrics and --write-statistics need --features: inception:FILE (FID's weights) or dinov2:FILE");
    if (c_.halves == 1) throw ConfigError("--halves 1: a deviation needs at least 2 halves: give 0 for none");
    if (c_.ssim_border != "full" && !c_.pairs) throw ConfigError(fmt::format("--ssim-border {} is for pairs: add --pairs", c_.ssim_border));
    if (!c_.lpips.empty() && !c_.pairs) throw ConfigError(fmt::format("--lpips {} measures pairs: add --pairs", c_.lpips));
    if (c_.features.empty() && !c_.preparation.empty()) throw ConfigError(fmt::format("--preparation {} is for images that --features sees: leave it out, or give --features", c_.preparation));
  }

  // The Inception Score alone compares with nothing.
  bool needs_no_reference() const {
    return !c_.metrics.empty() && std::all_of(c_.metrics.begin(), c_.metrics.end(), [](const std::string& m) { return m == "is" || m == "is_adm"; });
  }

  // Checksum of the statistics, fingerprint of the images.
  static std::string id_of(const SetReference& r) {
    NamedTensors fits;
    if (const auto& fit = r.statistics.features) fits.emplace_back("mu", fit->mean), fits.emplace_back("sigma", fit->covariance);
    if (const auto& fit = r.statistics.spatial) fits.emplace_back("mu_s", fit->mean), fits.emplace_back("sigma_s", fit->covariance);
    const std::string statistics = fits.empty() ? "" : checksum(fits), images = r.images ? r.images->id : "";
    return statistics + (statistics.empty() || images.empty() ? "" : " ") + images;
  }

  std::shared_ptr<const PictureSet> opened(const std::string& path) const {
    const auto set = open_picture_set(path);
    for (const std::string& note : set->notes()) context_.log.warning("{}", note);
    context_.log.info("{}: {} images", set->name(), set->count());
    return set;
  }

  // One array under any name: images, as for --samples.
  static bool is_only_images(const std::string& file) {
    std::error_code ignored;
    return std::filesystem::exists(file, ignored) && is_npz(file) && array_names(file).size() == 1;
  }

  // The images at this path, or null for a file of statistics alone, which are read in any case.
  std::shared_ptr<const PictureSet> opened_or_statistics(const std::string& path, FeatureStatistics& statistics) const {
    if (path.ends_with(".npz") && !is_only_images(path)) {
      statistics = read_statistics(path);
      if (!statistics.has_images) return nullptr;
    }
    return opened(path);
  }

  // Name and number of images of a set, before the network has seen them.
  SeenSet counted(const PictureSet& set) const { return {.name = set.name(), .id = {}, .count = set.count_up_to(c_.limit), .height = 0, .width = 0, .vectors = {}, .spatial = {}, .logits = {}}; }
  SetReference counted_reference() const {
    SetReference out{.name = c_.reference, .id = {}, .images = {}, .statistics = statistics_};
    if (reference_) out.images = counted(*reference_);
    return out;
  }

  // Whether one of these metrics is asked for, by name or because all are.
  bool wants(const std::vector<std::string>& names) const {
    return c_.metrics.empty() || std::any_of(names.begin(), names.end(), [&](const std::string& m) { return std::find(c_.metrics.begin(), c_.metrics.end(), m) != c_.metrics.end(); });
  }

  // spatial, logits: whether these outputs are kept in memory.
  SeenSet seen(const PictureSet& set, const Features& features, bool spatial, bool logits) const {
    ImageProgress progress(context_.log, "features of " + set.name(), set.count_up_to(c_.limit));
    progress.begin(0);
    return seen_set(set, features, {.cache = std::filesystem::path(c_.out) / "features", .limit = c_.limit, .spatial = spatial, .logits = logits,
                     .progress = [&](std::int64_t done) { progress.at(done); }}, *context_.ranks, context_.log);
  }

  // The images of the reference pass the network only if a metric or the statistics read them.
  void see_reference(SetReference& to, const Features& features, const std::vector<std::string>& metrics) const {
    const ReferenceInputs inputs = reference_inputs(metrics, statistics_);
    const bool written = !c_.write_statistics.empty();
    if (reference_ && (inputs.images || written)) to.images = seen(*reference_, features, inputs.spatial || written, false);
  }

  SetScore row(const SetNumber& number) const {
    return {.date = utc_now(), .number = number, .samples = samples_ ? samples_->name() : c_.samples, .samples_id = {},
            .samples_count = samples_ ? samples_->count_up_to(c_.limit) : sample_statistics_.count.value_or(0),
            .reference = c_.reference, .reference_id = {}, .reference_count = {}, .features = {}};
  }

  void measure_pairs() {
    PairOptions options{.limit = c_.limit, .border = c_.ssim_border == "cropped" ? SsimBorder::cropped : SsimBorder::full};
    std::string network;                       // of LPIPS, with the checksum of its weights
    if (!c_.lpips.empty()) {
      const auto lpips = std::make_shared<const Lpips>(open_lpips(c_.lpips, [&](const std::string& line) { context_.log.warning("{}", line); }));
      network = fmt::format("lpips {} {}", lpips->config.trunk, checksum(state_dict(*lpips)));
      options.lpips = [lpips](const Tensor& x, const Tensor& y) {
        const PauseTape pause;
        return (*lpips)(x.to(default_device()), y.to(default_device())).value().to(Device{}).to_vector<double>();
      };
    }
    ImageProgress progress(context_.log, "pairs", samples_->count_up_to(c_.limit));
    progress.begin(0);
    options.progress = [&](std::int64_t done) { progress.at(done); };
    const PairResults results = measured_pairs(*samples_, *reference_, options);
    for (const SetNumber& number : results.numbers) {
      SetScore score = row(number);
      score.samples_id = results.samples_id, score.reference_id = results.reference_id;
      score.reference_count = score.samples_count;
      if (number.name == "lpips") score.features = network;
      scores_.push_back(score);
    }
  }

  Features opened_features() const {
    return open_published_features(c_.features, c_.preparation, [&](const std::string& line) { context_.log.warning("{}", line); });
  }

  // Adds the row of a number in these features.
  void add(const SetNumber& number, const std::string& samples_id, const std::string& reference_id, const std::string& features) {
    SetScore score = row(number);
    score.samples_id = samples_id, score.reference_id = reference_id, score.features = features;
    score.reference_count = std::max<std::int64_t>(0, number.reference_count);
    if (number.reference_count == no_reference) score.reference.clear(), score.reference_id.clear();
    scores_.push_back(score);
  }

  // Refuses a file of statistics of other features.
  static void check_statistics(FeatureStatistics& statistics, const std::string& file, const Features& features) {
    if (!statistics.features) return;
    statistics = read_statistics_of(file, features.name, features.preparation);
    refuse_other_weights(statistics, features, file);
  }

  // Samples of which only the statistics are known. Without --features the files name theirs.
  void measure_statistics() {
    if (!c_.write_statistics.empty()) throw ConfigError(fmt::format("--write-statistics {}: the samples {} already are statistics: leave it out", c_.write_statistics, c_.samples));
    if (c_.limit > 0) throw ConfigError(fmt::format("--limit {}: the statistics of {} are of all its images: leave it out", c_.limit, c_.samples));
    SetReference reference{.name = c_.reference, .id = {}, .images = {}, .statistics = {}};
    std::string network = sample_statistics_.network.empty() ? statistics_.network : sample_statistics_.network, fingerprint = features_of_statistics(sample_statistics_);
    if (c_.features.empty()) refuse_unlike_statistics(sample_statistics_, c_.samples, statistics_, c_.reference);
    else {
      const Features features = opened_features();
      check_statistics(sample_statistics_, c_.samples, features), check_statistics(statistics_, c_.reference, features);
      see_reference(reference, features, {"fid", "sfid"});
      network = features.name, fingerprint = features.fingerprint;
    }
    if (network.empty()) network = sample_statistics_.features->mean.dim(0) == 2048 ? "inception" : "unknown";
    reference.statistics = statistics_;
    reference.id = id_of(reference);
    if (!context_.ranks.first()) return;
    const std::string own = id_of({.name = c_.samples, .id = {}, .images = {}, .statistics = sample_statistics_});
    for (const SetNumber& number : distances_of_statistics(network, sample_statistics_, c_.samples, reference, c_.metrics)) add(number, own, reference.id, fingerprint);
    limits_ = limits_of_statistics(sample_statistics_, c_.samples, reference);
  }

  void measure_sets() {
    const Features features = opened_features();
    check_statistics(statistics_, c_.reference, features);
    SetReference reference{.name = c_.reference, .id = {}, .images = {}, .statistics = statistics_};
    see_reference(reference, features, c_.metrics);
    reference.id = id_of(reference);
    if (!samples_) return write_statistics_of(*reference.images, features);
    const SeenSet samples = seen(*samples_, features, wants({"sfid"}) || (!c_.write_statistics.empty() && !reference.images), wants({"is", "is_adm"}));
    if (!c_.write_statistics.empty()) write_statistics_of(reference.images ? *reference.images : samples, features);
    if (!context_.ranks.first()) return;
    const std::vector<std::string> metrics = c_.metrics.empty() ? usual_set_metrics(samples, reference) : c_.metrics;
    if (metrics.empty()) throw ConfigError("nothing can be measured: " + why_no_set_metric(samples, reference));
    const SetResults results = measured_set(features.name, samples, reference, metrics,
                                            {.seed = narrow<std::uint32_t>(c_.seed, "--seed"), .halves = narrow<int>(c_.halves, "--halves"),
                                             .begins = [&](const std::string& metric) { context_.log.status("measuring " + metric); }});
    context_.log.end_status();
    context_.log.info("features {}", features.fingerprint);
    for (const SetNumber& number : results.numbers) add(number, samples.id, reference.id, features.fingerprint);
    limits_ = limits_of(metrics, samples, reference), limit_ = results.limit;
  }

  void write_statistics_of(const SeenSet& set, const Features& features) const {
    if (!context_.ranks.first()) return;
    write_statistics(c_.write_statistics, statistics_of(set, features));
    context_.log.info("{}: mean and covariance of {} images", c_.write_statistics, set.count);
  }

  const PicturesCommand& c_;
  Context& context_;
  std::shared_ptr<const PictureSet> samples_, reference_;
  FeatureStatistics sample_statistics_, statistics_;      // of the files of samples and reference
  std::vector<SetScore> scores_;
  std::ptrdiff_t stored_ = 0;                // number of scores in the table
  std::vector<std::string> limits_;
  std::optional<FrechetLimit> limit_;
};

}  // namespace

int evaluate_pictures(PicturesCommand& command, Context& context) {
  Evaluation evaluation(command, context);
  evaluation.open();
  std::error_code error;
  std::filesystem::create_directories(command.out, error);
  if (error) throw FileError(fmt::format("--out {}: cannot make the folder: {}", command.out, error.message()));
  std::optional<FolderLock> lock;
  if (context.ranks.first()) lock.emplace(command.out, "--out");
  if (context.ranks.first()) add_set_scores(command.out, {});      // refuses another table before the work
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
    std::int64_t number = 0;
    if (!parse_integer(joined ? argument.substr(std::string_view("--samples=").size()) : std::string_view(argv[i + 1]), number)) out.insert(out.begin() + 1, "pictures");
    break;
  }
  return out;
}

}  // namespace fm
