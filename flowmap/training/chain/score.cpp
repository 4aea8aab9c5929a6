#include "flowmap/training/chain/score.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "flowmap/metrics/sample_metrics.h"
#include "flowmap/training/chain/stage_names.h"
#include "tensor/error.h"
#include "tensor/narrow.h"

namespace fm {

namespace {

std::vector<ScoreColumn> make_columns() {
  using S = Score;
  std::vector<ScoreColumn> list{
      {"name", "", "the generator", false, &S::name},
      {"calls", "calls", "network calls for one sample", false, &S::calls},
      {"accuracy", "accuracy", "share of samples that the judge assigns to the requested class", true, &S::accuracy, 1, 100, " %"},
      {"psnr", "PSNR", "peak signal-to-noise ratio of reconstructions, of the mean squared error over all images", true, &S::psnr, 2, 1, " dB"},
      {"ms_per_image", "ms/image", "time to generate one image", true, &S::ms_per_image, 2},
      {"stage", "", "folder or file of the weights", false, &S::stage},
      {"step", "step", "training step of the weights", false, &S::step},
      {"checkpoint", "checkpoint", "crc32c of the generator's weights", false, &S::checkpoint},
      {stage_name::decoder, "", "crc32c of the decoder's weights, and its number format if that is not f32", false, &S::decoder},
      {"dtype", "", "number format in which the network computes", false, &S::dtype},
      {"samples", "samples", "number of generated samples", false, &S::samples},
      {"seed", "seed", "seed of the samples", false, &S::seed},
      {"k", "", "number of nearest neighbors for precision and recall", false, &S::k},
      {"guidance", "guidance", "scale of classifier-free guidance while sampling", false, &S::guidance, 2},
      {"guidance_from", "", "smallest time at which guidance acts; empty: 0", false, &S::guidance_from, 2},
      {"guidance_to", "", "largest time at which guidance acts; empty: 1", false, &S::guidance_to, 2},
      {"classes", "", "number of classes", false, &S::classes},
      {"data", "", "data set", false, &S::data},
      {"reference", "reference", "number of real test images that samples are compared with", false, &S::reference},
      {"reference_id", "", "fingerprint of the reference", false, &S::reference_id},
      {"reference_accuracy", "", "accuracy of the judge on the reference", false, &S::reference_accuracy, 1, 100, " %"},
      {"features", "features", "features that distances are measured in", false, &S::features},
      {stage_name::judge, "", "fingerprint of the features: crc32c of the judge's weights", false, &S::judge},
      {"date", "", "when the score was computed, UTC", false, &S::date},
  };
  std::vector<ScoreColumn> measured;
  for (const SampleMetric& m : sample_metrics())
    for (const MetricValue& v : m.values) measured.push_back({v.name, v.title, v.help, true, MetricMember{v.name}, v.decimals});
  // Scores of points in the plane have a table of their own (flowmap/training/plane.h).
  measured.push_back({"map_error", "", "mean square distance to the end of the exact flow", true, MetricMember{"map_error"}, 4});
  list.insert(list.begin() + 2, measured.begin(), measured.end());     // after name and calls
  return list;
}

bool absent(const std::string& x) { return x.empty(); }
bool absent(std::int64_t x) { return x < 0; }
bool absent(double x) { return std::isnan(x); }

template <class T>
bool read_number(const std::string& text, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

const std::string& value_of(const Score& score, std::string Score::*member) { return score.*member; }
std::int64_t value_of(const Score& score, std::int64_t Score::*member) { return score.*member; }
double value_of(const Score& score, double Score::*member) { return score.*member; }
double value_of(const Score& score, MetricMember member) { return score.metric(member.name); }

}  // namespace

const std::vector<ScoreColumn>& score_columns() {
  static const std::vector<ScoreColumn> list = make_columns();
  return list;
}

double Score::metric(const std::string& metric_name) const {
  const auto found = metrics.find(metric_name);
  return found == metrics.end() ? none : found->second;
}

bool Score::has_usual_features() const { return features.empty() || features == stage_name::judge || features == "values"; }

std::string score_cell(const Score& score, const ScoreColumn& column) {
  return std::visit(
      [&](auto member) {
        const auto& value = value_of(score, member);
        return absent(value) ? std::string() : fmt::format("{}", value);
      },
      column.member);
}

double score_number(const Score& score, const ScoreColumn& column) {
  return std::visit(
      [&](auto member) -> double {
        if constexpr (std::is_same_v<decltype(member), std::string Score::*>) return Score::none;
        else return absent(value_of(score, member)) ? Score::none : static_cast<double>(value_of(score, member));
      },
      column.member);
}

std::string shown_cell(const Score& score, const ScoreColumn& column) {
  const std::string exact = score_cell(score, column);
  if (exact.empty()) return "-";
  if (!std::holds_alternative<double Score::*>(column.member) && !std::holds_alternative<MetricMember>(column.member)) return exact;
  return fmt::format("{:.{}f}{}", column.factor * score_number(score, column), column.decimals, column.unit);
}

void set_score_cell(Score& score, const ScoreColumn& column, const std::string& text) {
  if (text.empty()) return;
  std::visit(
      [&](auto member) {
        using Member = decltype(member);
        if constexpr (std::is_same_v<Member, std::string Score::*>) {
          score.*member = text;
        } else {
          std::conditional_t<std::is_same_v<Member, std::int64_t Score::*>, std::int64_t, double> value = 0;
          if (!read_number(text, value)) throw FileError(fmt::format("{} '{}' is not a number", column.name, text));
          if constexpr (std::is_same_v<Member, MetricMember>) score.metrics[member.name] = value;
          else score.*member = value;
        }
      },
      column.member);
}

namespace {

// Whether the terminal's table has the column. The table has the measured numbers, and the number of calls, which distinguishes rows. The other columns of
// scores.csv are equal in all rows of an evaluation. All of these rows have values for the same set of metrics, so
// `score` may be any of them.
bool on_terminal(const Score& score, const ScoreColumn& c) {
  if (const auto* metric = std::get_if<MetricMember>(&c.member)) return *c.title != 0 && score.metrics.contains(metric->name);
  return *c.title != 0 && (c.measured || std::string_view(c.name) == "calls");
}

int width(const ScoreColumn& c) { return std::max(9, narrow<int>(std::string_view(c.title).size())); }

}  // namespace

std::string score_head(const Score& score) {
  std::string line = fmt::format("{:<15}", "");
  for (const ScoreColumn& c : score_columns())
    if (on_terminal(score, c)) line += fmt::format(" {:>{}}", c.title, width(c));
  return line;
}

std::string score_row(const Score& score) {
  std::string line = fmt::format("{:<15}", score.name);
  for (const ScoreColumn& c : score_columns())
    if (on_terminal(score, c)) line += fmt::format(" {:>{}}", shown_cell(score, c), width(c));
  return line;
}

}  // namespace fm
