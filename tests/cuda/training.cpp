// The whole chain on the CUDA kernels (on the CPU: tests/support/host_cuda) beside the CPU's own, and a checkpoint of one that the other goes on from.
#include <doctest/doctest.h>

#include <cmath>
#include <sstream>

#include "tests/support/child.h"
#include "tests/support/text.h"

using namespace fm;
using namespace fm::test;
namespace fs = std::filesystem;

namespace {

Result train(const std::string& device, const std::string& stage, const fs::path& out, const Arguments& more = {}) {
  Arguments arguments{stage, "--config", FM_TESTS_FOLDER "/../configs/tiny_shapes.toml", "--threads", "1", "--out", out.string(), "--device", device, "-q"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  const Result r = run_program_file(own_folder() / "flowmap_train_on_host_cuda", arguments);
  REQUIRE_MESSAGE(r.code == 0, r.err);
  return r;
}

// The columns of metrics.csv that tell of the mathematics.
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
    for (std::size_t j = 0; j < wanted[i].size(); ++j) CHECK(found[i][j] == doctest::Approx(wanted[i][j]).epsilon(tolerance));
  }
}

}  // namespace

TEST_CASE("every stage of the chain follows the CPU's losses and gradients") {
  const TempFolder folder;
  train("cpu", "pipeline", folder / "cpu");
  train("cuda", "pipeline", folder / "cuda");
  for (const std::string stage : {"judge", "encoder", "decoder", "fm", "cmt", "mfd"}) {
    CAPTURE(stage);
    same_curves(folder / "cpu" / stage / "metrics.csv", folder / "cuda" / stage / "metrics.csv", 1e-4);
  }
}

TEST_CASE("a checkpoint of one device is one of the other") {
  const TempFolder folder;
  for (const std::string stage : {"encoder", "stats", "fm"}) train("cpu", stage, folder / "whole");
  for (const auto& [first, second] : {std::pair{"cpu", "cuda"}, {"cuda", "cpu"}}) {
    const fs::path run = folder / first;
    for (const std::string stage : {"encoder", "stats"}) train("cpu", stage, run);
    train(first, "fm", run, {"--steps", "12", "--fm.loop.rate.decay-end", "24"});
    train(second, "fm", run, {"--steps", "24", "--fm.loop.rate.decay-end", "24"});
    const auto wanted = curves(folder / "whole" / "fm" / "metrics.csv"), found = curves(run / "fm" / "metrics.csv");
    CHECK(found.back()[1] == doctest::Approx(wanted.back()[1]).epsilon(1e-4));
  }
}
