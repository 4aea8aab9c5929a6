// The whole chain on the CUDA kernels (run by tests/support/host_cuda) against the CPU kernels, a checkpoint that the other device resumes from, and
// several processes that train together, each with its own GPU.
#include <doctest/doctest.h>

#include <cmath>
#include <sstream>
#include <thread>

#include "tests/support/child.h"
#include "tests/support/near.h"
#include "tests/support/text.h"

using namespace fm;
using namespace fm::test;
namespace fs = std::filesystem;

namespace {

Result run(const std::string& device, const std::string& stage, const fs::path& out, const Arguments& more, const std::function<void(pid_t)>& during = {}) {
  Arguments arguments{stage, "--config", FM_TESTS_FOLDER "/../configs/tiny_shapes.toml", "--threads", "1", "--out", out.string(), "--device", device, "-q"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return run_program_file(own_folder() / "flowmap_train_on_host_cuda", arguments, during);
}

Result train(const std::string& device, const std::string& stage, const fs::path& out, const Arguments& more = {}) {
  const Result r = run(device, stage, out, more);
  REQUIRE_MESSAGE(r.code == 0, r.err);
  return r;
}

// Starts ranks as processes. The processes get their rank numbers as torchrun gives them, but the address of rank 0 from a file in `out`.
std::vector<Result> train_on_ranks(int n, const std::string& device, const std::string& stage, const fs::path& out, const Arguments& more,
                                   const std::function<void(int, pid_t)>& during = {}) {
  std::vector<Result> results(static_cast<std::size_t>(n));
  std::vector<std::thread> threads;
  for (int r = 0; r < n; ++r)
    threads.emplace_back([&, r] {
      Arguments own{"--rank", std::to_string(r), "--world-size", std::to_string(n), "--rendezvous", "file:" + out.string()};
      own.insert(own.end(), more.begin(), more.end());
      results[static_cast<std::size_t>(r)] = run(device == "each" ? "cuda:" + std::to_string(r) : device, stage, out, own, [&](pid_t p) {
        if (during) during(r, p);
      });
    });
  for (std::thread& t : threads) t.join();
  return results;
}

// The columns of metrics.csv that depend on the computed numbers: step, loss, gradient norm and raw mean squares.
std::vector<std::vector<double>> curves(const fs::path& csv) {
  std::vector<std::vector<double>> rows;
  std::vector<std::string> names;
  std::istringstream in(read_file(csv));
  for (std::string line; std::getline(in, line);) {
    std::istringstream cells(line);
    std::vector<double> row;
    std::size_t i = 0;
    for (std::string cell; std::getline(cells, cell, ','); ++i) {
      if (rows.empty() && names.size() <= i) names.push_back(cell);
      else if (names[i] == "step" || names[i] == "loss" || names[i] == "grad_norm" || names[i].starts_with("raw_mse")) row.push_back(std::stod(cell));
    }
    rows.push_back(row);
  }
  REQUIRE(rows.size() > 2);
  return rows;
}

void same_curves(const fs::path& a, const fs::path& b, double tolerance) {
  const auto wanted = curves(a), found = curves(b);
  REQUIRE(wanted.size() == found.size());
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    REQUIRE(wanted[i].size() == found[i].size());
    for (std::size_t j = 0; j < wanted[i].size(); ++j) {
      if (wanted[i][j] == 0) CHECK(found[i][j] == 0);
      else CHECK(near(found[i][j], wanted[i][j], tolerance));
    }
  }
}

}  // namespace

TEST_CASE("every stage on a GPU has the CPU's curves; steps do not wait for the device; recorded steps give the same checkpoints") {
  const TempFolder folder;
  const Arguments exact{"--mfd.objective.pairs.exact-share", "true"};
  train("cpu", "pipeline", folder / "cpu", exact);
  train("cuda", "pipeline", folder / "cuda", exact);
  for (const std::string stage : {"judge", "encoder", "decoder", "fm", "cmt", "mfd"}) {
    CAPTURE(stage);
    same_curves(folder / "cpu" / stage / "metrics.csv", folder / "cuda" / stage / "metrics.csv", 1e-4);
    CHECK(read_file(folder / "cuda" / stage / "log.txt").find(stage + ": the host waited for cuda:0 0 times inside of ") != std::string::npos);
  }
  fs::copy(folder / "cuda", folder / "recorded", fs::copy_options::recursive | fs::copy_options::copy_symlinks);
  for (const std::string stage : {"fm", "cmt", "mfd"}) {
    CAPTURE(stage);
    train("cuda", stage, folder / "recorded", {"--fresh", "--cuda-graph", "--mfd.objective.pairs.exact-share", "true"});
    for (const std::string part : {"model", "ema", "optimizer"}) {
      const fs::path file = fs::path(stage) / "checkpoints/latest" / (part + ".safetensors");
      CHECK_MESSAGE(read_file(folder / "recorded" / file) == read_file(folder / "cuda" / file), part);
    }
    CHECK(read_file(folder / "recorded" / stage / "log.txt").find("not recorded") == std::string::npos);
  }
}

TEST_CASE("a gradient that is not finite ends the run with code 4; the last checkpoint stays unchanged") {
  const TempFolder folder;
  for (const std::string stage : {"encoder", "stats", "fm"}) train("cpu", stage, folder / "run");
  const std::string before = read_file(folder / "run/fm/checkpoints/latest/model.safetensors");
  const Result r = run_program_file(own_folder() / "flowmap_train_on_host_cuda",
                                    {"fm", "--config", FM_TESTS_FOLDER "/../configs/tiny_shapes.toml", "--threads", "1", "--out", (folder / "run").string(),
                                     "--device", "cuda", "--steps", "40", "--lr", "1e30", "-q"});
  CHECK(r.code == 4);
  CHECK(r.err.find("the last checkpoint is intact") != std::string::npos);
  CHECK(read_file(folder / "run/fm/checkpoints/latest/model.safetensors") == before);
}

TEST_CASE("a run can resume on the GPU from a checkpoint of the CPU, and the other way round") {
  const TempFolder folder;
  for (const std::string stage : {"encoder", "stats", "fm"}) train("cpu", stage, folder / "whole");
  for (const auto& [first, second] : {std::pair{"cpu", "cuda"}, {"cuda", "cpu"}}) {
    const fs::path run = folder / first;
    for (const std::string stage : {"encoder", "stats"}) train("cpu", stage, run);
    train(first, "fm", run, {"--steps", "12", "--fm.loop.rate.decay-end", "24"});
    train(second, "fm", run, {"--steps", "24", "--fm.loop.rate.decay-end", "24"});
    const auto wanted = curves(folder / "whole" / "fm" / "metrics.csv"), found = curves(run / "fm" / "metrics.csv");
    CHECK(near(found.back()[1], wanted.back()[1], 1e-4));
  }
}

namespace {

const Arguments twelve{"--steps", "12", "--batch", "12", "--lr", "1e-4", "--log-every", "1", "--ckpt-every", "6"};

// A run with the stages that fm needs.
const fs::path& encoded() {
  static const TempFolder folder;
  static const bool made = [] {
    for (const std::string stage : {"encoder", "stats"}) train("cpu", stage, folder / "run");
    return true;
  }();
  (void)made;
  static const fs::path run = folder / "run";
  return run;
}

void begin(const fs::path& out) { fs::copy(encoded(), out, fs::copy_options::recursive | fs::copy_options::copy_symlinks); }

}  // namespace

TEST_CASE("two ranks on two GPUs have the losses of one rank, with a whole and with a sharded optimizer") {
  const TempFolder folder;
  begin(folder / "alone");
  train("cuda", "fm", folder / "alone", twelve);
  for (const bool sharded : {false, true}) {
    CAPTURE(sharded);
    const fs::path out = folder / (sharded ? "parts" : "whole");
    begin(out);
    Arguments more = twelve;
    if (sharded) more.push_back("--shard-optimizer");
    for (const Result& r : train_on_ranks(2, "each", "fm", out, more)) REQUIRE_MESSAGE(r.code == 0, r.err);
    same_curves(folder / "alone" / "fm" / "metrics.csv", out / "fm" / "metrics.csv", 1e-6);
    CHECK(!fs::exists(out / "flowmap-rendezvous"));
  }
}

TEST_CASE("two ranks whose training diverges both exit with code 4") {
  const TempFolder folder;
  begin(folder / "run");
  for (const Result& r : train_on_ranks(2, "each", "fm", folder / "run", {"--steps", "40", "--batch", "12", "--lr", "1e30"})) CHECK_MESSAGE(r.code == 4, r.err);
}

TEST_CASE("when a rank is killed, the other rank reports the loss and exits with code 76") {
  const TempFolder folder;
  begin(folder / "run");
  const auto results = train_on_ranks(2, "each", "fm", folder / "run", {"--steps", "100000", "--batch", "12", "--log-every", "100", "--ckpt-every", "10", "--sample-every", "-1"}, [&](int rank, pid_t pid) {
    if (rank == 0) return;
    CHECK(wait_until([&] { return fs::exists(folder / "run" / "fm" / "checkpoints" / "step-00000010"); }));
    kill(pid, SIGKILL);
  });
  CHECK_MESSAGE(results[0].code == 76, results[0].err);
  CHECK_MESSAGE(has(results[0].err, "rank 1 was lost: its process ended; the last checkpoint is "), results[0].err);
}

TEST_CASE("two training ranks on one GPU both exit with code 2 and an error that names both") {
  const TempFolder folder;
  begin(folder / "run");
  for (const Result& r : train_on_ranks(2, "cuda:1", "fm", folder / "run", twelve)) {
    CHECK(r.code == 2);
    CHECK_MESSAGE(has(r.err, "ranks 0 and 1 are both on the GPU cuda:1 of "), r.err);
  }
}
