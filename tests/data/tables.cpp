// Tables of repeated measurements, the statistics in their cells, CSV text, and the report of a training.
#include <doctest/doctest.h>

#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "data/png.h"
#include "data/report/csv.h"
#include "data/report/table.h"
#include "data/report/training_report.h"
#include "tensor/error.h"
#include "tensor/io/atomic_file.h"
#include "tests/support/error_of.h"
#include "tests/support/markup.h"
#include "tests/support/mentions.h"
#include "tests/support/near.h"
#include "tests/support/temp_folder.h"
#include "tests/support/text.h"

using namespace fm;
using namespace fm::test;

namespace {

constexpr double missing = std::numeric_limits<double>::quiet_NaN(), infinity = std::numeric_limits<double>::infinity();

Table example() {
  return {.what = "derivative",
          .columns = {{"error", "du/dt error", "{:.1e}"}, {"frechet_1", "Frechet, 1 call", "{:.2f}"}},
          .rows = {{"jvp", {{1e-7, 3e-7}, {70.25, 70.75}}, ""}, {"fd_0.1", {{0.5}, {missing}}, "1 of 2 diverged"}}};
}

// A metrics.csv of n steps whose column m is f(step).
template <class F> std::string metrics_csv(int n, const F& f) {
  std::string csv = "step,time,m\n";
  for (int i = 1; i <= n; ++i) csv += fmt::format("{},{}.5,{}\n", i, i, f(i));
  return csv;
}

}  // namespace

TEST_CASE("mean, sample deviation, median and spread leave out values that are not finite") {
  const Statistics s = statistics({1, 2, missing, 4, 9, infinity});
  CHECK(s.n == 4);
  CHECK(s.mean == 4);
  CHECK(near(s.deviation, std::sqrt((9 + 4 + 0 + 25) / 3.0), 1e-15));
  CHECK(near(statistics({1, 2}).deviation, std::sqrt(0.5), 1e-15));
  CHECK(statistics({3}).deviation == 0);
  CHECK(statistics({0.193, missing, 0.193, 0.193}).deviation == 0);                // whose sum and mean are rounded
  CHECK(statistics({0.193, 0.193, 0.193}).mean == 0.193);
  CHECK(statistics({0.193, 0.193, 0.193}).n == 3);
  CHECK(statistics({3}).n == 1);
  for (const std::vector<double>& none : {std::vector<double>{}, {missing, infinity}}) {
    CHECK(std::isnan(statistics(none).mean));
    CHECK(statistics(none).deviation == 0);
    CHECK(statistics(none).n == 0);
  }
  const Statistics empty;
  CHECK((empty.mean == 0 && empty.deviation == 0 && empty.n == 0));
  CHECK(median({7}) == 7);
  CHECK(median({5, 1, 3}) == 3);
  CHECK(median({4, 1, 2, 8}) == 3);
  CHECK(median({10, 1, 2, 3, 100, 4}) == 3.5);
  CHECK_THROWS(median({}));
  CHECK(near(spread({2, 3, 5}), 1, 1e-15));
  CHECK(spread({4, 4}) == 0);
}

TEST_CASE("a table as terminal text is split into blocks of columns that fit the width") {
  CHECK(terminal_text(example()) ==
        "derivative        du/dt error  Frechet, 1 call             note\n"
        "jvp         2.0e-07 ± 1.4e-07     70.50 ± 0.35                 \n"
        "fd_0.1                5.0e-01                -  1 of 2 diverged\n");
  const std::string one =
      "derivative        du/dt error\n"
      "jvp         2.0e-07 ± 1.4e-07\n"
      "fd_0.1                5.0e-01\n";
  const std::string two =
      "derivative  Frechet, 1 call             note\n"
      "jvp            70.50 ± 0.35                 \n"
      "fd_0.1                    -  1 of 2 diverged\n";
  CHECK(terminal_text(example(), 44) == one + "\n" + two);
  CHECK(terminal_text(example(), 45) == one + "\n" + two);
  const std::string with_two =
      "derivative        du/dt error  Frechet, 1 call\n"
      "jvp         2.0e-07 ± 1.4e-07     70.50 ± 0.35\n"
      "fd_0.1                5.0e-01                -\n";
  const std::string with_one =
      "derivative             note\n"
      "jvp                        \n"
      "fd_0.1      1 of 2 diverged\n";
  CHECK(terminal_text(example(), 46) == with_two + "\n" + with_one);          // first the columns that fit, then the rest
  CHECK(terminal_text(example(), 62) == with_two + "\n" + with_one);          // one character too few for all columns
  CHECK(terminal_text(example(), 63) == terminal_text(example()));
  CHECK(lines(terminal_text(example(), 43)) == 3 * 3 + 2);                     // three blocks of one column, with empty lines between them
  CHECK(terminal_text(example(), 0) == terminal_text(example(), 43));          // a column that is too wide stands alone
}

TEST_CASE("a table as CSV, Markdown and LaTeX has the expected text, with and without notes") {
  CHECK(csv_text(example()) ==
        "name,error_mean,error_deviation,error_n,frechet_1_mean,frechet_1_deviation,frechet_1_n,note\n"
        "jvp,2e-07,1.41421e-07,2,70.5,0.353553,2,\n"
        "fd_0.1,0.5,,1,,,0,1 of 2 diverged\n");
  CHECK(markdown_text(example()) ==
        "| derivative | du/dt error | Frechet, 1 call | note |\n"
        "| --- | ---: | ---: | ---: |\n"
        "| jvp | 2.0e-07 ± 1.4e-07 | 70.50 ± 0.35 |  |\n"
        "| fd_0.1 | 5.0e-01 | - | 1 of 2 diverged |\n");
  CHECK(latex_text(example()) ==
        "\\begin{tabular}{lrrr}\n\\toprule\nderivative & du/dt error & Frechet, 1 call & note \\\\\n\\midrule\n"
        "jvp & 2.0e-07 $\\pm$ 1.4e-07 & 70.50 $\\pm$ 0.35 &  \\\\\n"
        "fd\\_0.1 & 5.0e-01 & - & 1 of 2 diverged \\\\\n\\bottomrule\n\\end{tabular}\n");
  Table plain = example();
  plain.rows.resize(1);
  CHECK(markdown_text(plain) == "| derivative | du/dt error | Frechet, 1 call |\n| --- | ---: | ---: |\n| jvp | 2.0e-07 ± 1.4e-07 | 70.50 ± 0.35 |\n");
  plain.what = "a&b%c$d#e_f{g}";
  CHECK(has(latex_text(plain), "\na\\&b\\%c\\$d\\#e\\_f\\{g\\} & du"));
  plain.rows[0].cells.pop_back();
  CHECK_THROWS(markdown_text(plain));                                          // a row must have a cell for each column
  const TableColumn column{"k", "t", "{:.1f}"};
  CHECK(cell_text(column, {1, 3}) == "2.0 ± 1.4");
  CHECK(cell_text(column, {1, 3}, "+-") == "2.0 +- 1.4");
  CHECK(cell_text(column, {missing, 2}) == "2.0");
  CHECK(cell_text(column, {}) == "-");
}

TEST_CASE("CSV text keeps quotes, commas and line breaks of cells") {
  const CsvRows rows{{"a", "", "b,c"}, {"say \"no\"", "two\nlines", "\r"}, {"", "x"}};
  std::string text;
  for (const auto& row : rows) text += csv_line(row);
  CHECK(text == "a,,\"b,c\"\n\"say \"\"no\"\"\",\"two\nlines\",\"\r\"\n,x\n");
  CHECK(parse_csv(text) == rows);
  CHECK(parse_csv("a,b\r\n1,2\r\n") == CsvRows{{"a", "b"}, {"1", "2"}});      // line breaks of Windows
  CHECK(parse_csv("a,b\n\n1,2") == CsvRows{{"a", "b"}, {"1", "2"}});          // an empty line is no row; the last line needs no line break
  CHECK(parse_csv("\"\"\n") == CsvRows{{""}});                                 // one empty cell is a row
  CHECK(parse_csv(",\n") == CsvRows{{"", ""}});
  CHECK(parse_csv("x\"y\"z\n") == CsvRows{{"xyz"}});
  CHECK(parse_csv("\"a\"\"\"") == CsvRows{{"a\""}});
  CHECK(parse_csv("").empty());
  CHECK(mentions(error_of([] { parse_csv("\"a"); }), {"quoted", "CSV", "end"}));
  CHECK(mentions(error_of([] { parse_csv("a\"\"\""); }), {"quoted", "CSV", "end"}));
}

TEST_CASE("the report of a training shows the files that its folder contains") {
  const TempFolder folder;
  const auto report = [&](const std::function<void(HtmlReport&)>& extra = {}) {
    write_training_report(folder.path(), "a run", extra);
    return read_file(folder / "report.html");
  };
  const std::string bare = report();
  CHECK(is_balanced(bare));
  CHECK(has(bare, "<h1>a run</h1>\n<p class=\"subtitle\">written 2"));
  CHECK(count(bare, "<h2>") == 0);

  std::filesystem::create_directory(folder / "samples");
  write_png(folder / "samples/step-1.png", blank_image(3, 2, 1));
  write_png(folder / "samples/step-2.png", blank_image(5, 4, 1));
  write_atomically(folder / "samples/step-3.txt", "no image");
  write_atomically(folder / "metrics.csv", "step,time,loss,lr\n1,0.5,2,1\n2,0.6,3,1\n");
  write_atomically(folder / "config.toml", "seed = 1 # <x>\n");
  write_atomically(folder / "run.json", R"({"sessions": [{"host": "old"}, {"host": "new", "threads": 3, "ranks": 2, "command_line": ["train", "--data", "a b"]}]})");
  const std::string whole = report([](HtmlReport& r) { r.heading("Results"); });
  CHECK(is_balanced(whole));
  std::size_t at = 0;
  for (const char* part : {"<h2>Samples</h2>", "width=\"10\" class=\"hard\" alt=\"step-2.png\"", "<h3>Samples at several steps</h3>", "<figcaption>step-1</figcaption>",
                           "<figcaption>step-2</figcaption>", "<h2>Results</h2>", "<h2>Curves</h2>\n<div class=\"plots\">", ">loss</text>",
                           "<td>learning rate</td><td>lr</td><td class=\"number\">1</td>", "<h2>Config</h2>", "<summary>config.toml</summary>", "seed = 1 # &lt;x&gt;",
                           "<h2>Sessions</h2>", "<p>Trained on new: 3 threads in each of 2 ranks.</p>", "<pre>train --data 'a b'</pre>",
                           "<td class=\"number\">1</td>", "<td>on old</td>", "<td class=\"number\">2</td>"}) {
    at = whole.find(part, at);
    CHECK_MESSAGE(at != std::string::npos, part);
  }
  CHECK(count(whole, "<svg class=\"plot\"") == 1);                             // one plot: step, time and the constant column have none
  CHECK_FALSE(has(whole, "../report.html"));
  for (const char* json : {"{", "[]", "{}", R"({"sessions": []})"}) {
    write_atomically(folder / "run.json", json);
    CHECK_FALSE(has(report(), "Sessions"));
  }
  write_atomically(folder / "metrics.csv", "step,time\n");
  CHECK_FALSE(has(report(), "Curves"));
}

TEST_CASE("curves in a report show few rows as points and many as a mean, with a log axis over decades") {
  const TempFolder folder;
  const auto report = [&](int n, const auto& f) {
    write_atomically(folder / "metrics.csv", metrics_csv(n, f));
    write_training_report(folder.path(), "t");
    return read_file(folder / "report.html");
  };
  const auto wave = [](int i) { return 10 + i % 3; };
  CHECK(count(report(30, wave), "r=\"3\"") == 30);
  CHECK(count(report(31, wave), "r=\"3\"") == 0);
  CHECK_FALSE(has(report(30, wave), "mean of the"));
  CHECK(has(report(31, wave), "has 31 rows, each with the numbers of one step. A line is the mean of the 5 rows around"));
  CHECK(has(report(120, wave), "mean of the 9 rows around"));
  CHECK(count(report(31, wave), "fill-opacity=\"0.18\"") == 2);
  const auto is_log = [&](const auto& f) { return has(report(2, f), ">20</text>") && !has(report(2, f), ">15</text>"); };     // a log axis has the ticks 10, 20, 50
  CHECK(is_log([](int i) { return i == 1 ? 1 : 31; }));
  CHECK_FALSE(is_log([](int i) { return i == 1 ? 1 : 30; }));
  CHECK_FALSE(is_log([](int i) { return i == 1 ? 0 : 31; }));
  CHECK_FALSE(is_log([](int i) { return i == 1 ? -1 : 31; }));
  CHECK(has(report(1, [](int) { return "nan"; }), ">m</text>"));               // a column without numbers has an empty plot
}
