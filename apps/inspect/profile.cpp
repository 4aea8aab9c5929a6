#include "apps/inspect/profile.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <functional>

#include "flowmap/training/chain/latents.h"
#include "flowmap/training/chain/stages.h"
#include "flowmap/training/stage.h"
#include "nn/optim/adamw.h"
#include "tensor/machine.h"
#include "tensor/memory/allocator.h"
#include "tensor/ops/matmul.h"
#include "tensor/profile.h"
#include "tensor/random/fill.h"

namespace fm {
namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

struct Limits {
  double flops, bandwidth;
};

// Rate of the fastest of several calls, in FLOP/s.
double product_rate(std::int64_t m, std::int64_t n, std::int64_t k, DType type) {
  const Tensor x = random_normal({m, k}, {1, 1}).to(type), w = random_normal({n, k}, {1, 2}).to(type);
  double best = 0;
  for (const double end = now() + 0.3; now() < end;) {
    const double start = now();
    linear(x, w, {}, DType::f32);
    best = std::max(best, 2.0 * static_cast<double>(m * n * k) / (now() - start));
  }
  return best;
}

// The trained module of a stage, on one batch of random latents, and its optimizer.
struct Trainer {
  Network model, teacher;
  Batch batch;
  FlowStage flow;
  AdamW optimizer;

  Trainer(const Recipe& r, const std::string& kind, const LoopConfig& loop, std::int64_t rows)
      : model(r.network.make(true, 1)), teacher(r.network.make(false, 2)), batch(random_batch(r, rows, 1)),
        flow(flow_stage(kind, loop, parts(r, kind))), optimizer(flow.stage.trained) {
    teacher.freeze();
    optimizer.add_average(flow.stage.averaged, 0.999);
  }

  // mft and mfd both use the settings of mfd, with the same number of rows with s < t in each step.
  FlowParts parts(Recipe r, const std::string& kind) const {
    r.mfd.objective.pairs.exact_share = true;
    const VelocityNet named = [v = teacher.v()](const Var& z, const Var& t, const Labels& y) {
      const ModulePath path("teacher");
      return v(z, t, y);
    };
    return {.objective = stage_named(kind == stage_name::fm ? stage_name::fm : stage_name::mfd).objective_in(r), .network = model,
            .batch = [own = batch](const StepPart&) { return own; },
            .velocity = kind == stage_name::mfd ? fm::teacher(named) : one_point(), .shape = r.latent_shape()};
  }

  void step() {
    Tape tape;
    optimizer.step(backward(flow.stage.loss({0, 0, batch.z0.dim(0), -1, 1}).loss), {.lr = 1e-6});
    synchronise(default_device());
  }
  double seconds_of_a_forward() const {
    const PauseTape pause;
    const Tensor t = Tensor::full({batch.z0.dim(0)}, 0.5, batch.z0.dtype());
    double best = 1e30;
    for (int i = 0; i < 3; ++i) {
      const double start = now();
      model.u()(batch.z0, t, t, batch.y);
      synchronise(default_device());
      best = std::min(best, now() - start);
    }
    return best;
  }
};

// Shortens names of parts, so that tables stay short: blocks.3 -> backbone blocks.
std::string part_of(const std::string& place, const NetworkConfig& network) {
  const auto at = place.find("blocks.");
  if (at == std::string::npos) return place.empty() ? "around the blocks" : place;
  return place.substr(0, at) + network.block_name(std::atoll(place.c_str() + at + 7));
}

std::string line(const std::string& what, const ProfileCost& c, double total, const Limits& limits, double steps) {
  const auto part = [](double a, double b) { return b > 0 && a > 0 ? fmt::format("{:5.1f} %", 100 * a / b) : std::string("       "); };
  return fmt::format("{:<44} {:>7} {:>9.2f} ms {} {:>9.2f} {:>8.2f}  {} {}\n", what,
                     static_cast<std::int64_t>(static_cast<double>(c.calls) / steps), 1e3 * c.seconds / steps, part(c.seconds, total),
                     1e-9 * c.flops / steps, 1e-9 * c.bytes / steps, part(c.flops / c.seconds, limits.flops),
                     part(c.bytes / c.seconds, limits.bandwidth));
}

using Label = std::function<std::string(const ProfileKey&)>;

std::string table(const std::string& title, const std::map<ProfileKey, ProfileCost>& costs, const Limits& limits, double steps,
                  const Label& label) {
  std::map<std::string, ProfileCost> groups;
  double total = 0;
  for (const auto& [key, c] : costs) {
    groups[label(key)] += c;
    total += c.seconds;
  }
  std::vector<std::pair<std::string, ProfileCost>> rows(groups.begin(), groups.end());
  std::stable_sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) { return a.second.seconds > b.second.seconds; });
  std::string out = fmt::format("\n{:<44} {:>7} {:>12} {:>7} {:>9} {:>8}  {:>7} {:>7}\n", title, "calls", "time", "share", "GFLOP", "GB",
                                "of peak", "of b/w");
  for (const auto& [name, c] : rows)
    if (c.seconds > 5e-4 * total) out += line(name, c, total, limits, steps);
  return out;
}

}  // namespace

std::string machine_table() {
  const double f32 = measured_f32_peak(), bf16 = measured_bf16_peak(), bandwidth = measured_bandwidth();
  std::string out = fmt::format("f32 multiply-adds     {:8.1f} GFLOP/s\n", 1e-9 * f32);
  out += bf16 > 0 ? fmt::format("bf16 pair products    {:8.1f} GFLOP/s\n", 1e-9 * bf16) : "bf16 pair products    none on this machine\n";
  out += fmt::format("memory, y = a x + y   {:8.1f} GB/s\n", 1e-9 * bandwidth);
  for (const DType type : {DType::f32, DType::bf16})
    for (const auto& [m, n, k] : {std::array<std::int64_t, 3>{4096, 768, 768}, {2048, 1152, 384}, {256, 4608, 1152}}) {
      const double rate = product_rate(m, n, k, type), peak = type == DType::bf16 && bf16 > 0 ? bf16 : f32;
      out += fmt::format("product {:<4} {:>5} x {:>4} x {:>4} {:8.1f} GFLOP/s {:6.1f} % of peak\n", name_of(type), m, n, k, 1e-9 * rate,
                         100 * rate / peak);
    }
  return out;
}

std::string profile_step(Recipe& recipe, const std::string& kind, std::int64_t steps, bool csv) {
  const std::string precision = recipe.network.precision();
  const LoopConfig& loop = kind == stage_name::fm ? recipe.fm.loop : recipe.mfd.loop;
  const std::int64_t rows = loop.micro_batch > 0 ? std::min(loop.micro_batch, loop.batch) : loop.batch;
  Trainer trainer(recipe, kind, loop, rows);
  for (int i = 0; i < 2; ++i) trainer.step();  // fills the allocator's lists
  const std::size_t before = memory_stats().live;
  reset_memory_peak();
  std::map<ProfileKey, ProfileCost> costs;
  {
    Profile profile(ModulePath::current());
    for (std::int64_t i = 0; i < steps; ++i) trainer.step();
    costs = profile.costs();
  }
  const std::size_t peak = memory_stats().peak - before;
  const double n = static_cast<double>(steps);
  if (csv) {
    std::string out = "phase,module,op,calls,seconds,gflop,gbyte\n";
    for (const auto& [key, c] : costs)
      out += fmt::format("{},{},{},{},{:.6g},{:.6g},{:.6g}\n", key.phase, key.place, key.op, static_cast<double>(c.calls) / n,
                         c.seconds / n, 1e-9 * c.flops / n, 1e-9 * c.bytes / n);
    return out;
  }
  const bool bf16 = precision == "bf16" && measured_bf16_peak() > 0;
  const Limits limits{bf16 ? measured_bf16_peak() : measured_f32_peak(), measured_bandwidth()};
  ProfileCost all;
  for (const auto& [key, c] : costs) all += c;
  const double forward = trainer.seconds_of_a_forward(), step = all.seconds / n;
  std::string out = fmt::format(
      "{} step, batch {}, {}: {:.1f} ms = {:.2f} forward passes without history; {:.2f} GFLOP, {:.1f} % of the {:.0f} GFLOP/s "
      "peak; {:.1f} MiB above the {:.1f} MiB of weights, averages, moments and batch\n",
      kind, rows, precision, 1e3 * step, step / forward, 1e-9 * all.flops / n, 100 * all.flops / n / step / limits.flops,
      1e-9 * limits.flops, static_cast<double>(peak) / (1 << 20), static_cast<double>(before) / (1 << 20));
  out += table("phase", costs, limits, n, [](const ProfileKey& k) { return k.phase; });
  out += table("phase, operation", costs, limits, n, [](const ProfileKey& k) { return k.phase + "  " + k.op; });
  out += table("phase, part of the model", costs, limits, n,
               [&](const ProfileKey& k) { return k.phase + "  " + part_of(k.place, recipe.network); });
  return out;
}

}  // namespace fm
