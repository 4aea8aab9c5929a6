// flowmap_sample: pictures from a trained run, as a grid and as the .npz that evaluators read.
#include "apps/support/program.h"
#include "apps/train/generator.h"
#include "apps/train/training_run.h"
#include "data/grid.h"
#include "data/npy.h"
#include "data/png.h"

using namespace fm;

namespace {

struct SampleCommand {
  Recipe recipe;
  std::string stage = "last", grid = "samples.png", npz, solver = "euler";
  std::int64_t count = 100, class_number = -1, calls = 1, first = 0;
  template <class V> void visit(V&& v) {
    v("stage", stage, "whose weights: last (of mft, mfd, cmt), cmt, mfd, mft, or teacher", flag("stage"));
    v("count", count, "pictures", at_least(1), flag("count"));
    v("class", class_number, "label of all of them; -1: all labels in turn", at_least(-1), flag("class"));
    v("calls", calls, "steps of the flow map, or of the teacher's solver", at_least(1), flag("steps"));
    v("first", first, "number of the first sample: sample i is the same picture in any batch", at_least(0), flag("first"));
    v("solver", solver, "of the teacher", one_of({"euler", "heun"}), flag("solver"));
    v("grid", grid, "PNG of all pictures; empty: none", flag("grid"));
    v("npz", npz, "uint8 pictures (N, H, W, C) under the key arr_0; empty: none", flag("npz"));
    recipe.visit(v);
  }
};

// (n, C, H, W) in [0, 1] as uint8 (n, H, W, C) under arr_0: the layout of the ADM evaluator
void save_npz(const std::string& file, const Tensor& images) {
  std::vector<std::uint8_t> bytes;
  bytes.reserve(static_cast<std::size_t>(images.numel()));
  for (const Image& image : to_images(images)) bytes.insert(bytes.end(), image.pixels.begin(), image.pixels.end());
  NpzWriter npz(file);
  npz.add<std::uint8_t>("arr_0", {images.dim(0), images.dim(2), images.dim(3), images.dim(1)}, bytes);
  npz.finish();
}

LatentGenerator generator(const SampleCommand& c, TrainingRun& run, std::optional<DitDh>& model) {
  if (c.stage == "teacher") {
    model.emplace(run.load_teacher());
    return ode_generator(run.guided(*model), static_cast<int>(c.calls) + 1, run.latent_shift(),
                         c.solver == "heun" ? Solver::heun : Solver::euler);
  }
  model.emplace(run.load_student(c.stage == "last" ? run.last_student() : c.stage));
  return flow_map_generator(flow_map_net(*model), static_cast<int>(c.calls));
}

int sample(SampleCommand& c, Context& context) {
  TrainingRun run(c.recipe, context);
  if (c.class_number >= run.recipe().classes)
    throw ConfigError(
        fmt::format("class {}: there are {} classes, 0 to {}", c.class_number, run.recipe().classes, run.recipe().classes - 1));
  run.prepare_stats();
  std::optional<DitDh> model;
  const LatentGenerator generate = generator(c, run, model);
  std::vector<std::int64_t> labels;
  for (std::int64_t i = 0; i < c.count; ++i) labels.push_back(c.class_number >= 0 ? c.class_number : (c.first + i) % run.recipe().classes);
  const Tensor images =
      generate_images(run.autoencoder(), generate, consecutive(c.first, c.count), labels, static_cast<std::uint64_t>(run.recipe().seed),
                      256, [&](std::int64_t done) { context.log.status(fmt::format("{}/{} samples", done, c.count)); });
  context.log.end_status();
  if (!c.grid.empty()) {
    write_png(c.grid, make_grid(to_images(images), {.columns = c.class_number < 0 ? static_cast<int>(run.recipe().classes) : 0,
                                                    .scale = run.recipe().image_size < 64 ? 2 : 1}));
    context.log.info("grid {}", c.grid);
  }
  if (!c.npz.empty()) {
    save_npz(c.npz, images);
    context.log.info("arr_0 {} in {}", to_string(Shape{images.dim(0), images.dim(2), images.dim(3), images.dim(1)}), c.npz);
  }
  return exit_code::finished;
}

}  // namespace

int main(int argc, char** argv) {
  Program program{.name = "flowmap_sample", .summary = "Draws samples from a trained run.",
                  .quickstart = "flowmap_sample --config configs/quickstart.toml --out runs/quickstart --count 100 --steps 1"};
  program.add<SampleCommand>({.name = "", .help = "draw samples"}, sample);
  return run_program(program, argc, argv);
}
