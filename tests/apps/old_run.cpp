// A run of an old version, whose config did not name latent space, network and objective (tests/golden/old_run/make.sh). Today's programs resume and sample it
// with the same results as the programs that made it, and score it. All use the config in the run.
#include <doctest/doctest.h>

#include <algorithm>

#include "flowmap/training/chain/score_file.h"
#include "nn/checkpoint.h"
#include "tensor/io/npy.h"
#include "tests/support/child.h"
#include "tests/support/near.h"
#include "tests/support/text.h"

using namespace fm;
using namespace fm::test;
namespace fs = std::filesystem;

namespace {

const fs::path golden = FM_TESTS_FOLDER "/golden/old_run";

Result run(const std::string& program, const Arguments& arguments) {
  return run_program_file(own_folder().parent_path() / "apps" / program, arguments + Arguments{"--threads", "1"});
}

// Compares up to rounding, because sums of kernels differ in their last bits between instruction sets.
void check_weights(const NamedTensors& got, const NamedTensors& wanted) {
  REQUIRE(got.size() == wanted.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    REQUIRE(got[i].first == wanted[i].first);
    const auto a = got[i].second.to_vector<float>(), b = wanted[i].second.to_vector<float>();
    REQUIRE(a.size() == b.size());
    for (std::size_t k = 0; k < a.size(); ++k) REQUIRE_MESSAGE(near_within(a[k], b[k], 1e-5), got[i].first << " " << k);
  }
}

}  // namespace

TEST_CASE("a run of an older version resumes and samples with the recorded results, and can be evaluated") {
  const TempFolder folder;
  const fs::path out = folder / "run";
  fs::copy(golden / "run", out, fs::copy_options::recursive);
  const std::size_t before = read_scores(out / "scores.csv").size();
  REQUIRE(before > 0);

  const Result resumed = run("flowmap_train", {"pipeline", "--out", out.string()});
  REQUIRE_MESSAGE(resumed.code == 0, resumed.err);
  CHECK_MESSAGE(has(resumed.err, "step-00000006 (step 6)"), resumed.err);
  for (const char* done : {"judge: done (200 steps)", "encoder: done (6 steps)", "decoder: done (20 steps)", "fm: done (24 steps)", "cmt: done (6 steps)"})
    CHECK_MESSAGE(has(resumed.err, done), resumed.err);
  const std::size_t added = resumed.err.find("warning: mfd: config: keys that the run's version did not have: ");
  REQUIRE_MESSAGE(added != std::string::npos, resumed.err);
  const std::string line = resumed.err.substr(added, resumed.err.find('\n', added) - added);
  CHECK_MESSAGE(has(line, "space = \"rae\""), line);
  CHECK_MESSAGE(!has(line, "dit.axes"), line);                          // its default equals the behavior of the old version
  CHECK_MESSAGE(!has(line, "dit.input_width"), line);
  for (const char* key : {"tangent.warmup_over", "tangent.clamp_residual", "tangent.norm"}) CHECK_MESSAGE(!has(line, key), line);
  CHECK_MESSAGE(!has(line, "mlp."), line);                              // belongs to a network that is not chosen
  CHECK_MESSAGE(resumed.err.find("warning: ", added + 1) == std::string::npos, resumed.err);             // one warning lists all keys
  const auto silent = [](const std::string&) {};
  check_weights(load_weights((out / "mfd:ema").string(), silent).tensors, load_weights((golden / "finished.safetensors").string(), silent).tensors);

  // The old programs compared with as many test images as samples, and wrote fewer columns. Their rows stay, and the new rows score the same generators.
  const auto scores = read_scores(out / "scores.csv");
  REQUIRE(scores.size() == 2 * before);
  for (std::size_t i = 0; i < before; ++i) {
    const Score &was = scores[i], &is = scores[before + i];
    CHECK(was.name == is.name);
    CHECK(std::max<std::int64_t>(was.calls, 0) == std::max<std::int64_t>(is.calls, 0));
    CHECK(near_within(is.metric("frechet"), was.metric("frechet"), 0.05));
    CHECK(near_within(is.accuracy, was.accuracy, 0.05));
  }
  CHECK(near(scores.front().metric("frechet"), 0.362342, 1e-6));

  const fs::path npz = folder / "samples.npz";
  const Result sampled = run("flowmap_sample", {"--out", out.string(), "--count", "4", "--seed", "5", "--grid=", "--npz", npz.string()});
  REQUIRE_MESSAGE(sampled.code == 0, sampled.err);
  const auto got = NpzReader(npz).read("arr_0").to_vector<std::uint8_t>(), wanted = NpzReader(golden / "samples.npz").read("arr_0").to_vector<std::uint8_t>();
  REQUIRE(got.size() == wanted.size());
  for (std::size_t i = 0; i < got.size(); ++i) CHECK(std::abs(int(got[i]) - int(wanted[i])) <= 1);
}
