// All stages in order, then what a person wants to see: samples side by side, the table of scores, and the curves, in one report.html.
#include <chrono>
#include <fstream>

#include "apps/support/ranks.h"
#include "apps/support/run_folder.h"
#include "apps/support/signals.h"
#include "apps/train/evaluation.h"
#include "data/grid.h"
#include "data/png.h"
#include "data/report/csv.h"
#include "data/report/html.h"
#include "tensor/io/atomic_file.h"
#include "tensor/io/crc32c.h"

namespace fm {
namespace {

struct NamedStage {
  std::string name;
  std::int64_t steps;
  std::function<Outcome()> run;
  bool on_latents = false;
};

std::vector<NamedStage> stages_of(TrainingRun& run) {
  const Recipe& r = run.recipe();
  std::vector<NamedStage> list;
  if (r.judge_weights.empty()) list.push_back({"judge", r.judge.loop.steps, [&] { return run.train_judge(); }});
  if (r.encoder_weights.empty()) list.push_back({"encoder", r.encoder.loop.steps, [&] { return run.train_encoder(); }});
  if (r.decoder_weights.empty()) list.push_back({"decoder", r.decoder.loop.steps, [&] { return run.train_decoder(); }});
  if (r.teacher_weights.empty()) list.push_back({"fm", r.fm.loop.steps, [&] { return run.train_teacher(); }, true});
  list.push_back({"cmt", r.cmt.loop.steps, [&] { return run.train_cmt(); }, true});
  list.push_back({"mfd", r.mfd.loop.steps, [&] { return run.train_mfd(); }, true});
  list.push_back({"mft", r.mft.loop.steps, [&] { return run.train_mft(); }, true});
  return list;
}

std::string read_text(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// One block a generator, one column a class, the same noise in every block.
Image comparison_grid(TrainingRun& run, const std::vector<std::string>& class_names) {
  constexpr std::int64_t rows = 4;
  const Recipe& r = run.recipe();
  std::vector<std::pair<std::string, LatentGenerator>> generators;
  const DitDh teacher = run.load_teacher();
  const int points = static_cast<int>(r.evaluate.teacher_points);
  generators.emplace_back(fmt::format("teacher {}", points), ode_generator(run.guided(teacher), points, run.latent_shift()));
  const std::string last = run.last_student();
  const DitDh student = run.load_student(last);
  for (int n : {1, 2})
    generators.emplace_back(fmt::format("{} {} step{}", last, n, n == 1 ? "" : "s"), flow_map_generator(flow_map_net(student), n));

  std::vector<Image> pictures;
  std::vector<std::string> row_labels;
  std::vector<std::int64_t> labels;
  for (std::int64_t i = 0; i < rows * r.classes; ++i) labels.push_back(i % r.classes);
  for (const auto& [name, generate] : generators) {
    const auto n = static_cast<std::int64_t>(labels.size());
    for (Image& image : to_images(generate_images(run.autoencoder(), generate, consecutive(0, n), labels,
                                                  static_cast<std::uint64_t>(r.seed), run.sampling_batch(), [](std::int64_t) {})))
      pictures.push_back(std::move(image));
    for (std::int64_t i = 0; i < rows; ++i) row_labels.push_back(i == 0 ? name : "");
  }
  return make_grid(
      pictures,
      {.columns = static_cast<int>(r.classes), .scale = r.image_size < 64 ? 2 : 1, .column_labels = class_names, .row_labels = row_labels});
}

Plot stage_curve(const std::filesystem::path& folder, const std::string& stage, std::vector<std::string> columns) {
  const std::string csv = read_text(folder / stage / "metrics.csv");
  const auto known = csv_columns(csv);
  std::erase_if(columns, [&](const std::string& column) { return std::find(known.begin(), known.end(), column) == known.end(); });
  Plot plot{.title = fmt::format("{}: {}", stage, fmt::join(columns, ", ")), .x_label = "step", .y_label = "", .log_y = true};
  for (const std::string& column : columns) plot.curves.push_back(csv_curve(csv, "step", column, column));
  return plot;
}

// Which weights a report is about: each stage's newest checkpoint, by the checksum of what describes it.
std::string weights_line(const TrainingRun& run, const std::vector<NamedStage>& stages) {
  std::string line = "Weights:";
  for (const NamedStage& s : stages) {
    const auto state = run.root() / s.name / "checkpoints" / "latest" / "state.json";
    if (std::filesystem::exists(state)) line += fmt::format(" {} {:08x}", s.name, crc32c(read_text(state)));
  }
  return line;
}

void write_report(TrainingRun& run, const std::vector<NamedStage>& stages, const std::vector<Score>& scores, const Image& grid) {
  HtmlReport report("flowmap: from noise to " + run.recipe().data + " in one step", "run in " + run.root().string());
  report.heading("Samples");
  report.paragraph(
      "Each column is a class; the blocks start from the same noise: the flow-matching teacher along its whole trajectory, then the flow "
      "map in one and in two network calls.");
  const auto png = encode_png(grid);
  report.png({reinterpret_cast<const char*>(png.data()), png.size()});
  report.heading("Scores");
  report.paragraph(
      "Frechet distance, precision and recall in the features of a judge that no generator saw, against real test images; accuracy is the "
      "share of samples that the judge takes for the class asked for.");
  std::vector<std::vector<std::string>> rows;
  for (const Score& s : scores)
    rows.push_back({s.name, std::to_string(s.calls), fmt::format("{:.3f}", s.frechet), fmt::format("{:.3f}", s.precision),
                    fmt::format("{:.3f}", s.recall), fmt::format("{:.1f} %", 100 * s.accuracy),
                    s.psnr > 0 ? fmt::format("{:.2f} dB", s.psnr) : "-", fmt::format("{:.2f}", s.ms_per_image)});
  report.table({"", "calls", "Frechet", "precision", "recall", "accuracy", "PSNR", "ms/image"}, rows,
               fmt::format("{} samples each", run.recipe().evaluate.samples));
  report.paragraph(weights_line(run, stages));
  report.heading("Training");
  report.paragraph(
      "With an adaptive metric the loss of mfd and mft stays near 1, whatever happens; raw_mse is the mean square before it. "
      "derivative_ratio is |du/dt| / |u|: when it grows, training is in danger. Each stage's folder has a report with all its curves.");
  std::vector<Plot> plots;
  for (const NamedStage& s : stages) {
    if (!std::filesystem::exists(run.root() / s.name / "metrics.csv")) continue;
    plots.push_back(stage_curve(run.root(), s.name, {"loss", "raw_mse"}));
    plots.push_back(stage_curve(run.root(), s.name, {"grad_norm", "derivative_ratio"}));
  }
  report.plots(plots);
  report.preformatted(read_text(run.root() / "fm" / "config.toml"), "config.toml");
  write_atomically(run.root() / "report.html", report.html());
}

// --fresh: the whole run goes aside at once, so that no stage meets an old one when it is stopped and goes on.
void check_launch(TrainingRun& run) {
  Launch& launch = run.context().launch;
  if (launch.resume != "auto" && launch.resume != "never")
    throw ConfigError("--resume " + launch.resume + ": pipeline goes on by itself; a path is for one stage");
  if (!launch.init_from.empty()) throw ConfigError("--init-from is for one stage (fm, cmt, mfd or mft), not for pipeline");
  if (!launch.fresh) return;
  run.context().ranks.only_first([&] {
    if (std::filesystem::exists(run.root())) move_aside(run.root(), run.context().log);
  });
  launch.fresh = false;
  launch.resume = "auto";
}

}  // namespace

namespace {

// Samples, scores and report: the first rank's work.
void show(TrainingRun& run, const std::vector<NamedStage>& stages) {
  Logger& log = run.context().log;
  if (!run.recipe().has_judge()) {
    log.info("no judge: draw samples with flowmap_sample and give their .npz to an evaluator");
    return;
  }
  if (read_text(run.root() / "report.html").find(weights_line(run, stages)) != std::string::npos) {
    log.info("already evaluated: see {} (delete it to evaluate again)", (run.root() / "report.html").string());
    return;
  }
  const std::vector<Score> scores = evaluate_run(run, "", [&](const std::string& line) { log.info("{}", line); });
  save_scores(run.root() / "scores.csv", scores);
  const Image grid = comparison_grid(run, open_dataset(run.recipe().data, Split::test).class_names);
  write_png(run.root() / "samples.png", grid);
  write_report(run, stages, scores, grid);
  log.info("samples  {}", (run.root() / "samples.png").string());
  log.info("scores   {}", (run.root() / "scores.csv").string());
  log.info("report   {}", (run.root() / "report.html").string());
}

bool stop_before(TrainingRun& run) { return sum_over_ranks(*run.context().ranks, {stop_requested() ? 1.0 : 0.0})[0] > 0; }

}  // namespace

int run_pipeline(TrainingRun& run) {
  check_launch(run);
  const auto start = std::chrono::steady_clock::now();
  const auto stages = stages_of(run);
  Logger& log = run.context().log;
  for (const NamedStage& stage : stages) {
    if (stage.steps == 0) continue;
    if (stage.on_latents && run.lacks_cached_latents()) run.encode_latents();
    if (stop_before(run) || stage.run() == Outcome::stopped) return exit_code::stopped_early;
    if (stage.name == "decoder" && run.recipe().latents.from != "cache") run.prepare_stats();
  }
  const double minutes = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / 60;
  log.info("training took {:.1f} minutes in this process", minutes);
  run.context().ranks.only_first([&] { show(run, stages); });
  return exit_code::finished;
}

}  // namespace fm
