// -h and --help of every program: the number and choice of the listed options, and the wording of the texts.
#include <doctest/doctest.h>

#include <algorithm>
#include <set>

#include "flowmap/training/chain/stages.h"
#include "tensor/error.h"
#include "tests/apps/help_entries.h"
#include "tests/support/error_of.h"

using namespace fm;
using namespace fm::test;

namespace {

std::string text_of(const std::string& command, const char* flag) {
  const Result help = bare(command, {flag});
  CHECK_MESSAGE((help.code == 0 && help.err.empty()), (command + ": " + help.err));
  return help.out;
}

std::set<std::string> names_in(const std::string& help) {
  std::set<std::string> names;
  for (const Entry& e : entries(help)) names.insert(e.names.begin(), e.names.end());
  return names;
}

// The lines of an "Examples" section that are commands.
std::vector<std::string> examples_in(const std::string& help) {
  std::vector<std::string> out;
  std::istringstream in(help.substr(std::min(help.find("\nExamples\n"), help.size())));
  for (std::string line; std::getline(in, line);)
    if (line.starts_with("  ") && !line.starts_with("  #")) out.push_back(line.substr(2));
  return out;
}

}  // namespace

TEST_CASE("-h lists about a dozen options, one example, and the number of options that --help lists") {
  for (const std::string& command : commands) {
    CAPTURE(command);
    const std::string brief = text_of(command, "-h"), full = text_of(command, "--help");
    const std::vector<Entry> few = entries(brief), all = entries(full);
    CHECK_MESSAGE(((few.size() >= 6 || all.size() <= 12) && few.size() <= 16), few.size());     // compare has only twelve options
    CHECK(std::ranges::count(brief, '\n') < 60);
    CHECK_MESSAGE(has(brief, "--help: all " + std::to_string(all.size()) + " options"), brief);
    const std::set<std::string> known = names_in(full);
    for (const Entry& e : few)
      for (const std::string& name : e.names) CHECK_MESSAGE(known.contains(name), name);
    const std::vector<std::string> examples = examples_in(brief);
    REQUIRE(examples.size() == 1);
    const bool by_default = command == "evaluate run" && examples[0].starts_with("evaluate --");           // the default command may be left out
    CHECK_MESSAGE((examples[0].starts_with(command + " ") || by_default), examples[0]);
    std::istringstream words(examples[0]);
    for (std::string word; words >> word;)
      if (word.starts_with("-")) CHECK_MESSAGE(known.contains(word), word);
  }
}

TEST_CASE("each command lists its own options, and only names the config sections of other commands") {
  const auto few = [](const char* command) { return names_in(text_of(command, "-h")); };
  for (const char* flag : {"--steps", "--batch", "--lr", "--derivative", "--velocity", "--guidance", "--dry-run", "--data"})
    CHECK_MESSAGE(few("flowmap_train mfd").contains(flag), flag);
  for (const char* flag : {"--objective", "--start"}) CHECK_MESSAGE(few("flowmap_train map").contains(flag), flag);
  for (const char* flag : {"--network", "--guidance", "--derivative", "--latents"}) CHECK_MESSAGE(!few("flowmap_train judge").contains(flag), flag);
  CHECK(few("flowmap_train judge").contains("--steps"));
  CHECK_FALSE(few("flowmap_train pipeline").contains("--steps"));            // the flag would be ambiguous: eight stages have steps
  CHECK_FALSE(few("evaluate run").contains("--data"));                           // evaluate takes the data from the run
  const std::string mfd = text_of("flowmap_train mfd", "--help"), sample = text_of("flowmap_sample", "--help");
  for (const char* part : {"\n[mfd.loop] ", "\n[dit] ", "\n[watch] ", "[fm]", "[map]", "flowmap_train pipeline --help"}) CHECK_MESSAGE(has(mfd, part), part);
  for (const char* part : {"\n[fm.loop] ", "\n[map.objective] "}) CHECK_MESSAGE(!has(mfd, part), part);
  for (const char* part : {"\n[dit] ", "\n[mfd.loop] ", "--fresh"}) CHECK_MESSAGE(!has(sample, part), part);
  const std::string pipeline = text_of("flowmap_train pipeline", "--help");
  for (const StageSpec& stage : stage_table())
    if (stage.loop != nullptr) CHECK_MESSAGE(has(pipeline, "\n[" + std::string(stage.name) + ".loop] "), stage.name);
  CHECK(entries(mfd).size() < entries(pipeline).size() / 3);
  CHECK_FALSE(has(pipeline, "More of the config"));
  CHECK(bare("flowmap_sample", {"--mfd.loop.steps", "-1"}).code == exit_code::usage);   // the help does not list the flag, but the program checks its value
}

TEST_CASE("the recipe has every part that the stage table lists as unread") {
  const std::vector<std::string> all = entries_besides({});
  for (const StageSpec& stage : stage_table()) {
    const std::vector<std::string> rest = entries_besides(entries_unread(stage));        // throws if a name no longer exists
    CHECK(rest.size() < all.size());
    if (stage.loop != nullptr) CHECK(std::ranges::count(rest, stage.name) == 1);
  }
  CHECK(has(error_of<Error>([] { entries_besides({"seed", "quaternions"}); }), "quaternions"));
}

TEST_CASE("no help text begins like a continuation of the flag's name") {
  std::size_t seen = 0;
  for (const std::string& command : commands)
    for (const Entry& e : entries(text_of(command, "--help"))) {
      ++seen;
      for (const char* fragment : {"of ", "to ", "from ", "in ", "as ", "likewise", "it ", "its ", "that ", "which ", "what ", "how ", "where "})
        CHECK_MESSAGE(!e.help.starts_with(fragment), (e.flag + ": " + e.help));
    }
  CHECK(seen > 2000);
}

TEST_CASE("without a command, -h lists the commands and --help also the exit codes, both on standard output") {
  const Result few = run_program_file(program_file("flowmap_train"), {"-h"}), all = run_program_file(program_file("flowmap_train"), {"--help"});
  CHECK((few.code == 0 && all.code == 0 && few.err.empty() && all.err.empty()));
  for (const StageSpec& stage : stage_table()) CHECK_MESSAGE(has(few.out, "\n  " + std::string(stage.name) + " "), stage.name);
  for (const char* part : {"130, 143", "flowmap_train mfd --config"}) {
    CHECK_MESSAGE(has(all.out, part), part);
    CHECK_MESSAGE(!has(few.out, part), part);
  }
  CHECK(has(few.out, "flowmap_train pipeline --config configs/quickstart.toml"));
}
