#include "flowmap/training/chain/class_scores.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

namespace fm {
namespace {

constexpr std::size_t most_classes = 20;

double accuracy_of(const ClassScore& of) { return of.samples == 0 ? Score::none : static_cast<double>(of.right) / static_cast<double>(of.samples); }

// The indices of the classes to show: all of up to 20, else the 20 with the lowest accuracy in the last score, lowest first.
std::vector<std::size_t> rows_of_classes(const Score& last) {
  std::vector<std::size_t> rows(last.by_class.size());
  std::iota(rows.begin(), rows.end(), 0);
  if (rows.size() <= most_classes) return rows;
  const auto key = [&](std::size_t i) { return last.by_class[i].samples == 0 ? 2.0 : accuracy_of(last.by_class[i]); };
  std::stable_sort(rows.begin(), rows.end(), [&](std::size_t a, std::size_t b) { return key(a) < key(b); });
  rows.resize(most_classes);
  return rows;
}

}  // namespace

void add_class_scores(HtmlReport& report, const std::vector<Score>& scores) {
  std::vector<const Score*> shown;
  for (const Score& s : scores)
    if (!s.by_class.empty()) shown.push_back(&s);
  if (shown.empty()) return;
  const Score& last = *shown.back();
  std::vector<std::string> head{"class"};
  for (const Score* s : shown) head.push_back(s->calls < 0 ? s->name : fmt::format("{}, {} call{}", s->name, s->calls, s->calls == 1 ? "" : "s"));
  std::vector<std::vector<std::string>> rows;
  for (const std::size_t c : rows_of_classes(last)) {
    rows.push_back({last.by_class[c].name});
    for (const Score* s : shown) {
      const double share = c < s->by_class.size() ? accuracy_of(s->by_class[c]) : Score::none;
      rows.back().push_back(std::isnan(share) ? "-" : fmt::format("{:.1f} %", 100 * share));
    }
  }
  report.subheading("Accuracy by class");
  report.table(head, rows,
               rows.size() < last.by_class.size() ? fmt::format("The {} of {} classes with the lowest accuracy in the last column", rows.size(), last.by_class.size())
                                                  : "Of the samples requested for a class, the share that the judge assigns to it");
}

}  // namespace fm
