// Numbers and flags at the ends of their ranges and beyond, on every program: exit code 2 and one line that names flag and bound, before any work.
#include <doctest/doctest.h>

#include <set>

#include "tests/apps/help_entries.h"

using namespace fm;
using namespace fm::test;

TEST_CASE("the help shows a lower and an upper bound for every integer flag of every program") {
  int seen = 0;
  for (const std::string& command : commands) {
    const Result help = bare(command, {"--help"});
    REQUIRE(help.code == 0);
    for (const Entry& e : entries(help.out)) {
      if (e.kind != "INT" && e.kind != "INT,...") continue;
      ++seen;
      const auto open = e.text.rfind(" to ", e.text.rfind("[default: "));
      CHECK_MESSAGE((open != std::string::npos && e.text.rfind('[', open) != std::string::npos), (command + ": " + e.text));
    }
  }
  CHECK(seen > 500);
}

TEST_CASE("an integer outside of its bounds is refused with the flag's name") {
  std::set<std::string> tried;                 // programs share the recipe's flags and the code that reads them, so each flag is tried once
  for (const std::string command : {"flowmap_train pipeline", "flowmap_sample", "evaluate", "ablate", "inspect"})
    for (const Entry& e : entries(bare(command, {"--help"}).out)) {
      if (e.kind != "INT" || !tried.insert(e.flag).second) continue;
      for (const char* value : {"9000000000000000000", "-9000000000000000000"}) {
        const Result result = bare(command, {e.flag + "=" + value});
        CHECK_MESSAGE(result.code == exit_code::usage, (command + " " + e.flag + ": " + result.err));
        CHECK_MESSAGE((has(result.err, e.flag + ": ") && has(result.err, "is out of range (")), result.err);
      }
    }
}

TEST_CASE("64-bit values are refused instead of being truncated or overflowing in a product") {
  TempFolder folder;
  const fs::path out = folder / "run";
  const auto wrong = [&](const std::string& command, const Arguments& flags, const std::string& message) {
    refused(run(command, out, flags + Arguments{"-q"}), exit_code::usage, message);
  };
  wrong("evaluate", {"--k", "3000000000"}, "--k: evaluate.k = 3000000000 is out of range (1 to 1e6)");
  wrong("evaluate", {"--k", "4294967297"}, "--k");
  wrong("flowmap_sample", {"--calls", "9000000000000000000"}, "--calls: calls = 9000000000000000000 is out of range (1 to 10000)");
  wrong("flowmap_sample", {"--first", "9223372036854775805", "--count", "5"}, "--first");
  wrong("flowmap_train encode", {"--latents.workers", "9000000000000000000"}, "out of range (1 to 1024)");
  wrong("flowmap_train cmt", {"--cmt.objective.pairs", "9000000000000000000"}, "out of range (1 to 65536)");
  wrong("flowmap_train fm", {"--fm.loop.batch", "5000000000000000000", "-n"}, "out of range (1 to 1e9)");
  wrong("flowmap_train fm", {"--steps", "9e15", "--batch", "2k", "-n"}, "out of range (0 to 4e9)");
  wrong("flowmap_train fm", {"--batch", "1G", "--micro-batch", "1", "-n"}, "fm.loop.micro_batch = 1 cuts the batch of 1000000000 into more");
  refused(bare("inspect", {"--plan", "--config", config_file, "--fm.loop.batch", "9000000000000000000", "-q"}), exit_code::usage,
          "--fm.loop.batch: fm.loop.batch = 9000000000000000000 is out of range (1 to 1e9)");
  wrong("flowmap_train fm", {"--lr", "inf"}, "--lr: fm.loop.rate.peak = inf is not a finite number");
  wrong("flowmap_train fm", {"--max-time", "2600000h"}, "--max-time: '2600000h' is too long: at most 3650d is possible");
  wrong("flowmap_train fm", {"--rank-timeout", "25h"}, "--rank-timeout: '25h' is too long: at most 1d is possible");
  for (const char* time : {"nans", "infs", "1e400s", "0s"}) wrong("flowmap_train fm", {"--max-time", time}, "is no duration");
  CHECK_FALSE(fs::exists(out));
}

TEST_CASE("a dry run (-n) multiplies large steps and batches without overflow") {
  TempFolder folder;
  const Result large = run("flowmap_train fm", folder / "run", {"--steps", "4G", "--batch", "2k", "-n"});
  CHECK_MESSAGE(has(large.err, "4000000000 steps of 2000: 8000000000000 images"), large.err);
}

TEST_CASE("values for switches, repeated flags and unknown arguments are refused") {
  const auto wrong = [](const std::string& command, const Arguments& flags, const std::string& message) {
    refused(bare(command, flags), exit_code::usage, message);
  };
  for (const std::string& command : commands) {
    CAPTURE(command);
    for (const char* value : {"99999999999999999999", "9007199254740992", ":", "abc", "2", "true"})
      for (const char* flag : {"--verbose", "--help", "--quiet", "--version"})
        wrong(command, {std::string(flag) + "=" + value}, std::string(flag) + " takes no value, but '" + value + "' was given");
    for (const char* argument : {"-", "--=", "---", "-=x", "--=x"}) wrong(command, {argument}, std::string("unknown argument '") + argument + "'");
    wrong(command, {"--threads", "4097"}, "--threads 4097: takes 1 to 4096");
    wrong(command, {"--threads", "99999999999999999999"}, "--threads 99999999999999999999: takes 1 to 4096");
    wrong(command, {"--config", "a.toml", "--config", "b.toml"}, "--config is given twice, 'a.toml' and 'b.toml': merge the files");
  }
  wrong("flowmap_train fm", {"-n", "-"}, "unknown argument '-'");
  wrong("flowmap_train fm", {"--dry-run=5"}, "--dry-run takes no value");
  wrong("flowmap_train fm", {"--no-dit.recompute=false"}, "--no-dit.recompute takes no value");
  wrong("flowmap_train fm", {"--out", "a", "--out", "b"}, "--out is given twice, 'a' and 'b': give one");
  wrong("flowmap_train fm", {"--resume", "a", "--resume", "b"}, "--resume is given twice");
  for (const char* flag : {"--rank", "--world-size"}) wrong("flowmap_train fm", {flag, "1000001"}, "to 1000000");
}
