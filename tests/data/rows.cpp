// The rows that an evaluation takes and the classes that it generates: equal counts, fixed keys, and smaller choices inside larger ones.
#include "data/rows.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "data/pictures.h"
#include "tests/support/error_of.h"
#include "tests/support/text.h"

using namespace fm;
using fm::test::error_of;
using fm::test::has;

namespace {

using Rows = std::vector<std::int64_t>;

// A source of labels without samples.
class Labelled : public SampleSource {
 public:
  Labelled(std::vector<std::int32_t> labels, int classes) : labels_(std::move(labels)), names_(static_cast<std::size_t>(classes), "c") {}
  std::int64_t count() const override { return std::ssize(labels_); }
  std::string name() const override { return "labels"; }
  Shape shape() const override { return {1}; }
  DType dtype() const override { return DType::f32; }
  std::int32_t label(std::int64_t i) const override { return labels_.at(static_cast<std::size_t>(i)); }
  const std::vector<std::string>& class_names() const override { return names_; }
  void read(std::int64_t, const PhiloxBlock&, void*) const override {}

 private:
  std::vector<std::int32_t> labels_;
  std::vector<std::string> names_;
};

// Class c occurs sizes[c] times. Rows 0, 1, 2, ... take in turn the classes that have rows left.
Labelled mixed(Rows sizes) {
  std::vector<std::int32_t> labels;
  for (bool more = true; more;) {
    more = false;
    for (std::size_t c = 0; c < sizes.size(); ++c)
      if (sizes[c] > 0) --sizes[c], labels.push_back(static_cast<std::int32_t>(c)), more = true;
  }
  return {labels, static_cast<int>(sizes.size())};
}

Rows counts(const SampleSource& source, const Rows& rows) {
  Rows n(source.class_names().size(), 0);
  for (const std::int64_t row : rows) ++n[static_cast<std::size_t>(source.label(row))];
  return n;
}

Rows range(std::int64_t n) {
  Rows out;
  for (std::int64_t i = 0; i < n; ++i) out.push_back(i);
  return out;
}

}  // namespace

TEST_CASE("balanced rows have equally many of each class, or all rows of a class that has fewer") {
  const Labelled source = mixed({6, 3, 1, 0, 9});
  for (const std::int64_t all : {0, -1, 19, 20}) CHECK(balanced_rows(source, all) == range(19));
  CHECK(balanced_rows(source, 1).size() == 1);
  for (std::int64_t n = 1; n < 19; ++n) {
    CAPTURE(n);
    const Rows rows = balanced_rows(source, n), of = counts(source, rows);
    CHECK(std::ssize(rows) == n);
    CHECK(std::is_sorted(rows.begin(), rows.end()));
    CHECK(std::set<std::int64_t>(rows.begin(), rows.end()).size() == rows.size());
    CHECK(of[3] == 0);
    // Counts differ by at most one, unless a class has no more rows.
    const std::int64_t most = *std::max_element(of.begin(), of.end());
    const Rows sizes{6, 3, 1, 0, 9};
    for (std::size_t c = 0; c < 5; ++c) CHECK((of[c] >= most - 1 || of[c] == sizes[c]));
  }
  CHECK(counts(source, balanced_rows(source, 4)) == Rows{1, 1, 1, 0, 1});
  CHECK(counts(source, balanced_rows(source, 10)) == Rows{3, 3, 1, 0, 3});
  CHECK(counts(source, balanced_rows(source, 18)) == Rows{6, 3, 1, 0, 8});
  const Labelled large = mixed({500, 500});
  const Rows few = balanced_rows(large, 100), more = balanced_rows(large, 200);
  CHECK(std::includes(more.begin(), more.end(), few.begin(), few.end()));     // the larger choice contains the smaller one
  CHECK(few.back() > 900);                                                    // rows from the whole range
  CHECK(few.front() < 100);
  Rows in_class[2];
  for (const std::int64_t row : few) in_class[row % 2].push_back(row / 2);
  CHECK(in_class[0] != in_class[1]);                                          // each class has an order of its own
}

TEST_CASE("drawn_rows gives the same sorted subset each time, and a smaller subset is part of a larger") {
  const Rows rows{3, 5, 8, 13, 21, 34, 55, 89};
  CHECK(drawn_rows(rows, 8) == rows);
  CHECK(drawn_rows(rows, 9) == rows);
  CHECK(drawn_rows(rows, 0).empty());
  std::set<std::int64_t> seen;
  for (std::int64_t n = 1; n < 8; ++n) {
    const Rows some = drawn_rows(rows, n);
    CHECK(std::ssize(some) == n);
    CHECK(std::is_sorted(some.begin(), some.end()));
    CHECK(std::includes(rows.begin(), rows.end(), some.begin(), some.end()));
    CHECK(std::set<std::int64_t>(some.begin(), some.end()).size() == some.size());
    CHECK(std::includes(some.begin(), some.end(), seen.begin(), seen.end()));
    seen.insert(some.begin(), some.end());
  }
  Rows first(100);
  for (std::size_t i = 0; i < first.size(); ++i) first[i] = static_cast<std::int64_t>(i);
  CHECK(drawn_rows(first, 10).back() > 50);
}

TEST_CASE("images that do not fit into memory are refused before they are read") {
  class Endless : public Labelled {
   public:
    Endless() : Labelled({}, 1) {}
    std::int64_t count() const override { return std::int64_t{1} << 40; }
    Shape shape() const override { return {1, 1024, 1024}; }
    DType dtype() const override { return DType::u8; }
  };
  const std::string error = error_of([] { load_pictures(Endless()); });
  CHECK_MESSAGE(has(error, "1099511627776 images take "), error);
}

TEST_CASE("balanced_labels cycles through the classes; the labels of the last, partial cycle are random") {
  CHECK(balanced_labels(6, 3, 1) == Rows{0, 1, 2, 0, 1, 2});
  CHECK(balanced_labels(0, 3, 1).empty());
  std::set<Rows> rests;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const Rows labels = balanced_labels(12, 10, seed);
    CHECK(Rows(labels.begin(), labels.begin() + 10) == range(10));
    CHECK(labels.size() == 12);
    CHECK(labels[10] != labels[11]);
    for (const std::int64_t l : labels) CHECK((l >= 0 && l < 10));
    rests.insert({labels.begin() + 10, labels.end()});
  }
  CHECK(rests.size() > 10);
  CHECK(balanced_labels(2, 10, 7) == Rows{balanced_labels(12, 10, 7)[10], balanced_labels(12, 10, 7)[11]});
}
