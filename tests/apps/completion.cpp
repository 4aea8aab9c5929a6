// Completion scripts. The script's function runs in bash on typed words, and its offers are checked; also in zsh if it is installed.
#include <doctest/doctest.h>

#include <algorithm>
#include <fstream>

#include "tests/apps/help_entries.h"

using namespace fm;
using namespace fm::test;

namespace {

using Words = std::vector<std::string>;

const std::string& script_of(const std::string& program, const std::string& shell) {
  static std::map<std::string, std::string> known;
  std::string& script = known[program + " " + shell];
  if (!script.empty()) return script;
  const fs::path file = program == "demo" ? own_folder() / "demo_program" : program_file(program);
  const Result result = run_program_file(file, {"--completion", shell});
  CHECK_MESSAGE((result.code == 0 && result.err.empty()), result.err);
  return script = result.out;
}

std::string quoted(const std::string& word) { return "'" + word + "'"; }

// Returns the completions of the last word of `typed`, whose first word is the program.
Words offered(const Words& typed) {
  const TempFolder folder;
  std::ofstream(folder / "script") << script_of(typed[0], "bash");
  std::string line = "set -u; source " + quoted((folder / "script").string()) + "; COMP_WORDS=(";
  for (const std::string& word : typed) line += quoted(word) + " ";
  line += "); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _" + typed[0] + "; printf '%s\\n' ${COMPREPLY[@]+\"${COMPREPLY[@]}\"}";
  const Result result = run_program_file("/bin/bash", {"--norc", "-c", line});
  CHECK_MESSAGE((result.code == 0 && result.err.empty()), result.err);
  Words out;
  std::istringstream in(result.out);
  for (std::string word; std::getline(in, word);)
    if (!word.empty()) out.push_back(word);
  std::ranges::sort(out);
  return out;
}

bool offers(const Words& typed, const std::string& word) { return std::ranges::count(offered(typed), word) == 1; }

std::string in_zsh(const Words& typed) {
  const TempFolder folder;
  std::ofstream(folder / "script") << script_of(typed[0], "zsh");
  // Stand-ins for the parts of zsh's completion system that the function calls.
  std::string line = "compdef() { }; compadd() { print -r -- \"$@\" }; _files() { print FILES }; compset() { [[ $PREFIX == ${~2} ]] || return 1; PREFIX=${PREFIX##${~2}} }; ";
  line += "source " + quoted((folder / "script").string()) + "; words=(";
  for (const std::string& word : typed) line += quoted(word) + " ";
  line += "); CURRENT=${#words}; PREFIX=${words[-1]}; _" + typed[0];
  const Result result = run_program_file("/bin/zsh", {"-f", "-c", line});
  CHECK_MESSAGE(result.err.empty(), result.err);
  return result.out;
}

}  // namespace

TEST_CASE("completion offers commands, and the flags that may precede a command") {
  CHECK(offered({"flowmap_train", "m"}) == Words{"map", "mfd", "mft"});
  CHECK(offered({"flowmap_train", ""}).size() == 14);
  CHECK(offered({"flowmap_train", "--"}) == Words{"--completion", "--help", "--version"});
  CHECK(offered({"flowmap_train", "--completion", ""}) == Words{"bash", "zsh"});
  CHECK(offered({"demo", "--ste"}) == Words{"--step-ms", "--steps"});        // flags of the default command
  CHECK(offered({"demo", "f"}) == Words{"fail"});
}

TEST_CASE("completion extends a partial flag, and a config key section by section") {
  CHECK(offered({"flowmap_train", "mfd", "--fd-s"}) == Words{"--fd-step"});
  CHECK(offered({"flowmap_train", "judge", "--fd-s"}).empty());
  CHECK(offered({"flowmap_train", "mfd", "--fresh", "--max"}) == Words{"--max-time"});
  CHECK(offered({"flowmap_train", "mfd", "--mfd"}) == Words{"--mfd."});
  CHECK(offers({"flowmap_train", "mfd", "--mfd."}, "--mfd.loop."));
  CHECK(offered({"flowmap_train", "mfd", "--mfd.loop.st"}) == Words{"--mfd.loop.steps"});
  CHECK(offered({"flowmap_train", "fm", "--no-dit.r"}) == Words{"--no-dit.recompute", "--no-dit.rope"});
  CHECK(offered({"evaluate", "--feat"}) == Words{"--features-out"});
  CHECK(offers({"convert", ""}, "--names"));
}

TEST_CASE("completion offers values for choices, lists, switches and files, and no value for numbers") {
  CHECK(offered({"flowmap_train", "mfd", "--derivative", "s"}) == Words{"semi"});
  CHECK(offered({"flowmap_train", "mfd", "--derivative", "=", "c"}) == Words{"central"});        // bash splits words at "="
  CHECK(offered({"flowmap_train", "mfd", "--derivative", "="}).size() == 6);
  CHECK(offered({"flowmap_train", "mfd", "--derivative=c"}) == Words{"--derivative=central"});
  CHECK(offered({"flowmap_train", "map", "--objective", "ct"}) == Words{"ct", "ctm"});
  CHECK(offered({"flowmap_train", "map", "--map.objective.name", "alpha"}) == Words{"alpha_flow"});
  CHECK(offered({"flowmap_train", "map", "--objective-preset", "p"}) == Words{"plain", "published"});
  CHECK(offered({"flowmap_train", "pipeline", "--log", "csv,t"}) == Words{"csv,tb"});
  CHECK(offered({"flowmap_train", "pipeline", "--dit-size", ""}) == Words{"B", "L", "S", "XL"});
  CHECK(offered({"flowmap_train", "mfd", "--velocity", ""}) == Words{"one-point", "teacher"});
  CHECK(offered({"flowmap_sample", "--stage", "mf"}) == Words{"mfd", "mft"});
  CHECK(offered({"evaluate", "--stage", "cmt,la"}) == Words{"cmt,last"});
  CHECK(offered({"evaluate", "--device", "c"}) == Words{"cpu", "cuda"});
  CHECK(offered({"convert", "--part", "d"}) == Words{"decoder", "dit"});
  CHECK(offered({"inspect", "--plan", "m"}) == Words{"map", "mfd", "mft"});
  CHECK(offers({"inspect", "--plan", ""}, "--gpus"));                        // --plan needs no value, so flags may follow
  CHECK(offered({"flowmap_train", "fm", "--dit.rope", "f"}) == Words{"false"});
  CHECK(offered({"flowmap_train", "fm", "--dit.rope", "=", ""}) == Words{"false", "true"});
  CHECK(offered({"flowmap_train", "mfd", "--fresh", "--lr"}) == Words{"--lr"});
  CHECK(offered({"flowmap_train", "mfd", "--steps", ""}).empty());
  TempFolder folder;
  std::ofstream(folder / "one run.toml") << "seed = 1\n";
  const std::string part = (folder / "one").string();
  CHECK(offered({"flowmap_train", "mfd", "--config", part}) == Words{part + " run.toml"});
  CHECK(offered({"flowmap_train", "mfd", "--resume", part}) == Words{part + " run.toml"});
  CHECK(offers({"flowmap_train", "mfd", "--resume", "a"}, "auto"));
  CHECK(offered({"flowmap_train", "compare", part}) == Words{part + " run.toml"});                   // folders of runs, which need no flag
  CHECK(offered({"flowmap_train", "compare", part, part}) == Words{part + " run.toml"});
  CHECK(offered({"flowmap_train", "compare", part, "--ou"}) == Words{"--out"});
  CHECK(offered({"flowmap_train", "mfd", part}).empty());
}

TEST_CASE("completion knows every flag of --help") {
  for (const std::string& command : commands) {
    CAPTURE(command);
    const std::string program = command.substr(0, command.find(' '));
    const TempFolder folder;
    std::ofstream(folder / "script") << script_of(program, "bash");
    std::ofstream flags(folder / "flags");
    for (const Entry& e : entries(bare(command, {"--help"}).out))
      for (const std::string& name : e.names) flags << name << "\n";
    flags.close();
    const Result result = run_program_file(
        "/bin/bash", {"--norc", "-c",
                      "source " + quoted((folder / "script").string()) + "; n=0; while read -r flag; do COMP_WORDS=(" + command +
                          " \"$flag\"); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _" + program +
                          "; [[ \" ${COMPREPLY[*]} \" == *\" $flag \"* ]] || echo \"$flag\"; n=$((n + 1)); done < " + quoted((folder / "flags").string()) +
                          "; echo \"tried $n\""});
    CHECK(result.err.empty());
    CHECK_MESSAGE(result.out.starts_with("tried "), result.out);
    CHECK(result.out != "tried 0\n");
  }
}

TEST_CASE("--completion refuses an unknown shell; other options do not change the script") {
  for (const Arguments& arguments : {Arguments{"--completion", "fish"}, Arguments{"--completion=fish"}})
    refused(run_program_file(program_file("flowmap_train"), arguments), exit_code::usage, "--completion fish: takes bash or zsh");
  refused(run_program_file(program_file("evaluate"), {"--completion"}), exit_code::usage, "--completion");
  CHECK(bare("flowmap_train mfd", {"--completion", "bash"}).out == script_of("flowmap_train", "bash"));
  const Result checked = run_program_file("/bin/bash", {"-n", "-c", script_of("flowmap_train", "bash")});
  CHECK_MESSAGE((checked.code == 0 && checked.err.empty()), checked.err);
}

TEST_CASE("zsh completion offers the same commands, flags and values") {
  if (!fs::exists("/bin/zsh")) return;
  CHECK(has(in_zsh({"flowmap_train", "m"}), "-- pipeline init compare judge"));
  CHECK(in_zsh({"flowmap_train", "mfd", "--fd-s"}) == "-- --fd-step\n");
  CHECK(in_zsh({"flowmap_train", "mfd", "--mfd"}) == "-S  -- --mfd.\n");
  CHECK(has(in_zsh({"flowmap_train", "mfd", "--derivative", ""}), "-- jvp fd central"));
  CHECK(has(in_zsh({"flowmap_train", "mfd", "--derivative=c"}), "-- jvp fd central"));
  CHECK(in_zsh({"evaluate", "--stage", "cmt,la"}).starts_with("-- last reconstruction"));
  CHECK(in_zsh({"convert", "--from", ""}) == "FILES\n");
  CHECK(in_zsh({"flowmap_train", "compare", "runs/"}) == "FILES\n");
  CHECK(in_zsh({"convert", "--steps", ""}).empty());
}
