// ablate: what a choice costs and what it buys, everything else equal.
//
//   derivative   from one CMT checkpoint, MFD with the exact JVP and with finite differences of several steps
//   init         MFD from random weights, from the teacher, and from CMT
//   scheme       MFT, MFD, and MFD then MFT, with equal numbers of steps in all
#include <algorithm>
#include <chrono>
#include <cmath>

#include "apps/support/program.h"
#include "apps/support/signals.h"
#include "apps/train/evaluation.h"
#include "data/report/html.h"
#include "data/report/svg_plot.h"
#include "tensor/io/atomic_file.h"
#include "tensor/memory/allocator.h"
#include "tensor/ops/elementwise.h"

using namespace fm;

namespace {

struct AblateCommand {
  Recipe recipe;
  std::string what = "derivative";
  std::vector<double> deltas{1e-1, 1e-2, 5e-3, 1e-3, 1e-4};
  std::int64_t timing_rounds = 9;
  template <class V> void visit(V&& v) {
    v("what", what, "what is varied", one_of({"derivative", "init", "scheme"}), flag("what"));
    v("deltas", deltas, "steps of the finite differences", flag("deltas"));
    v("timing_rounds", timing_rounds, "alternating rounds of the timing; the median counts", at_least(1));
    recipe.visit(v);
  }
};

struct Variant {
  std::string name, init;
  MfStage config;
  std::string then;                       // scheme: a second stage, "mft" or ""
  double target_error = -1;               // relative, against f64
  double seconds = 0, peak_mib = 0;       // of one step
  std::vector<Score> scores;
};

std::vector<Variant> variants(const AblateCommand& c) {
  std::vector<Variant> list;
  const MfStage base = c.recipe.mfd;
  if (c.what == "derivative") {
    Variant jvp{.name = "jvp", .init = "cmt", .config = base};
    jvp.config.objective.derivative.kind = "jvp";
    list.push_back(jvp);
    for (double delta : c.deltas) {
      Variant fd{.name = fmt::format("fd-{:g}", delta), .init = "cmt", .config = base};
      fd.config.objective.derivative.kind = "central";
      fd.config.objective.derivative.delta = delta;
      list.push_back(fd);
    }
  } else if (c.what == "init") {
    for (const char* init : {"random", "fm", "cmt"}) list.push_back({.name = std::string("init-") + init, .init = init, .config = base});
  } else {
    MfStage mft = base;
    mft.velocity = "one-point";
    list.push_back({.name = "mft", .init = "cmt", .config = mft});
    list.push_back({.name = "mfd", .init = "cmt", .config = base});
    Variant both{.name = "mfd-then-mft", .init = "cmt", .config = base, .then = "mft"};
    both.config.loop.steps = base.loop.steps / 2;
    list.push_back(both);
  }
  return list;
}

double relative_error(const Tensor& a, const Tensor& exact) {
  const Tensor wide = a.to(DType::f64);
  return std::sqrt(sum_squares(wide - exact) / sum_squares(exact));
}

Tensor target(const PathBatch& p, const Tensor& w, const Tensor& dudt) {
  const std::int64_t k = dudt.dim(0);
  Shape column = Shape::filled(p.z.rank(), 1);
  column[0] = k;
  return w.slice(0, 0, k) - (p.t.slice(0, 0, k) - p.s.slice(0, 0, k)).reshape(column) * dudt;
}

// The target's error and the step's cost at the common starting point, all variants on the same batch.
void measure(TrainingRun& run, std::vector<Variant>& list, std::int64_t rounds) {
  const DitDh teacher_net = run.load_teacher();
  DitDh student = run.load_student("cmt");
  DitDh wide = clone(student);
  to_dtype(wide, DType::f64);
  const MfStage& base = run.recipe().mfd;
  const Batch batch = run.flow_batch({0, 0, base.loop.batch}, base.loop.batch, 12345);
  const PathBatch p = draw_path_batch(batch, base.objective.pairs, base.objective.labels);
  const auto first = [&](const Tensor& x) { return x.slice(0, 0, p.off_diagonal); };

  const PauseTape pause;
  const Tensor w = evaluate(run.guided(teacher_net), p.z, p.t, p.y);
  const FlowPoint wide_point{p.z.to(DType::f64), p.s.to(DType::f64), p.t.to(DType::f64), p.y, {}, {}};
  PathBatch wide_batch = p;
  wide_batch.s = wide_point.s;
  wide_batch.t = wide_point.t;
  const Tensor wide_w = w.to(DType::f64);
  const Tensor exact = target(wide_batch, wide_w, differentiate(flow_map_net(wide), wide_point, first(wide_w), {}).dudt);
  for (Variant& v : list) {
    const Derivative d = differentiate(flow_map_net(student), {p.z, p.s, p.t, p.y, {}, {}}, first(w), v.config.objective.derivative);
    v.target_error = relative_error(target(p, w, d.dudt), exact);
  }

  set_trainable(student, true);
  std::vector<std::vector<double>> times(list.size());
  for (std::int64_t round = 0; round <= rounds; ++round)
    for (std::size_t i = 0; i < list.size(); ++i) {
      const std::size_t live = memory_stats().live;
      reset_memory_peak();
      const auto start = std::chrono::steady_clock::now();
      {
        Tape tape;
        const VelocitySource velocity = teacher(run.guided(teacher_net));
        backward(mean_flow(flow_map_net(student), batch, velocity, list[i].config.objective).loss);
      }
      if (round > 0) times[i].push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
      list[i].peak_mib = static_cast<double>(memory_stats().peak - live) / (1 << 20);
    }
  for (std::size_t i = 0; i < list.size(); ++i) {
    std::nth_element(times[i].begin(), times[i].begin() + static_cast<std::ptrdiff_t>(times[i].size() / 2), times[i].end());
    list[i].seconds = times[i][times[i].size() / 2];
  }
}

Outcome train_variant(TrainingRun& run, const Variant& v) {
  const std::string stage = "ablate/" + v.name;
  if (v.then.empty()) return run.train_mean_flow(stage, v.config, v.init);
  if (run.train_mean_flow(stage + "-first", v.config, v.init) == Outcome::stopped) return Outcome::stopped;
  MfStage second = v.config;
  second.velocity = "one-point";
  return run.train_mean_flow(stage, second, stage + "-first");
}

std::vector<std::vector<std::string>> rows_of(const std::vector<Variant>& list, const std::vector<int>& calls) {
  std::vector<std::vector<std::string>> rows;
  for (const Variant& v : list) {
    std::vector<std::string> row{v.name, v.target_error < 0 ? "-" : fmt::format("{:.2e}", v.target_error), v.seconds > 0 ? fmt::format("{:.3f}", v.seconds) : "-",
                                 v.peak_mib > 0 ? fmt::format("{:.1f}", v.peak_mib) : "-"};
    for (std::size_t i = 0; i < calls.size(); ++i) row.push_back(i < v.scores.size() ? fmt::format("{:.3f}", v.scores[i].frechet) : "diverged");
    rows.push_back(row);
  }
  return rows;
}

std::string terminal_table(const std::vector<std::string>& head, const std::vector<std::vector<std::string>>& rows) {
  std::string out;
  const auto line = [&](const std::vector<std::string>& cells) {
    for (std::size_t i = 0; i < cells.size(); ++i) out += i == 0 ? fmt::format("{:<14}", cells[i]) : fmt::format("{:>16}", cells[i]);
    out += '\n';
  };
  line(head);
  for (const auto& row : rows) line(row);
  return out;
}

Plot error_plot(const std::vector<Variant>& list) {
  Curve fd{.name = "finite difference", .markers = true}, jvp{.name = "exact JVP (any step)", .dashed = true};
  for (const Variant& v : list) {
    if (v.config.objective.derivative.kind == "jvp") continue;
    fd.x.push_back(v.config.objective.derivative.delta);
    fd.y.push_back(v.target_error);
    jvp.x.push_back(v.config.objective.derivative.delta);
    jvp.y.push_back(list[0].target_error);
  }
  return {.title = "Error of the target against f64", .x_label = "step of the finite difference", .y_label = "relative error", .curves = {fd, jvp}, .log_x = true, .log_y = true};
}

std::string csv_of(const std::vector<std::string>& head, const std::vector<std::vector<std::string>>& rows) {
  std::string out;
  const auto line = [&](const std::vector<std::string>& cells) {
    for (std::size_t i = 0; i < cells.size(); ++i) out += (i ? "," : "") + cells[i];
    out += '\n';
  };
  line(head);
  for (const auto& row : rows) line(row);
  return out;
}

int ablate(AblateCommand& c, Context& context) {
  install_signal_handlers();
  if (context.launch.max_time > 0) set_time_limit(context.launch.max_time, "--max-time");
  TrainingRun run(c.recipe, context);
  run.prepare_stats();
  AblateCommand resolved = c;
  resolved.recipe = run.recipe();
  std::vector<Variant> list = variants(resolved);
  if (c.what == "derivative") measure(run, list, c.timing_rounds);
  for (const Variant& v : list) {
    try {
      if (train_variant(run, v) == Outcome::stopped) return exit_code::stopped_early;
    } catch (const DivergedError& e) {
      context.log.warning("{}", e.what());                       // a row of the table, not the end of it
    }
  }
  Evaluator evaluator(run);
  const std::vector<int> calls = parse_steps(c.recipe.evaluate.steps);
  for (Variant& v : list) {
    if (!run.has("ablate/" + v.name)) continue;
    const DitDh student = run.load_student("ablate/" + v.name);
    for (int n : calls) v.scores.push_back(evaluator.score(v.name, flow_map_generator(flow_map_net(student), n), n));
  }
  std::vector<std::string> head{c.what, "target error", "s/step", "peak MiB"};
  for (int n : calls) head.push_back(fmt::format("Frechet {} call{}", n, n == 1 ? "" : "s"));
  const auto rows = rows_of(list, calls);
  const auto folder = run.root() / "ablate";
  write_atomically(folder / (c.what + ".csv"), csv_of(head, rows));
  HtmlReport report("Ablation: " + c.what, "run in " + run.root().string());
  report.table(head, rows, fmt::format("{} steps of MeanFlow each, {} samples", run.recipe().mfd.loop.steps, run.recipe().evaluate.samples));
  if (c.what == "derivative") report.plot(error_plot(list));
  write_atomically(folder / (c.what + ".html"), report.html());
  fmt::print("{}", terminal_table(head, rows));
  context.log.info("report   {}", (folder / (c.what + ".html")).string());
  return exit_code::finished;
}

}  // namespace

int main(int argc, char** argv) {
  Program program{.name = "ablate", .summary = "Compares choices of MeanFlow training from one starting point.",
                  .quickstart = "ablate --config configs/quickstart.toml --out runs/quickstart --what derivative"};
  program.add<AblateCommand>({.name = "", .help = "train and compare the variants", .trains = true}, ablate);
  return run_program(program, argc, argv);
}
