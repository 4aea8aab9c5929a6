// flowmap_sample: samples from a trained run, or from published files alone.
#include "apps/cli/command_line.h"
#include "apps/cli/program.h"
#include "apps/run/run_observer.h"
#include "apps/sample/pictures.h"
#include "apps/sample/reconstruct.h"
#include "apps/sample/values.h"
#include "data/class_names.h"
#include "data/report/csv.h"
#include "flowmap/training/chain/spaces.h"
#include "flowmap/training/chain/training_run.h"
#include "nn/flops/activations.h"
#include "nn/loaded.h"
#include "tensor/narrow.h"

using namespace fm;

namespace {

struct SampleCommand {
  Recipe recipe;
  PublishedConfig published;
  PictureConfig pictures;
  std::string stage = "last", solver = "euler", diffusion = usual_diffusion, last_step = "auto", images;
  std::int64_t calls = 1;
  std::shared_ptr<AdaptiveWork> work = std::make_shared<AdaptiveWork>();
  template <class V>
  void visit(V&& v) {
    pictures.visit(v);
    v("calls", calls, "number of network calls of a flow map, or of steps of the teacher's solver", range(1, 10000), flag("steps"), basic());
    v("solver", solver, "solver of the teacher's ODE: steps of euler or heun, dopri5 (chooses its own steps); or sde, SiT's stochastic sampler",
      ChoiceRule{teacher_solver_names()}, flag("solver"));
    v("diffusion", diffusion, "diffusion w(t) of the SDE: sigma = t (SiT, REPA, REG; linear is the same), constant = 1, sbdm = t/(1-t), decreasing, increasing-decreasing",
      ChoiceRule{diffusion_names()}, flag("diffusion"));
    std::vector<std::string> last_steps = last_step_names();
    last_steps.insert(last_steps.begin(), "auto");
    v("last_step", last_step, "last step of the SDE, without noise: mean (SiT, REPA, REG), tweedie (to the expected data), or none; auto: tweedie for constant, else mean",
      ChoiceRule{last_steps}, flag("last-step"));
    const std::vector<std::string> maps = stages_that_make(Makes::flow_map);
    v("stage", stage,
      fmt::format("generator of the run to sample from; last: the first of {} that is trained", newest_first(maps)), flag("stage"), basic(),
      value_as(fmt::format("last|{}|{}", fmt::join(maps, "|"), stage_that_makes(Makes::teacher).scored_as)));
    v("reconstruct", images, "PNG or JPEG files to encode and decode instead of sampling, comma-separated",
      flag("reconstruct"), basic(), value_as("FILE,..."));
    v("published", published, "weights without a run's folder");
    recipe.visit(v);
  }

  DrawConfig draw() const {
    return {calls, teacher_solver_named(solver), recipe.guidance, recipe.guided_times(), work, {.diffusion = diffusion_named(diffusion), .last_step = last_step_named(last_step_text())}};
  }
  bool usual() const { return diffusion_named(diffusion) == diffusion_named(usual_diffusion); }
  // With a constant diffusion the mean of the SDE's last step is far from the data.
  std::string usual_last_step() const { return diffusion == "constant" ? "tweedie" : "mean"; }
  std::string last_step_text() const { return last_step == "auto" ? usual_last_step() : last_step; }
};

// Whether class names are needed: for labels that are given by name, and above a grid's columns.
bool needs_names(const SampleCommand& c) { return !c.pictures.grid.empty() || (c.pictures.labels != "equal" && c.pictures.labels != "random"); }

// Options of weights without a run have no effect on a run: ConfigError names the first that is given.
void refuse_options_of_published(const PublishedConfig& published) {
  if (published.given()) return;
  PublishedConfig plain, given = published;
  const std::vector<Field> before = list_fields(plain), now = list_fields(given);
  for (std::size_t i = 0; i < now.size(); ++i)
    if (const std::string value = to_text(now[i]); value != to_text(before[i]))
      throw ConfigError(fmt::format("--{} {}: this option is for weights without a run, and needs --dit, the weights that generate latents; a run has its own: leave it out",
                                    now[i].rule.flag.empty() ? with_dashes(now[i].path) : now[i].rule.flag, value));
}

// Guidance on the command line is meant for this generator. In a config it is the teacher's, and decided a flow map's training.
void refuse_guidance_of_flow_map(const SampleCommand& c, const Context& context, const std::string& stage) {
  if (c.recipe.guidance == 1) return;
  for (const Assignment& a : context.assignments)
    if (a.key.starts_with("guidance"))
      throw ConfigError(fmt::format("{} {}: guidance is for the teacher, but stage {} is a flow map, which learned its guidance: leave it out, or add --stage {}", a.where, a.text,
                                    stage, stage_that_makes(Makes::teacher).scored_as));
}

// The samples of a run: its decoder and one of its generators.
Source open_run(const SampleCommand& c, TrainingRun& run, const Context& context) {
  run.need_folder();
  const bool teacher = c.stage == stage_that_makes(Makes::teacher).scored_as;
  const std::string stage = c.stage == "last" ? run.last_student() : c.stage;
  if (!teacher && c.solver != "euler") throw ConfigError(fmt::format("--solver {} is for the teacher, but stage {} is a flow map, which makes jumps: leave --solver out, or add --stage {}",
                                                                     c.solver, stage, stage_that_makes(Makes::teacher).scored_as));
  if (!teacher) refuse_guidance_of_flow_map(c, context, stage);
  const Network model = teacher ? run.load_teacher() : run.load_student(stage);
  const DrawConfig draw = c.draw();
  const LatentGenerator generate = teacher ? run.teacher_generator(model, draw.calls + 1, draw.solver, draw.work, draw.sde)
                                           : run.student_generator(stage, model, narrow<int>(draw.calls, "calls"));
  Source source;
  source.space = run.decoding_space();
  source.classes = run.recipe().classes;
  source.rounding = space_of(run.recipe()).rounding;
  if (needs_names(c)) source.class_names = run.class_names();
  source.generate = run.recipe().conditional ? generate : without_labels(generate);
  source.bytes_a_sample = run.recipe().network.cost(!teacher).activations(1, true).one_block;
  source.weights = [model, space = source.space] { return fmt::format("dit {} {}", checksum(model.state()), space.decoding().empty() ? space.name() : space.decoding()); };
  return source;
}

// The labels as numbers, even if the command gives names of classes.
std::string labels_text(const SampleCommand& c, const Source& source) {
  if (c.pictures.labels == "equal" || c.pictures.labels == "random") return c.pictures.labels;
  std::vector<std::int64_t> labels;
  for (const std::string_view cell : csv_cells(c.pictures.labels)) labels.push_back(label_named(cell, source.class_names, source.classes));
  return fmt::format("{}", fmt::join(labels, ","));
}

// The text of the weights, and those of earlier builds: of the statistics they recorded the variance alone, or, for a run, nothing.
std::vector<std::string> texts_of_weights(const std::string& weights, const LatentStats& statistics, bool published) {
  std::vector<std::string> out{weights};
  const std::size_t at = weights.find(" stats ");
  if (!statistics.defined() || at == std::string::npos) return out;
  const std::string now = checksum(statistics);
  out.push_back(weights);
  out.back().replace(weights.find(now, at), now.size(), checksum({{"var", statistics.variance}}));
  if (!published) out.push_back(weights.substr(0, at));
  return out;
}

// The settings of the solver, and those of earlier builds, which did not record the usual last step of an SDE.
std::vector<std::string> texts_of_solver(const SampleCommand& c) {
  std::string text;
  if (c.solver != "euler") text += " solver " + c.solver;
  if (!c.usual()) text += " diffusion " + c.diffusion;
  if (c.solver != "sde") return {text};
  const std::string whole = text + " last step " + c.last_step_text();
  return c.last_step_text() == c.usual_last_step() ? std::vector{whole, text} : std::vector{whole};
}

// The settings as one line, which is equal for two commands whose images may share a folder.
Settings settings(const SampleCommand& c, const Source& source) {
  if (c.pictures.pngs.empty()) return {};
  const std::string draws = fmt::format(" seed {} labels {} steps {} rounding {}", c.recipe.seed, labels_text(c, source), c.calls,
                                        rounding_of(c.pictures, source.rounding) == Rounding::nearest ? "nearest" : "truncate");
  std::string line;
  if (c.solver == "dopri5") line += fmt::format(" batch {}", batch_of(c.pictures, source));      // its steps depend on all samples of a batch
  if (c.recipe.guidance != 1) line += fmt::format(" guidance {} from {} to {}", c.recipe.guidance, c.recipe.guidance_from, c.recipe.guidance_to);
  if (c.published.tile > 0) line += fmt::format(" tile {}", c.published.tile);
  if (c.published.precision != "f32") line += " precision " + c.published.precision;
  std::vector<std::string> lines;
  for (const std::string& weights : texts_of_weights(source.weights(), source.space.statistics(), c.published.given()))
    for (const std::string& solver : texts_of_solver(c)) lines.push_back(weights + draws + solver + line);
  return {lines.front(), {lines.begin() + 1, lines.end()}};
}

// The number of calls follows from the samples if the solver chooses its own steps.
void report_work(const AdaptiveWork& work, Logger& log) {
  if (work.batches > 0)
    log.info("dopri5: {} calls of the teacher, {} steps, {} more rejected; {:.1f} calls for a batch", work.calls, work.steps, work.rejected,
             static_cast<double>(work.calls) / static_cast<double>(work.batches));
}

int sample(SampleCommand& c, Context& context) {
  std::optional<TrainingRun> run;
  if (c.published.given() && !context.launch.out.empty())
    throw ConfigError(
        "--out is a run's folder and --dit are weights without one: give one of them (images go to --pngs, --npz and --grid)");
  refuse_options_of_published(c.published);
  if (c.published.given() && c.stage != "last")
    throw ConfigError(fmt::format("--stage {} is a generator of a run (--out), but --dit gives the weights: leave --stage out", c.stage));
  if (c.recipe.guidance_from > c.recipe.guidance_to)
    throw ConfigError(fmt::format("--guidance-from {} --guidance-to {}: no time lies between these values: exchange them", c.recipe.guidance_from, c.recipe.guidance_to));
  if (c.solver != "sde" && (c.diffusion != usual_diffusion || c.last_step != "auto"))
    throw ConfigError(fmt::format("--diffusion and --last-step are for --solver sde, not {}: leave them out", c.solver));
  const Warn warn = [&](const std::string& line) { context.log.warning("{}", line); };
  if (!c.images.empty() && c.published.given())
    throw ConfigError("--reconstruct and --dit exclude each other: --reconstruct uses the autoencoder of a run (--out) or a recipe (--config), --dit generates samples; leave one of the two out");
  if (!c.published.given()) run.emplace(c.recipe, run_context(context));
  const bool pictures = !run || space_of(run->recipe()).pictures;
  if (!c.images.empty() && !pictures)
    throw ConfigError(fmt::format("--reconstruct: space \"{}\" has no autoencoder: samples {} of {} are their own latents; leave --reconstruct out to generate samples, with --npz FILE",
                                  run->recipe().space, to_string(run->recipe().sample_shape), run->recipe().data));
  if (!c.images.empty()) return reconstruct(*run, c.images, c.pictures), exit_code::finished;
  Source source = run ? open_run(c, *run, context) : open_published(c.published, c.draw(), warn, [&](const std::string& line) { context.log.info("{}", line); });
  if (!run && !c.recipe.class_names.empty()) source.class_names = read_class_names(c.recipe.class_names, source.classes);
  else if (!run && source.classes == 1000) source.class_names = read_class_names("imagenet", source.classes);
  if (pictures) draw_pictures(source, c.pictures, static_cast<std::uint64_t>(c.recipe.seed), settings(c, source), context.log);
  else draw_values(source, c.pictures, static_cast<std::uint64_t>(c.recipe.seed), context.log);
  report_work(*c.work, context.log);
  return exit_code::finished;
}

}  // namespace

int main(int argc, char** argv) {
  Program program{.name = "flowmap_sample",
                  .summary = "Generates samples from a trained run, or from published weights.",
                  .quickstart = "flowmap_sample --config configs/quickstart.toml --out runs/quickstart --count 100 --steps 1"};
  program.add<SampleCommand>(
      {.name = "",
       .help = "generate samples",
       .examples = {{"50,000 images for an evaluator, from published files",
                     "flowmap_sample --dit mf_rae.pt --decoder model.pt --stats stat.pt --count 50000 --pngs images --npz images.npz"},
                    {"a guided SiT, with SiT's SDE", "flowmap_sample --dit SiT-XL-2-256x256.pt --vae sd-vae-ft-ema --solver sde --steps 250 --guidance 1.5 --count 16"},
                    {"an image to latents and back",
                     "flowmap_sample --config configs/imagenet256/mf_rae.toml --out runs/rae --reconstruct dog.jpg"}},
       .own_config = [](const std::string& out) { return stored_config(out); },
       .unlisted = entries_besides({"seed", "guidance", "guidance_from", "guidance_to", "class_names"}), .listed_by = lists_all_entries},
      sample);
  return run_program(program, argc, argv);
}
