// inspect --certify, run as a user would.
#include <doctest/doctest.h>

#include "tests/support/child.h"

using namespace fm::test;

namespace {

Result inspect(const Arguments& arguments) { return run_program_file(own_folder().parent_path() / "apps" / "inspect", arguments); }

}  // namespace

TEST_CASE("inspect --certify: every objective meets its claims by default, and an adaptive metric is reported as biased") {
  const Result good = inspect({"--certify"});
  CHECK_MESSAGE(good.code == 0, good.out);
  CHECK(has(good.out, "Every objective meets its claims, and every negative control was detected."));
  const Result csv = inspect({"--certify", "--csv", "--map.objective.mean-flow.metric.kind", "adaptive", "--map.objective.mean-flow.metric.c", "1"});
  CHECK_MESSAGE(csv.code == 0, csv.out);
  CHECK(has(csv.out, "objective,residual,gradient_gaussian,gradient_mixture,verdict,why\nflow_matching,"));
  CHECK_MESSAGE(has(csv.out, "exact; biased by 0.26,the adaptive metric weighs a residual by its size\n"), csv.out);
}
