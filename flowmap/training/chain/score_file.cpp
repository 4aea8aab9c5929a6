#include "flowmap/training/chain/score_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <map>
#include <thread>
#include <tuple>

#include "data/report/csv.h"
#include "flowmap/training/chain/stage_names.h"
#include "fmt/format.h"
#include "tensor/error.h"
#include "tensor/interrupt.h"
#include "tensor/io/atomic_file.h"

namespace fm {
namespace {

// The lock that a process holds while it writes the table. The constructor waits while another process holds the lock. On a file system without locks the
// constructor does not wait.
class TableLock {
 public:
  explicit TableLock(const std::filesystem::path& csv) : file_(open((csv.string() + ".lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666)) {
    if (file_ < 0) throw FileError(fmt::format("{}: cannot create its lock file: {}", csv.string(), std::generic_category().message(errno)));
    while (flock(file_, LOCK_EX | LOCK_NB) != 0 && (errno == EWOULDBLOCK || errno == EINTR)) {
      check_interrupt();
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }
  ~TableLock() { close(file_); }
  TableLock(const TableLock&) = delete;
  TableLock& operator=(const TableLock&) = delete;

 private:
  int file_;
};

CsvRows read_table(const std::filesystem::path& csv) {
  if (!std::filesystem::exists(csv)) return {};
  const std::string text = read_file(csv);             // outside of `try`: an unreadable file may be a table of scores
  try {
    const CsvRows rows = parse_csv(text);
    if (rows.empty() || std::find(rows[0].begin(), rows[0].end(), "name") != rows[0].end()) return rows;
    throw FileError("no column 'name'");
  } catch (const FileError& e) {
    throw FileError(fmt::format("{} is no table of scores ({}): move it away, or name another file with --csv", csv.string(), e.what()));
  }
}

std::string cell_at(const std::vector<std::string>& row, std::size_t i) { return i < row.size() ? row[i] : std::string(); }

std::vector<Score> scores_of(const CsvRows& rows, const std::filesystem::path& csv) {
  std::vector<Score> scores;
  for (std::size_t r = 1; r < rows.size(); ++r) {
    Score& score = scores.emplace_back();
    for (const ScoreColumn& column : score_columns()) {
      const auto found = std::find(rows[0].begin(), rows[0].end(), column.name);
      if (found == rows[0].end()) continue;
      try {
        set_score_cell(score, column, cell_at(rows[r], static_cast<std::size_t>(found - rows[0].begin())));
      } catch (const FileError& e) {
        throw FileError(fmt::format("{}, row {}: {}: correct the cell or move the file away", csv.string(), r, e.what()));
      }
    }
    if (score.psnr == 0) score.psnr = Score::none;  // older programs wrote 0 for generators
  }
  return scores;
}

// Returns the CSV of the table's rows followed by the scores. The table's columns come first, unchanged; missing columns of scores are added.
std::string joined(CsvRows table, const std::vector<Score>& scores) {
  if (table.empty()) table.emplace_back();
  for (const ScoreColumn& column : score_columns())
    if (std::find(table[0].begin(), table[0].end(), column.name) == table[0].end()) table[0].push_back(column.name);
  for (const Score& score : scores) {
    std::vector<std::string> row(table[0].size());
    for (const ScoreColumn& column : score_columns())
      row[static_cast<std::size_t>(std::find(table[0].begin(), table[0].end(), column.name) - table[0].begin())] =
          score_cell(score, column);
    table.push_back(row);
  }
  std::string text;
  for (std::vector<std::string>& row : table) {
    row.resize(std::max(row.size(), table[0].size()));
    text += csv_line(row);
  }
  return text;
}

// Returns the file's text plus one row for each class of each score.
std::string classes_joined(const std::filesystem::path& file, const std::vector<Score>& scores) {
  std::string text = std::filesystem::exists(file)
                         ? read_file(file)
                         : csv_line({"name", "calls", "checkpoint", "date", "class", "class_name", "samples", "right", "accuracy"});
  if (!text.ends_with('\n')) text += '\n';                                     // an editor may have left it out
  for (const Score& s : scores)
    for (std::size_t c = 0; c < s.by_class.size(); ++c) {
      const ClassScore& of = s.by_class[c];
      const std::string share = of.samples == 0 ? "" : fmt::format("{}", static_cast<double>(of.right) / static_cast<double>(of.samples));
      text += csv_line({s.name, s.calls < 0 ? "" : fmt::format("{}", s.calls), s.checkpoint, s.date, fmt::format("{}", c), of.name,
                        fmt::format("{}", of.samples), fmt::format("{}", of.right), share});
    }
  return text;
}

}  // namespace

std::filesystem::path by_class_file(const std::filesystem::path& csv) {
  return csv.parent_path() / (csv.stem().string() + "-by-class" + csv.extension().string());
}

void read_classes(const std::filesystem::path& csv, std::vector<Score>& scores) {
  const std::filesystem::path file = by_class_file(csv);
  const CsvRows rows = read_table(file);
  if (rows.empty()) return;
  const auto column = [&](const char* name) {
    const auto found = std::find(rows[0].begin(), rows[0].end(), name);
    if (found == rows[0].end()) throw FileError(fmt::format("{} has no column '{}': move it away", file.string(), name));
    return static_cast<std::size_t>(found - rows[0].begin());
  };
  const std::size_t name = column("name"), calls = column("calls"), checkpoint = column("checkpoint"), date = column("date");
  const std::size_t class_name = column("class_name"), samples = column("samples"), right = column("right");
  const auto whole = [&](const std::vector<std::string>& row, std::size_t i) {
    std::int64_t value = 0;
    const std::string text = cell_at(row, i);
    if (const auto read = std::from_chars(text.data(), text.data() + text.size(), value); read.ec != std::errc() || read.ptr != text.data() + text.size())
      throw FileError(fmt::format("{}: '{}' in column {} is not a whole number: correct the cell or move the file away", file.string(), text, rows[0][i]));
    return value;
  };
  for (std::size_t r = 1; r < rows.size(); ++r)
    for (Score& s : scores)
      if (cell_at(rows[r], name) == s.name && cell_at(rows[r], calls) == (s.calls < 0 ? "" : std::to_string(s.calls)) && cell_at(rows[r], checkpoint) == s.checkpoint &&
          cell_at(rows[r], date) == s.date)
        s.by_class.push_back({cell_at(rows[r], class_name), whole(rows[r], samples), whole(rows[r], right)});
}

std::vector<Score> read_scores(const std::filesystem::path& csv) { return scores_of(read_table(csv), csv); }

void add_scores(const std::filesystem::path& csv, const std::vector<Score>& scores,
                const std::function<void(const std::vector<Score>& all)>& meanwhile) {
  const TableLock lock(csv);
  const CsvRows table = read_table(csv);
  std::vector<Score> all = scores_of(table, csv);
  if (!scores.empty()) {
    write_atomically(by_class_file(csv), classes_joined(by_class_file(csv), scores));  // first, so that no score is ever without its classes
    write_atomically(csv, joined(table, scores));
  }
  all.insert(all.end(), scores.begin(), scores.end());
  if (meanwhile) meanwhile(all);
}

namespace {

// The weights and the data that a score is of.
auto weights_of(const Score& s) { return std::tie(s.checkpoint, s.decoder, s.dtype, s.data); }

// Rows of older programs do not say what their features are: those of the judge, or the values.
std::string features_of(const Score& s) { return s.features.empty() ? (s.judge == "values" ? "values" : stage_name::judge) : s.features; }

// Whether an older row has the newest weights. A judge that was trained again makes its old scores old.
bool has_newest_weights(const Score& older, const std::vector<Score>& newer) {
  const auto other_weights = [&](const Score& s) { return weights_of(s) != weights_of(older) || (features_of(s) == features_of(older) && s.judge != older.judge); };
  return std::none_of(newer.begin(), newer.end(), other_weights);
}

// Whether two scores have the same settings. Rows of older programs lack some settings, and match every row with the same calls.
bool same_question(const Score& a, const Score& b) {
  const auto asked = [](const Score& s) { return std::tie(s.samples, s.seed, s.k, s.reference); };
  const bool unknown = a.samples < 0 || b.samples < 0;
  const auto alike = [](double x, double y) { return x == y || (std::isnan(x) && std::isnan(y)); };
  const bool guided_alike = alike(a.guidance, b.guidance) && alike(a.guidance_from, b.guidance_from) && alike(a.guidance_to, b.guidance_to);
  return a.calls == b.calls && features_of(a) == features_of(b) && (unknown || (asked(a) == asked(b) && guided_alike));
}

// Whether the newer of two scores of the same weights replaces the older one: it has the same settings, or the images of the reference have changed.
bool replaces(const Score& newer, const Score& older) {
  return same_question(newer, older) || (features_of(newer) == features_of(older) && newer.reference == older.reference && newer.reference_id != older.reference_id);
}

}  // namespace

std::vector<Score> newest_scores(const std::vector<Score>& all) {
  std::vector<std::string> names;
  std::map<std::string, std::vector<Score>> shown;
  for (auto s = all.rbegin(); s != all.rend(); ++s) {
    std::vector<Score>& rows = shown[s->name];
    const auto hides = [&](const Score& newer) { return replaces(newer, *s); };
    if (has_newest_weights(*s, rows) && std::none_of(rows.begin(), rows.end(), hides)) rows.push_back(*s);
  }
  std::vector<Score> out;
  for (const Score& s : all) {
    if (std::find(names.begin(), names.end(), s.name) != names.end()) continue;
    names.push_back(s.name);
    std::vector<Score>& rows = shown[s.name];
    std::reverse(rows.begin(), rows.end());
    std::stable_sort(rows.begin(), rows.end(),
                     [](const Score& a, const Score& b) { return std::tie(a.calls, a.samples) < std::tie(b.calls, b.samples); });
    out.insert(out.end(), rows.begin(), rows.end());
  }
  return out;
}

}  // namespace fm
