// Runs of the real programs on configs/tiny_shapes.toml, which take seconds: for tests of results and messages.
#pragma once

#include <doctest/doctest.h>

#include <map>

#include "apps/cli/program.h"
#include "tests/support/child.h"

namespace fm::test {

namespace fs = std::filesystem;

inline const std::string config_file = FM_TESTS_FOLDER "/../configs/tiny_shapes.toml";

// Runs a program with one thread. Two threads would mostly wait for each other, because the work is small.
inline Result run(const std::string& program, const fs::path& out, const Arguments& more = {}, const std::function<void(pid_t)>& during = {}) {
  Arguments common{"--config", config_file, "--threads", "1"};
  if (!out.empty()) common.insert(common.end(), {"--out", out.string()});
  const fs::path file = own_folder().parent_path() / "apps" / program.substr(0, program.find(' '));
  const Arguments stage = program.find(' ') == std::string::npos ? Arguments{} : Arguments{program.substr(program.find(' ') + 1)};
  return run_program_file(file, stage + common + more, during);
}

inline Result train(const std::string& stage, const fs::path& out, const Arguments& more = {}, const std::function<void(pid_t)>& during = {}) {
  return run("flowmap_train " + stage, out, more, during);
}

inline void succeeds(const Result& result) { REQUIRE_MESSAGE(result.code == 0, result.err); }

// A finished pipeline, made once.
inline const fs::path& finished_run() {
  static const TempFolder folder;
  static const fs::path run = [] {
    const Result result = train("pipeline", folder / "run");
    succeeds(result);
    return folder / "run";
  }();
  return run;
}

// Makes a new run with the statistics and these stages of the finished one.
inline void copy_stages(const fs::path& to, const std::vector<std::string>& stages) {
  fs::create_directories(to);
  fs::copy(finished_run() / "stats.safetensors", to);
  for (const std::string& stage : stages)
    fs::copy(finished_run() / stage, to / stage, fs::copy_options::recursive | fs::copy_options::copy_symlinks);
}

// Path and bytes of every file below `folder`.
inline std::map<std::string, std::string> contents(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file()) files[fs::relative(entry.path(), folder).string()] = read_file(entry.path());
  return files;
}

inline void refused(const Result& result, int code, const std::string& message) {
  CHECK_MESSAGE(result.code == code, result.err);
  CHECK_MESSAGE(has(result.err, "error: "), result.err);
  CHECK_MESSAGE(has(result.err, message), result.err);
  CHECK_MESSAGE(lines(result.err) == 1, result.err);
}

}  // namespace fm::test
