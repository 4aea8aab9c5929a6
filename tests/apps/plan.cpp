// inspect --plan, run as a user would. Expected numbers are computed here by hand from the products in mfrae.md 4.9, data sheets and the paper's GPU-days.
#include <doctest/doctest.h>

#include <map>
#include <sstream>

#include "tests/support/child.h"
#include "tests/support/near.h"

using namespace fm::test;

namespace {

constexpr double student = 2 * (156.816e9 + 4.765e9), teacher = 2 * (156.814e9 + 4.765e9),
                 encoder = 2 * (22.284e9 + 1.256e9);  // FLOP per sample
constexpr double parameters = 840299860, all_parameters = 840595284;
constexpr double h100 = 494.7e12 * 0.4;

Result plan(const std::string& stage, const Arguments& more, int size = 256) {
  Arguments arguments = {"--plan", stage, "--config", FM_TESTS_FOLDER "/../configs/imagenet" + std::to_string(size) + "/mf_rae.toml"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return run_program_file(own_folder().parent_path() / "apps" / "inspect", arguments);
}

std::vector<std::string> cells_of(const std::string& line) {
  std::vector<std::string> cells(1);
  for (const char c : line)
    if (c == ',')
      cells.emplace_back();
    else
      cells.back() += c;
  return cells;
}

using Columns = std::map<std::string, double>;  // empty cells are left out

// The plan's CSV as table[first cell of a line][heading of the column].
std::map<std::string, Columns> table(const std::string& stage, Arguments more, int size = 256) {
  more.emplace_back("--csv");
  const Result result = plan(stage, more, size);
  REQUIRE_MESSAGE(result.code == 0, result.err);
  std::istringstream lines(result.out);
  std::string line;
  std::getline(lines, line);
  const std::vector<std::string> heading = cells_of(line);
  std::map<std::string, Columns> rows;
  while (std::getline(lines, line)) {
    const std::vector<std::string> cells = cells_of(line);
    REQUIRE(cells.size() == heading.size());
    for (std::size_t i = 1; i < cells.size(); ++i)
      if (!cells[i].empty() && heading[i] != "unit") rows[cells[0]][heading[i]] = std::stod(cells[i]);
  }
  return rows;
}

}  // namespace

TEST_CASE("the plan of MFD at 256 pixels on eight H100s agrees with a calculation by hand") {
  auto p = table("mfd", {});
  const auto whole = [&](const char* key) { return p[key]["whole"]; };
  const auto sharded = [&](const char* key) { return p[key]["sharded"]; };
  CHECK(near(whole("flops_forward"), 256 * student, 1e-4));
  CHECK(near(whole("flops_tangent"), 256 * student / 2, 1e-4));  // a quarter of the rows has a finite difference, which takes two passes without history
  CHECK(near(whole("flops_backward"), 512 * student, 1e-4));
  CHECK(whole("flops_recompute") == 0);
  CHECK(near(whole("flops_teacher"), 256 * teacher, 1e-4));
  CHECK(near(whole("flops_encoder"), 256 * encoder, 1e-4));
  const double flops = 256 * (3.5 * student + teacher + encoder);
  CHECK(near(whole("flops"), flops, 1e-4));

  CHECK(whole("memory_weights") == 4 * all_parameters);
  CHECK(whole("memory_gradients") == 12 * parameters);  // gradients of all parts, gradients of one part, and the buckets
  CHECK(whole("memory_optimizer") == 8 * parameters);
  CHECK(whole("memory_average") == 4 * all_parameters);
  CHECK(whole("memory_teacher") == 4 * 838675796.0);
  CHECK(whole("memory_autoencoder") == 4 * (86582016.0 + 415352704.0));
  for (const char* key : {"memory_weights", "memory_gradients", "memory_teacher", "memory_activations_kept"})
    CHECK(sharded(key) == whole(key));
  for (const char* key : {"memory_optimizer", "memory_average"}) {
    CHECK(sharded(key) >= whole(key) / 8);
    CHECK(sharded(key) < 1.01 * whole(key) / 8);
  }
  const double fixed = 4 * (2 * all_parameters + 5 * parameters + 838675796 + 86582016 + 415352704.0);
  CHECK(whole("memory") == fixed + whole("memory_activations_kept"));
  CHECK(whole("memory_recomputed") == fixed + whole("memory_activations_recomputed"));
  CHECK(near(whole("memory_share"), whole("memory") / 80e9, 1e-9));

  CHECK(near(whole("bytes_gradients"), 2 * 7.0 / 8 * 4 * parameters, 1e-9));
  CHECK(whole("bytes_weights") == 0);
  CHECK(near(sharded("bytes_gradients"), 7.0 / 8 * 4 * parameters, 1e-9));
  CHECK(sharded("bytes_weights") == sharded("bytes_gradients"));

  const double compute = flops / 8 / h100, overlap = 512 * student / 8 / 4 / h100;  // a GPU has 32 rows, in parts of 8
  CHECK(near(whole("seconds_compute"), compute, 1e-4));
  CHECK(near(whole("seconds_overlap"), overlap, 1e-4));
  CHECK(whole("seconds_gradient_wait") == 0);
  const double optimizer = 40 * parameters / 3.35e12, weights = 7.0 / 8 * 4 * parameters / 450e9;
  CHECK(near(whole("seconds_step"), compute + optimizer, 1e-4));
  CHECK(near(sharded("seconds_step"), compute + optimizer / 8 + weights, 1e-3));
  CHECK(near(whole("samples_per_second"), 256 / (compute + optimizer), 1e-4));
  CHECK(near(whole("gpu_days"), 180000 * 8 * (compute + optimizer) / 86400, 1e-4));
}

TEST_CASE("the plan counts the communication time that the backward pass does not hide") {
  auto p = table("mfd", {"--interconnect", "1", "--mfd.objective.derivative.kind", "jvp", "--utilisation", "0.5", "--precision", "bf16"});
  const double rate = 989.4e12 / 2, compute = 256 * (3.25 * student + teacher + encoder) / 8 / rate, overlap = 512 * student / 32 / rate;
  CHECK(near(p["flops_tangent"]["whole"], 64 * student, 1e-4));
  CHECK(near(p["seconds_gradient_wait"]["whole"], 7 * parameters / 1e9 - overlap, 1e-4));
  CHECK(near(p["seconds_gradient_wait"]["sharded"], 3.5 * parameters / 1e9 - overlap, 1e-4));
  CHECK(near(p["seconds_weight_wait"]["sharded"], 3.5 * parameters / 1e9, 1e-4));
  CHECK(near(p["seconds_step"]["whole"], compute + 7 * parameters / 1e9 - overlap + 40 * parameters / 3.35e12, 1e-4));
  auto f32 = table("mfd", {"--precision", "f32"});
  CHECK(near(f32["seconds_compute"]["whole"], 256 * (3.5 * student + teacher + encoder) / 8 / (66.9e12 * 0.4), 1e-4));
  CHECK(p["memory_activations_kept"]["whole"] < 0.6 * f32["memory_activations_kept"]["whole"]);
}

TEST_CASE("the plan uses NVLink inside a machine and eight network adapters between machines") {
  const auto seconds = [](const char* gpu, double gpus) {
    return table("mfd", {"--gpu", gpu, "--gpus", std::to_string(static_cast<int>(gpus))})["seconds_weight_wait"]["sharded"] /
           ((gpus - 1) / gpus * 4 * parameters);
  };
  CHECK(near(1 / seconds("a100", 8), 300e9, 1e-4));
  CHECK(near(1 / seconds("a100", 16), 8 * 25e9, 1e-4));
  CHECK(near(1 / seconds("h200", 4), 450e9, 1e-4));
  CHECK(near(1 / seconds("h100", 64), 8 * 50e9, 1e-4));
  CHECK(near(1 / seconds("b200", 8), 900e9, 1e-4));
}

TEST_CASE("one GPU communicates nothing; with uneven rows the GPU with the most rows determines the time") {
  auto one = table("mfd", {"--gpus", "1"});
  for (const char* key : {"bytes_gradients", "seconds_gradient_wait", "seconds_weight_wait"}) CHECK(one[key]["whole"] == 0);
  CHECK(one["memory_gradients"]["whole"] == 8 * parameters);
  CHECK(one["memory_optimizer"]["sharded"] == 8 * parameters);
  auto three = table("cmt", {"--gpus", "3"});  // 8 trajectories: the GPUs get 2, 3 and 3
  CHECK(near(three["flops"]["whole"], 8 * (64 * 3 * student + 15 * teacher), 1e-4));
  CHECK(near(three["seconds_compute"]["whole"], 3 * (64 * 3 * student + 15 * teacher) / h100, 1e-4));
  CHECK(near(three["seconds_overlap"]["whole"], 64 * 2 * student / h100, 1e-4));
}

TEST_CASE("the paper's GPU-days imply a utilization between 12 and 35 % for the released code") {
  const auto implied = [](double flops, double days) { return flops / (days * 86400 * 494.7e12); };
  auto small = table("all", {});
  CHECK(small.size() == 3);  // mft has no steps
  CHECK(near(small["fm"]["published_utilisation"], implied(1000800.0 * 1024 * (3 * teacher + encoder), 78), 1e-4));
  CHECK(near(small["cmt"]["published_utilisation"], implied(27000.0 * (512 * 3 * student + 120 * teacher), 2.1), 1e-4));
  CHECK(near(small["mfd"]["published_utilisation"], implied(180000.0 * 256 * (3.5 * student + teacher + encoder), 21), 1e-4));
  CHECK(near(small["mfd"]["released_utilisation"], implied(180000.0 * 256 * (9 * student + teacher + encoder), 21), 1e-4));
  CHECK(small["fm"]["released_utilisation"] == small["fm"]["published_utilisation"]);
  for (const char* stage : {"fm", "cmt", "mfd"}) {
    CHECK(small[stage]["released_utilisation"] > 0.15);
    CHECK(small[stage]["released_utilisation"] < 0.35);
  }
  auto large = table("all", {}, 512);
  CHECK(large["mfd + mft"]["published_gpu_days"] == 9);
  CHECK(large["mfd + mft"]["released_utilisation"] > 0.12);
  CHECK(large["mfd + mft"]["released_utilisation"] < 0.18);
  CHECK(large["mfd"].count("published_gpu_days") == 0);
  CHECK(large["cmt"]["published_gpu_days"] == 8);
  CHECK(large["mfd"]["memory_sharded"] < large["mfd"]["memory"]);

  auto changed = table("all", {"--mfd.loop.batch", "128", "--cmt.loop.steps", "30k"});
  CHECK(changed["fm"].count("published_gpu_days") == 1);
  CHECK(changed["cmt"].count("published_gpu_days") == 0);
  CHECK(changed["mfd"].count("published_gpu_days") == 0);
  auto other = table("all", {"--dit-size", "B", "--fm.loop.steps", "0"});
  CHECK(other.count("fm") == 0);
  for (const auto& row : other) CHECK_MESSAGE(row.second.count("published_gpu_days") == 0, row.first);
}

TEST_CASE("inspect --plan prints readable tables of all stages or of one") {
  const Result all = plan("all", {}, 512);
  REQUIRE(all.code == 0);
  for (const char* part :
       {"8 x h100: tf32 products at 494.7 TFLOP/s x 0.4 (assumed); 80 GB at 3350 GB/s; 450 GB/s from each to the others\n", "\nmfd + mft ",
        "the paper's is not published\n"})
    CHECK_MESSAGE(has(all.out, part), all.out);
  const Result one = plan("mfd", {"--gpus", "12", "--gpu", "b200"});
  REQUIRE(one.code == 0);
  for (const char* part :
       {"12 x b200: tf32 products at 1125 TFLOP/s", "400 GB/s from each", "mfd: 180000 steps of 256; each GPU computes 3 parts of at most 8 rows\n",
        "\n  teacher                               82.73 TFLOP\n"})
    CHECK_MESSAGE(has(one.out, part), one.out);
}

TEST_CASE("inspect --plan refuses unknown GPUs and stages, too many GPUs, and values out of range") {
  const auto refused = [](const std::string& stage, const Arguments& more, const std::string& message) {
    const Result result = plan(stage, more);
    CHECK(result.code == 2);
    CHECK_MESSAGE(has(result.err, message), result.err);
  };
  refused("mfd", {"--gpu", "b100"}, "--gpu b100: not in the table; known are a100, h100, h200, b200");
  refused("mfe", {}, "is not one of all|fm|cmt|mfd|mft");
  refused("all", {"--gpus", "16"}, "--gpus 16: the batch of stage cmt is 8; raise --cmt.loop.batch or take fewer GPUs");
  refused("mfd", {"--gpus", "0"}, "--gpus");
  refused("mfd", {"--utilisation", "1.5"}, "--utilisation");
  refused("mfd", {"--precision", "fp8"}, "is not one of");
  refused("mfd", {"--flops"}, "inspect needs one of");
  refused("all", {"--fm.loop.steps", "0", "--cmt.loop.steps", "0", "--mfd.loop.steps", "0"}, "no stage of the config has steps");
}
