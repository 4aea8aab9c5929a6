// Chapter 10: pixels, Haar bands and a representation autoencoder as spaces for a generator: their statistics, their losses, and why a decoder is trained on
// noisy latents. The encoder is frozen and was trained only on images of clothes (configs/weights). The images here are drawn shapes.
//   latent_spaces [FOLDER]        FOLDER gets latent_spaces.csv, .svg and .png
#include <algorithm>

#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/linear.h"
#include "autodiff/tape.h"
#include "data/grid.h"
#include "data/png.h"
#include "data/shapes.h"
#include "docs/book/programs/figure.h"
#include "flowmap/training/generator.h"
#include "flowmap/training/haar_space.h"
#include "flowmap/training/rae_space.h"
#include "nn/checkpoint.h"
#include "nn/optim/adamw.h"
#include "nn/optim/schedule.h"
#include "tensor/ops/copy.h"
#include "tensor/random/fill.h"

using namespace fm;

namespace {

struct Images {
  Tensor x;                                                           // (n, 1, 28, 28), levels in [0, 1]
  std::vector<std::int32_t> labels;                                   // 0 .. 9
};

Images shapes(std::int64_t count, Split split) {
  const Dataset data = draw_shapes({.count = count, .size = 28, .channels = 1}, split);
  std::vector<float> levels;
  for (const std::uint8_t level : data.pixels) levels.push_back(static_cast<float>(level) / 255);
  return {Tensor::from(levels, {count, 1, 28, 28}), data.labels};
}

LatentCoder pixels() {                                                // a user's own space: a shape and two functions
  return {.name = "pixels", .shape = {1, 28, 28}, .encode = [](const Tensor& x) { return x * 2.0 - 1.0; },
          .decode = [](const Tensor& raw) { return clamp(raw * 0.5 + 0.5, 0, 1); }};
}

std::shared_ptr<Rae> autoencoder() {
  RaeConfig config;
  config.encoder = {.image_size = 28, .patch_size = 7, .channels = 1, .width = 64, .depth = 6, .heads = 4, .mlp_width = 256, .registers = 4};
  config.decoder = {.latent_channels = 64, .latent_size = 4, .width = 64, .depth = 2, .heads = 4, .mlp_width = 256, .patch_size = 7, .image_channels = 1};
  const auto rae = std::make_shared<Rae>(config, 1);
  load_model(rae->encoder, load_weights(FM_WEIGHTS_FOLDER "/fashion_mnist_encoder.safetensors", [](const std::string&) {}));
  set_trainable(rae->encoder, false);
  return rae;
}

// Trains the decoder on latents of images, each with noise whose deviation is drawn from [0, tau).
std::shared_ptr<Rae> with_decoder(const std::shared_ptr<Rae>& rae, const Tensor& latents, const Tensor& images, double tau) {
  const Tensor all = grid_to_tokens(latents);                         // (n, 16, 64)
  const std::int64_t rows = 64, steps = 150;
  AdamW optimizer(named_parameters(rae->decoder));
  for (std::int64_t step = 0; step < steps; ++step) {
    const Samples samples = consecutive(step * rows, rows);
    const Tensor index = Tensor::from(consecutive(step * rows % all.dim(0), rows), {rows});
    const Tensor noise = random_uniform_rows(samples, {1, 1}, {.seed = 2}) * tau * random_normal_rows(samples, {16, 64}, {.seed = 3});
    Tape tape;
    const Var loss = mean(abs(rae->pixels(gather(all, index) + noise) - gather(images, index)));
    optimizer.step(backward(loss), {.lr = learning_rate({.peak = 3e-3, .decay = "cosine", .warmup_steps = 20, .decay_end = steps}, step)});
  }
  return rae;
}

double rms(const Tensor& x) { return std::sqrt(sum_squares(x) / static_cast<double>(x.numel())); }

// The share of the rows of b that are nearest to the mean of their own class. The means are those of the classes in a.
double nearest_mean(const Tensor& a, const std::vector<std::int32_t>& a_labels, const Tensor& b, const std::vector<std::int32_t>& b_labels) {
  const std::int64_t size = a.numel() / a.dim(0);
  Tensor means = Tensor::zeros({10, size});
  for (std::int64_t i = 0; i < a.dim(0); ++i) {
    const Tensor row = means.select(0, a_labels[static_cast<std::size_t>(i)]);
    row.copy_from(row + a.select(0, i).reshape({size}) * (10.0 / static_cast<double>(a.dim(0))));
  }
  double right = 0;
  for (std::int64_t i = 0; i < b.dim(0); ++i) {
    const auto far = row_sums(square(means - b.select(0, i).reshape({1, size}))).to_vector<float>();
    right += std::min_element(far.begin(), far.end()) - far.begin() == b_labels[static_cast<std::size_t>(i)];
  }
  return right / static_cast<double>(b.dim(0));
}

}  // namespace

int main(int argc, char** argv) {
  return run_chapter(argc, argv, [](const std::string& folder) {
    const Images train = shapes(960, Split::train), test = shapes(300, Split::test);
    const auto clean = autoencoder(), robust = autoencoder();
    const Tensor raw = clean->encode(train.x);
    struct Entry { std::string name; LatentCoder coder; Tensor raw; };
    const std::vector<Entry> entries{{"pixels", pixels(), train.x * 2.0 - 1.0},
                                     {"Haar bands", haar_coder({1, 28, 28}), haar(train.x * 2.0 - 1.0)},
                                     {"RAE clean", rae_coder(with_decoder(clean, raw, train.x, 0)), raw},
                                     {"RAE noisy", rae_coder(with_decoder(robust, raw, train.x, 0.8)), raw}};
    std::vector<LatentSpace> spaces;
    std::vector<Tensor> latents;                                      // latents of the test images, by space
    fmt::print("{:10}  {:11}  {:>7}  {:15}  {:>10}  {:>10}  {:>12}\n", "space", "latent", "numbers", "deviations, raw", "normalized", "round trip", "nearest mean");
    for (const auto& [name, coder, own] : entries) {
      const LatentSpace& space = spaces.emplace_back(coder, statistics_of(own));
      const auto deviations = sqrt(space.statistics().variance).to_vector<float>();
      const auto low_high = std::minmax_element(deviations.begin(), deviations.end());
      const Tensor z = latents.emplace_back(space.encode(test.x));
      fmt::print("{:10}  {:11}  {:7}  {:.3f} to {:.3f}  {:10.2f}  {:10.3f}  {:12.2f}\n", name, to_string(space.shape()), z.numel() / z.dim(0), *low_high.first,
                 *low_high.second, rms(z), rms(space.decode(z) - test.x), nearest_mean(space.normalised({own}), train.labels, z, test.labels));
    }
    const auto compared = [&](const LatentSpace& other) { return other.fingerprint() == spaces[2].fingerprint() ? "the same" : "another"; };
    fmt::print("\nfingerprint beside that of RAE clean: RAE noisy {},\n  RAE without statistics {}, pixels {}\n", compared(spaces[3]), compared(LatentSpace(entries[2].coder)),
               compared(spaces[0]));

    const auto decoded = [&](std::size_t k, double noise) { return spaces[k].decode(latents[k] + noise * random_normal(latents[k].shape(), {.seed = 9})); };
    fmt::print("\nerror of decoded images, by the deviation of noise on their latents\nnoise  pixels  Haar bands  RAE clean  RAE noisy\n");
    std::string csv = "noise,pixels,haar,rae_clean,rae_noisy\n";
    for (const double noise : {0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0}) {
      const auto error = [&](std::size_t k) { return rms(decoded(k, noise) - test.x); };
      const double a = error(0), b = error(1), c = error(2), d = error(3);
      fmt::print("{:5.1f}  {:6.3f}  {:10.3f}  {:9.3f}  {:9.3f}\n", noise, a, b, c, d);
      csv += fmt::format("{},{:.5f},{:.5f},{:.5f},{:.5f}\n", noise, a, b, c, d);
    }
    if (folder.empty()) return;
    Plot plot{.title = "Error of a decoded image, by the noise on its latent", .x_label = "deviation of the noise (latents have 1)", .y_label = "root mean square error of a pixel",
              .y_low = 0, .y_high = 0.3};
    for (const auto& [column, name] : {std::pair{"pixels", "pixels"}, {"haar", "Haar bands"}, {"rae_clean", "RAE clean"}, {"rae_noisy", "RAE noisy"}})
      plot.curves.push_back(csv_curve(csv, "noise", column, name)), plot.curves.back().markers = true;
    write_figure(folder, "latent_spaces", csv, svg_plot(plot));

    std::vector<Image> grid;
    for (const Tensor& batch : {test.x, decoded(3, 0), decoded(0, 0.7), decoded(2, 0.7), decoded(3, 0.7)})
      for (Image& image : to_images(batch.slice(0, 0, 10))) grid.push_back(std::move(image));
    write_png(folder + "/latent_spaces.png", make_grid(grid, {.columns = 10, .scale = 2, .row_labels = {"image", "RAE noisy", "pixels + 0.7", "RAE clean + 0.7", "RAE noisy + 0.7"}}));
  });
}
