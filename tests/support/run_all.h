#pragma once
// Runs the test cases that the command line names. A run in which no case matches its filters fails: it would otherwise pass without having
// tested anything, for instance after a file was renamed.
#include <doctest/doctest.h>

#include <cstdio>

namespace fm::test {

struct CountMatches : doctest::IReporter {
  static inline bool ended = false;        // stays false for listings and help
  static inline unsigned matches = 0;
  explicit CountMatches(const doctest::ContextOptions&) {}
  void test_run_end(const doctest::TestRunStats& stats) override { ended = true, matches = stats.numTestCasesPassingFilters; }
  void report_query(const doctest::QueryData&) override {}
  void test_run_start() override {}
  void test_case_start(const doctest::TestCaseData&) override {}
  void test_case_reenter(const doctest::TestCaseData&) override {}
  void test_case_end(const doctest::CurrentTestCaseStats&) override {}
  void test_case_exception(const doctest::TestCaseException&) override {}
  void subcase_start(const doctest::SubcaseSignature&) override {}
  void subcase_end() override {}
  void log_assert(const doctest::AssertData&) override {}
  void log_message(const doctest::MessageData&) override {}
  void test_case_skipped(const doctest::TestCaseData&) override {}
};
REGISTER_LISTENER("matches", 1, CountMatches);

inline int run_all(int argc, char** argv) {
  const int failures = doctest::Context(argc, argv).run();
  if (!CountMatches::ended || CountMatches::matches > 0) return failures;
  std::fputs("no test case matches: nothing was tested\n", stderr);
  return 1;
}

}  // namespace fm::test
