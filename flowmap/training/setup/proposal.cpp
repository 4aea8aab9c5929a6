#include "flowmap/training/setup/proposal.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "nn/config/toml_text.h"
#include "tensor/error.h"

namespace fm {
namespace {

struct Rung {
  std::int64_t width, depth, heads;
};
constexpr Rung ladder[] = {{64, 2, 2}, {96, 3, 3}, {128, 4, 4}, {192, 4, 6}, {256, 6, 8}, {384, 8, 6}};

constexpr std::int64_t largest_small_side = 32, first_look = 100;
constexpr std::int64_t tokens_a_side = 8, tokens_a_large_side = 16, large_side = 192;

class Settings {
 public:
  template <class T> void operator()(const std::string& key, const T& value, const std::string& why = "") { list_.push_back({key, fmt::format("{}", value), why}); }
  std::vector<Setting> take() { return std::move(list_); }

 private:
  std::vector<Setting> list_;
};

// Returns the smallest patch (positions that a token spans), `least` or more, that divides the side into at most `most` tokens.
std::int64_t patch_of(std::int64_t side, std::int64_t least, std::int64_t most) {
  for (std::int64_t patch = least; patch < side; ++patch)
    if (side % patch == 0 && side / patch <= most) return patch;
  return side;
}

// Returns the patch size for images of this side. ConfigError if no patch size gives a grid with enough tokens.
std::int64_t picture_patch(const DataFacts& f, std::int64_t side) {
  const std::int64_t patch = patch_of(side, 2, side < large_side ? tokens_a_side : tokens_a_large_side), tokens = side / patch;
  if (tokens < tokens_a_side / 2)
    throw ConfigError(fmt::format("{}: sides of {} pixels divide into {} x {} tokens, but at least {} a side are needed: cut the images to another size, such "
                                  "as {}", f.data, side, tokens, tokens, tokens_a_side / 2, std::max(tokens_a_side, side / tokens_a_side * tokens_a_side)));
  return patch;
}

struct Rates {
  double peak, end;
};

// Adds the loop of one stage: steps, batch, average, logs, checkpoints and learning rate.
void add_loop(Settings& add, const Choice& c, const std::string& stage, std::int64_t batch, Rates rate, const std::string& why, bool averaged = true) {
  const auto given = c.steps.find(stage);
  const std::int64_t steps = given == c.steps.end() || given->second == 0 ? first_look : given->second;
  const std::string loop = stage + ".loop.";
  add(loop + "steps", steps, why);
  add(loop + "batch", batch);
  if (averaged) add(loop + "ema", fmt::format("{:.4g}", std::clamp(1 - 12.0 / static_cast<double>(steps), 0.9, 0.9995)), "the average forgets within a twelfth of the steps");
  add(loop + "log_every", std::clamp<std::int64_t>(steps / 20, 1, 100));
  add(loop + "ckpt_every", std::max<std::int64_t>(1, steps / 4), "steps that may be lost if the training is killed");
  add(loop + "rate.peak", rate.peak);
  add(loop + "rate.end", rate.end);
  add(loop + "rate.decay", "cosine");
  add(loop + "rate.warmup_steps", std::min<std::int64_t>(50, steps / 10));
  add(loop + "rate.decay_end", steps, "as loop.steps: change both");
}

std::string time_reason(const Choice& c) { return c.steps.empty() ? "" : "as many as its share of the budget allows"; }

std::int64_t batch_for(const DataFacts& f, std::int64_t usual) { return f.train >= 4 * usual ? usual : usual / 2; }

void add_network(Settings& add, const Choice& c, std::int64_t patch, const std::string& patch_reason) {
  const Rung r = ladder[c.rung];
  if (patch > 1) add("dit.patch_size", patch, patch_reason);
  add("dit.width", r.width, "the largest network of a ladder that gets enough steps in the budget");
  add("dit.depth", r.depth);
  add("dit.heads", r.heads);
  add("dit.head_width", r.width);
  add("dit.head_depth", c.rung < 2 ? 1 : 2);
  add("dit.head_heads", r.heads);
}

void add_judge(Settings& add, const DataFacts& f, const Choice& c) {
  const bool large = !is_small(c.side);
  if (large) add("judge.model.width", 8, "convolutions at full size are most of this stage's time");
  add("judge.shift", std::max<std::int64_t>(1, c.side / 14), "pixels that training images move, either way");
  add_loop(add, c, stage_name::judge, batch_for(f, c.side > 2 * largest_small_side ? 32 : 64), {2e-3, 1e-5}, time_reason(c));
}

// Adds an encoder that is trained on the images without labels, and its decoder.
void add_autoencoder(Settings& add, const DataFacts& f, const Choice& c) {
  const std::int64_t patch = picture_patch(f, c.side), tokens = c.side / patch, width = c.side > 64 && c.side < large_side ? 96 : 64;
  const bool large = c.side > 2 * largest_small_side;                // large images: fewer of them per step, so that there are enough steps
  const Rung r = ladder[c.rung];
  add("rae.encoder.patch_size", patch, fmt::format("pixels of a token's side: {0}x{0} tokens", tokens));
  add("rae.encoder.width", width, fmt::format("numbers per token; a latent has {} numbers, an image {}", width * tokens * tokens, f.channels * c.side * c.side));
  add("rae.encoder.depth", 4);
  add("rae.encoder.heads", 4);
  add("rae.encoder.mlp_width", 4 * width);
  add("rae.encoder.registers", 4);
  add("rae.decoder.width", r.width);
  add("rae.decoder.depth", std::min<std::int64_t>(3, r.depth));
  add("rae.decoder.heads", r.heads);
  add("rae.decoder.mlp_width", 4 * r.width);
  add("encoder.prototypes", 256);
  add("encoder.hidden", 128);
  add("encoder.local_size", patch * (tokens / 2), "a small crop has half the image's side");
  add_loop(add, c, stage_name::encoder, batch_for(f, large ? 32 : 64), {1e-3, 1e-5}, time_reason(c), false);
  add("encoder.loop.adamw.clip", "3.0");
  add_loop(add, c, stage_name::decoder, batch_for(f, large ? 32 : 64), {2e-3, 5e-5}, time_reason(c));
}

// Adds teacher and flow map of images, with the settings of configs/quickstart.toml.
void add_generators(Settings& add, const DataFacts& f, const Choice& c) {
  const double scale = ladder[c.rung].width > 192 ? 0.6 : 1;
  const std::int64_t batch = batch_for(f, 64);
  add_loop(add, c, stage_name::fm, batch, {1.5e-3 * scale, 1e-4 * scale}, time_reason(c));
  add_loop(add, c, stage_name::cmt, 8, {1e-3 * scale, 1e-4 * scale}, time_reason(c));
  add("cmt.objective.points", 16, "points of the teacher's trajectory: each trajectory of the batch takes 15 steps of the teacher");
  add("cmt.objective.pairs", 16);
  add("cmt.objective.jitter", "1.0");
  add_loop(add, c, stage_name::mfd, batch, {1e-3 * scale, 5e-5 * scale}, time_reason(c));
  add("mfd.objective.metric.kind", "adaptive", "row by row, so that a few rows with a large du/dt do not decide the step");
  add("mfd.objective.pairs.diagonal_share", "0.3", "more rows with s < t than in the paper, because trainings are short");
  add("mfd.objective.pairs.zero_share", "0.1", "rows with s = 0, where one call lands");
  add("mfd.objective.pairs.time.shift", "2.5", "towards noise, where one call starts");
  add("mfd.objective.labels.probability", "0.0");
  add("mft.loop.steps", 0, "MeanFlow on data after the distillation: not needed");
}

void add_evaluation(Settings& add, const Choice& c) {
  add("evaluate.samples", c.samples, "for each generator; distances of few samples are biased upwards: compare equal numbers");
  add("evaluate.teacher_points", c.teacher_points);
}

std::string data_text(const DataFacts& f, const Choice& c) {
  std::vector<std::pair<std::string, std::int64_t>> keys;
  if (f.open_size) keys.emplace_back("size", c.side);
  if (f.open_channels && f.channels != 3) keys.emplace_back("channels", f.channels);
  if (c.limit > 0) keys.emplace_back("limit", c.limit);
  return with_keys(f.data, keys);
}

std::string size_reason(const DataFacts& f, const Choice& c) {
  if (!f.open_size) return "";
  std::string out = fmt::format("the middle square of each image, scaled to {0}x{0}", c.side);
  if (c.side < sides_for(f).front()) out += fmt::format(": with larger images the budget allows too few steps; --size {} takes them nevertheless", sides_for(f).front());
  return out;
}

void add_pictures(Settings& add, const DataFacts& f, const Choice& c) {
  const bool small = is_small(c.side);
  add("data", data_text(f, c), size_reason(f, c));
  add("seed", c.seed);
  add("space", small ? "pixels" : "rae",
      small ? fmt::format("images of {} pixels or less are modeled as they are", largest_small_side) : "latents of an encoder that is trained on these images");
  add("guidance", "2.0", "scale of the teacher's guidance, 1: none. Higher values give clearer, less varied samples");
  if (!c.from_memory) add("latents.from", "images", "too many images for memory: they are read as they are needed");
  const std::int64_t patch = picture_patch(f, c.side);
  add_network(add, c, small ? patch : 1, fmt::format("pixels of a token's side: {0}x{0} tokens", c.side / patch));
  add_judge(add, f, c);
  if (!small) add_autoencoder(add, f, c);
  add_generators(add, f, c);
  add_evaluation(add, c);
}

// Adds a transformer for long sequences and large square grids, and an MLP for other values, with the settings of configs/series.toml.
void add_values(Settings& add, const DataFacts& f, const Choice& c) {
  const std::int64_t places = f.shape.rank() < 2 ? 1 : f.shape[f.shape.rank() - 1];
  const bool square = f.shape.rank() == 2 || (f.shape.rank() == 3 && f.shape[1] == f.shape[2]);
  const bool tokens = square && f.shape.numel() > 256 && places >= 8;
  add("data", data_text(f, c));
  add("seed", c.seed);
  add("space", "identity", "samples are their own latents");
  add("network", tokens ? "dit_dh" : "mlp", tokens ? "a transformer over positions" : "few numbers in a sample");
  if (!tokens && f.classes() == 1) add("conditional", "false", "one class");
  add("identity.normalize", "true", "each element gets mean 0 and variance 1, as noise has");
  if (tokens) {
    const std::int64_t patch = patch_of(places, 1, f.shape.rank() == 2 ? 32 : tokens_a_side);
    add_network(add, c, patch, fmt::format("positions of a token: {} a side", places / patch));
  } else {
    add("mlp.width", 2 * ladder[c.rung].width, "the largest network of a ladder that gets enough steps in the budget");
    add("mlp.depth", 3);
  }
  const std::int64_t batch = batch_for(f, 128);
  for (const auto& [stage, rows, rate] : {std::tuple{stage_name::fm, batch, Rates{2e-3, 0}}, {stage_name::cmt, std::int64_t{16}, {1e-3, 0}},
                                          {stage_name::mfd, batch, {tokens ? 5e-4 : 1e-3, 0}}}) {
    add_loop(add, c, stage, rows, rate, time_reason(c));
    const std::string own = std::string(stage) + ".";
    add(own + "loop.adamw.beta2", "0.999");
    add(own + "loop.adamw.clip", "1.0");
  }
  add("cmt.objective.points", 17);
  add("cmt.objective.pairs", 16);
  add("fm.objective.labels.probability", "0.0", "no guidance, so no calls without a label");
  add("mfd.objective.labels.probability", "0.0");
  add("mfd.objective.pairs.diagonal_share", "0.5");
  add("mft.loop.steps", 0);
  add_evaluation(add, c);
}

}  // namespace

bool is_small(std::int64_t side) { return side <= largest_small_side; }

std::size_t rungs_for(const DataFacts& f) { return f.train < 500 ? 3 : f.train < 5000 ? 4 : std::size(ladder); }

std::vector<std::int64_t> sides_for(const DataFacts& f) {
  if (!f.pictures || !f.open_size) return {f.side};
  const std::int64_t whole = is_small(f.side) ? 4 : 8;               // the side is a multiple of this, so that tokens divide it
  std::vector<std::int64_t> out{std::min<std::int64_t>(256, f.side / whole * whole)};
  if (out.front() >= large_side) out.front() = out.front() / tokens_a_large_side * tokens_a_large_side;
  for (const std::int64_t side : {128, 64, 32})
    if (side < out.front()) out.push_back(side);
  return out;
}

std::vector<Setting> propose(const DataFacts& facts, const Choice& choice) {
  Settings add;
  facts.pictures ? add_pictures(add, facts, choice) : add_values(add, facts, choice);
  return add.take();
}

Recipe recipe_of(const std::vector<Setting>& settings) {
  Recipe recipe;
  const std::vector<Field> fields = list_fields(recipe);
  for (const Setting& s : settings) set_from_text(find_field(fields, s.key, "init"), s.value, "init");
  return recipe;
}

std::string config_text(const std::string& head, const std::vector<Setting>& settings) {
  Recipe recipe = recipe_of(settings);
  const std::vector<Field> fields = list_fields(recipe);
  std::string out, group;
  std::vector<std::string> groups{""};
  for (std::size_t at = 0; at < head.size(); at = std::min(head.find('\n', at), head.size()) + 1) {
    const std::string line = head.substr(at, head.find('\n', at) - at);
    out += line.empty() ? "#\n" : "# " + line + "\n";
  }
  for (const Setting& s : settings)
    if (const std::string g = find_field(fields, s.key, "init").group(); std::find(groups.begin(), groups.end(), g) == groups.end()) groups.push_back(g);
  for (const std::string& g : groups) {
    if (!g.empty()) out += fmt::format("\n[{}]\n", g);
    for (const Setting& s : settings) {
      const Field& field = find_field(fields, s.key, "init");
      if (field.group() != g) continue;
      const std::string assignment = fmt::format("{} = {}", field.leaf(), toml_value(field));
      out += s.why.empty() ? assignment + "\n" : fmt::format("{:<24}  # {}\n", assignment, s.why);
    }
  }
  return out;
}

}  // namespace fm
