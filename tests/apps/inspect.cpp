// inspect --flops, --profile and --machine, run as a user would.
#include <doctest/doctest.h>

#include "tests/support/child.h"

using namespace fm::test;

namespace {

Result inspect(const Arguments& arguments) { return run_program_file(own_folder().parent_path() / "apps" / "inspect", arguments); }

}  // namespace

TEST_CASE("inspect --flops lists all models, or one model by module") {
  const Result all = inspect({"--flops"});
  REQUIRE(all.code == 0);
  for (const char* part : {"dinov2-b-224 ", "sd-vae-decoder-512 ", "263.379", "1051.595"}) CHECK_MESSAGE(has(all.out, part), all.out);
  const Result one = inspect({"--flops", "DiT-DH-XL-256-mf"});
  REQUIRE(one.code == 0);
  for (const char* part : {"r_embedder ", "blocks.28-29.mlp ", "840595284      156.816"}) CHECK_MESSAGE(has(one.out, part), one.out);
}

TEST_CASE("inspect --flops --csv prints whole numbers") {
  const Result all = inspect({"--flops", "--csv"});
  REQUIRE(all.code == 0);
  CHECK(has(all.out, "model,parameters,macs_linear,macs_attention,paper_gflops\ndinov2-s-224,22057344,5599789056,627803136,\n"));
  const Result one = inspect({"--csv", "--flops=mf-rae-256-2-step"});
  CHECK(one.out ==
        "module,parameters,macs_linear,macs_attention\n"
        "dit-dh-xl-256-mf x 2,840595284,313631768576,9529458688\n"
        "rae-decoder-xl-256,415352704,106563207168,4260953088\n"
        "total,1255947988,420194975744,13790411776\n");
}

TEST_CASE("inspect --profile prints the profile of a step as a table or as CSV") {
  const Arguments small = {"--data", "shapes", "--image-size", "8", "--classes", "4", "--rae.encoder.patch-size", "2", "--dit.width", "16", "--dit.heads",
                           "2", "--dit.head-width", "16", "--dit.head-heads", "2", "--dit.depth", "1", "--dit.head-depth", "1", "--mfd.loop.batch",
                           "8", "--profile-steps", "1"};
  Arguments table = small, csv = small;
  table.insert(table.end(), {"--profile", "mfd"});
  csv.insert(csv.end(), {"--profile", "mft", "--csv"});
  const Result shown = inspect(table);
  REQUIRE_MESSAGE(shown.code == 0, shown.err);
  for (const char* part : {"mfd step, batch 8, f32: ", "forward passes without history", "backward  matmul ", "tangent  linear ", "optimizer  optimizer ",
                           "forward  teacher.backbone blocks "})
    CHECK_MESSAGE(has(shown.out, part), shown.out);
  const Result values = inspect(csv);
  REQUIRE_MESSAGE(values.code == 0, values.err);
  CHECK(values.out.starts_with("phase,module,op,calls,seconds,gflop,gbyte\n"));
  CHECK(has(values.out, "\ntangent,blocks.0,linear,"));
}

TEST_CASE("inspect --machine prints the machine's peak rates") {
  const Result result = inspect({"--machine"});
  REQUIRE(result.code == 0);
  for (const char* part : {"f32 multiply-adds ", "memory, y = a x + y ", "product bf16 "}) CHECK_MESSAGE(has(result.out, part), result.out);
}

TEST_CASE("inspect refuses unknown models and steps, and flags that do not fit together") {
  const auto refused = [](const Arguments& arguments, const std::string& message) {
    const Result result = inspect(arguments);
    CHECK(result.code == 2);
    CHECK_MESSAGE(has(result.err, message), result.err);
  };
  refused({"--flops", "dit-dh-xxl-256"}, "did you mean 'dit-dh-xl-256'?");
  refused({"--flops", "nothing"}, "no model 'nothing'; --flops without a name lists all models");
  refused({"--flops", "--step", "fm"}, "inspect needs one of");
  refused({"--step", "fmm"}, "is not one of fm|mf; did you mean 'fm'?");
  refused({"--step", "fm", "--csv"}, "--csv needs one of --flops, --profile, --plan and --certify");
}
