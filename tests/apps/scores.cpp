// Scores: the table, the file, and the choice of images to compare with.
#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <set>
#include <thread>

#include "flowmap/training/chain/class_scores.h"
#include "data/report/csv.h"
#include "flowmap/training/chain/evaluation.h"
#include "flowmap/training/chain/score_file.h"
#include "flowmap/training/rae_space.h"
#include "tensor/error.h"
#include "tensor/io/atomic_file.h"
#include "tests/support/markup.h"
#include "tests/support/near.h"
#include "tests/support/temp_folder.h"
#include "tests/support/text.h"

using namespace fm;
using namespace fm::test;

namespace {

Score score_of(const std::string& name, std::int64_t calls, double frechet, std::int64_t samples = 40,
               const std::string& checkpoint = "a") {
  return {.name = name,
          .calls = calls,
          .metrics = {{"frechet", frechet}},
          .checkpoint = checkpoint,
          .samples = samples,
          .seed = 1,
          .k = 3,
          .reference = 20,
          .reference_id = "r"};
}

// A source of empty images, sorted by class, with sizes[c] images of class c.
class LabelsAlone : public SampleSource {
 public:
  explicit LabelsAlone(const std::vector<std::int64_t>& sizes) {
    for (std::size_t c = 0; c < sizes.size(); ++c) {
      labels_.insert(labels_.end(), static_cast<std::size_t>(sizes[c]), static_cast<std::int32_t>(c));
      names_.push_back("class" + std::to_string(c));
    }
  }
  std::int64_t count() const override { return static_cast<std::int64_t>(labels_.size()); }
  std::string name() const override { return "labels"; }
  Shape shape() const override { return {1, 1, 1}; }
  DType dtype() const override { return DType::u8; }
  std::int32_t label(std::int64_t i) const override { return labels_[static_cast<std::size_t>(i)]; }
  const std::vector<std::string>& class_names() const override { return names_; }
  void read(std::int64_t, const PhiloxBlock&, void* out) const override { *static_cast<std::uint8_t*>(out) = 0; }

 private:
  std::vector<std::int32_t> labels_;
  std::vector<std::string> names_;
};

std::vector<std::int64_t> counts(const std::vector<std::int64_t>& labels, std::size_t classes) {
  std::vector<std::int64_t> n(classes, 0);
  for (const std::int64_t l : labels) ++n.at(static_cast<std::size_t>(l));
  return n;
}

std::vector<std::int64_t> chosen_counts(const SampleSource& source, std::int64_t n) {
  std::vector<std::int64_t> labels;
  for (const std::int64_t row : balanced_rows(source, n)) labels.push_back(source.label(row));
  return counts(labels, source.class_names().size());
}

}  // namespace

TEST_CASE("every column of a score survives writing to a cell and reading back") {
  std::set<std::string> names;
  for (const ScoreColumn& column : score_columns()) {
    CHECK(names.insert(column.name).second);
    Score score;
    CHECK(score_cell(score, column).empty());
    CHECK(shown_cell(score, column) == "-");
    CHECK(std::isnan(score_number(score, column)));
    const std::string text = std::holds_alternative<std::int64_t Score::*>(column.member) ? "17" : "0.30000000000000004";
    set_score_cell(score, column, text);
    CHECK(score_cell(score, column) == text);
    if (std::holds_alternative<std::string Score::*>(column.member)) continue;
    CHECK(near(score_number(score, column), std::stod(text), 1e-16));
    CHECK_THROWS_WITH_AS(set_score_cell(score, column, "1x"), doctest::Contains(column.name), FileError);
  }
}

TEST_CASE("CSV cells keep commas, quotes and line breaks") {
  const std::vector<std::string> cells{"a", "", "folder:x?size=8,channels=1", "say \"so\"", "two\nlines", ""};
  const CsvRows rows = parse_csv("h\r\n\n" + csv_line(cells) + "last,row");
  REQUIRE(rows.size() == 3);
  CHECK(rows[0] == std::vector<std::string>{"h"});
  CHECK(rows[1] == cells);
  CHECK(rows[2] == std::vector<std::string>{"last", "row"});
  CHECK(parse_csv("\"\"\n") == CsvRows{{""}});
  CHECK_THROWS_AS(parse_csv("a,\"b"), FileError);
}

TEST_CASE("adding to scores.csv keeps its rows, and the columns of older programs and of users") {
  TempFolder folder;
  const auto csv = folder / "scores.csv";
  CHECK(read_scores(csv).empty());
  // The format of earlier programs, with a column that a user added.
  write_atomically(csv,
                   "name,calls,frechet,precision,recall,accuracy,psnr,ms_per_image,note\nmfd,1,67.3,0.8,0.1,0.9,0,0.6,\"good, I think\"\n");
  std::vector<Score> seen;
  Score added = score_of("mfd", 1, 0.1 + 0.2);
  added.data = "folder:x?size=8,channels=1";
  added.by_class = {{"cat", 10, 9}, {"dog", 0, 0}};
  add_scores(csv, {added}, [&](const std::vector<Score>& all) { seen = all; });
  REQUIRE(seen.size() == 2);
  const std::vector<Score> all = read_scores(csv);
  REQUIRE(all.size() == 2);
  CHECK(all[0].metric("frechet") == 67.3);
  CHECK(std::isnan(all[0].psnr));  // earlier programs wrote 0 for no PSNR
  CHECK(all[0].samples == -1);
  CHECK(all[1].metric("frechet") == 0.1 + 0.2);
  CHECK(all[1].data == added.data);
  const CsvRows rows = parse_csv(read_file(csv));
  CHECK(std::vector<std::string>(rows[1].begin(), rows[1].begin() + 9) ==
        std::vector<std::string>{"mfd", "1", "67.3", "0.8", "0.1", "0.9", "0", "0.6", "good, I think"});
  CHECK(rows[0].size() == rows[2].size());
  CHECK(by_class_file(csv).filename() == "scores-by-class.csv");
  const CsvRows classes = parse_csv(read_file(by_class_file(csv)));
  REQUIRE(classes.size() == 3);
  CHECK(std::vector<std::string>(classes[1].end() - 5, classes[1].end()) == std::vector<std::string>{"0", "cat", "10", "9", "0.9"});
  CHECK(std::vector<std::string>(classes[2].end() - 5, classes[2].end()) == std::vector<std::string>{"1", "dog", "0", "0", ""});

  write_atomically(csv, "step,loss\n1,2\n");
  CHECK_THROWS_WITH_AS(read_scores(csv), doctest::Contains("no table of scores"), FileError);
  CHECK_THROWS_AS(add_scores(csv, {added}), FileError);
  CHECK(read_file(csv) == "step,loss\n1,2\n");
  write_atomically(csv, "name,calls\nmfd,one\n");
  CHECK_THROWS_WITH_AS(read_scores(csv), doctest::Contains("row 1: calls 'one'"), FileError);
}

TEST_CASE("concurrent writers of one table lose no row") {
  TempFolder folder;
  const auto csv = folder / "scores.csv";
  constexpr int writers = 4, each = 8;
  std::vector<std::thread> threads;
  for (int w = 0; w < writers; ++w)
    threads.emplace_back([&, w] {
      for (int i = 0; i < each; ++i) add_scores(csv, {score_of("w" + std::to_string(w), i, 1)});
    });
  for (std::thread& t : threads) t.join();
  std::map<std::string, std::int64_t> next;
  for (const Score& s : read_scores(csv)) CHECK(s.calls == next[s.name]++);
  CHECK(next.size() == writers);
  for (const auto& [name, n] : next) CHECK(n == each);
}

TEST_CASE("a report shows, of equal evaluations, the newest score of the newest weights") {
  Score old = score_of("mfd", 1, 9, -1, "");  // a score of an older program
  Score other_images = score_of("mfd", 1, 5, 80, "b");
  other_images.reference_id = "before";
  const std::vector<Score> all{old,
                               score_of("teacher", 98, 7),
                               score_of("mfd", 1, 8, 40, "a"),
                               other_images,
                               score_of("mfd", 2, 6, 40, "b"),
                               score_of("mfd", 1, 4, 40, "b"),
                               score_of("mfd", 1, 3, 80, "b"),
                               score_of("mfd", 1, 2, 40, "b")};
  const std::vector<Score> shown = newest_scores(all);
  std::vector<double> frechet;
  for (const Score& s : shown) frechet.push_back(s.metric("frechet"));
  CHECK(frechet == std::vector<double>{2, 3, 6, 7});
  CHECK(shown[0].name == "mfd");
  const std::vector<Score> before = newest_scores({score_of("cmt", 1, 1, -1, ""), score_of("cmt", 1, 2, -1, "")});
  REQUIRE(before.size() == 1);
  CHECK(before[0].metric("frechet") == 2);
}

TEST_CASE("a report shows scores in several kinds of features; a judge that was trained again makes its old scores old") {
  const auto in = [](const std::string& features, const std::string& fingerprint, double frechet, const std::string& checkpoint = "a") {
    Score s = score_of("mfd", 1, frechet, 40, checkpoint);
    s.features = features, s.judge = fingerprint, s.reference_id = features + fingerprint;
    return s;
  };
  const auto shown = [](const std::vector<Score>& all) {
    std::vector<double> out;
    for (const Score& s : newest_scores(all)) out.push_back(s.metric("frechet"));
    return out;
  };
  CHECK(shown({in("judge", "x", 1), in("inception tf1", "y", 2), in("inception clean", "y", 3)}) == std::vector<double>{1, 2, 3});
  CHECK(shown({in("judge", "x", 1), in("inception tf1", "y", 2), in("judge", "z", 4)}) == std::vector<double>{2, 4});
  Score smaller = in("judge", "z", 4);                                                    // another reference: not the same question
  smaller.reference = 24;
  CHECK(shown({in("judge", "x", 1), in("inception tf1", "y", 2), smaller}) == std::vector<double>{2, 4});
  smaller.judge = "x";
  CHECK(shown({in("judge", "x", 1), in("inception tf1", "y", 2), smaller}) == std::vector<double>{1, 2, 4});
  CHECK(shown({in("", "x", 1), in("judge", "x", 2)}) == std::vector<double>{2});          // a row of an older program
  CHECK(shown({in("judge", "x", 1), in("inception tf1", "y", 2), in("inception tf1", "y", 3, "b")}) == std::vector<double>{3});
}

TEST_CASE("scores by class belong to one score, and a report has a column for each class") {
  TempFolder folder;
  const auto csv = folder / "scores.csv";
  Score first = score_of("mfd", 1, 5), again = score_of("mfd", 1, 4, 40, "b"), without = score_of("teacher", 98, 3), decoder = score_of("reconstruction", -1, 2);
  first.by_class = {{"cat", 10, 9}, {"dog, big", 8, 2}}, again.by_class = {{"cat", 10, 1}, {"dog, big", 0, 0}}, decoder.by_class = {{"cat", 3, 3}};
  first.date = "2026-01-01T00:00:00Z", again.date = without.date = decoder.date = "2026-01-02T00:00:00Z";
  add_scores(csv, {first, again, without, decoder});
  std::vector<Score> scores = read_scores(csv);
  CHECK(scores[0].by_class.empty());
  read_classes(csv, scores);
  REQUIRE(scores[0].by_class.size() == 2);
  CHECK(scores[0].by_class[1].name == "dog, big");
  CHECK(scores[0].by_class[1].samples == 8);
  CHECK(scores[0].by_class[1].right == 2);
  CHECK(scores[1].by_class[0].right == 1);
  CHECK(scores[2].by_class.empty());
  CHECK(scores[3].by_class.size() == 1);
  const std::string text = read_file(by_class_file(csv));
  write_atomically(by_class_file(csv), text.substr(0, text.size() - 1));          // the last line of a file may lack its end
  decoder.date = "2026-01-03T00:00:00Z";
  add_scores(csv, {decoder});
  CHECK(parse_csv(read_file(by_class_file(csv))).size() == parse_csv(text).size() + 1);
  HtmlReport page("");
  add_class_scores(page, scores);
  CHECK(has(page.section(), "<th>class</th><th class=\"number\">mfd, 1 call</th><th class=\"number\">mfd, 1 call</th><th class=\"number\">reconstruction</th>"));
  CHECK(has(page.section(), "<td>cat</td><td class=\"number\">90.0 %</td><td class=\"number\">10.0 %</td><td class=\"number\">100.0 %</td>"));
  HtmlReport many("");
  Score wide = score_of("mfd", 2, 1);
  for (int i = 0; i < 50; ++i) wide.by_class.push_back({"c" + std::to_string(i), 100, (i * 37) % 50});
  add_class_scores(many, {wide}), add_class_scores(many, {without});
  CHECK(has(many.section(), "The 20 of 50 classes with the lowest accuracy"));
  CHECK(count(many.section(), "<tr><td>") == 20);
  CHECK(has(many.section(), "<td>c0</td><td class=\"number\">0.0 %</td>"));
  CHECK_FALSE(has(many.section(), "20.0 %"));
  write_atomically(by_class_file(csv), "name,calls,checkpoint,date,class,class_name,samples,right\nmfd,1,a,2026-01-01T00:00:00Z,0,cat,ten,1\n");
  CHECK_THROWS_AS(read_classes(csv, scores), FileError);
  write_atomically(by_class_file(csv), "name,calls\nmfd,1\n");
  CHECK_THROWS_AS(read_classes(csv, scores), FileError);
  read_classes(folder / "none.csv", scores);
}

TEST_CASE("balanced labels have equally many of each class; the key selects the classes of the remainder") {
  for (const std::int64_t n : {10, 40, 41, 43, 160}) {
    CAPTURE(n);
    const auto c = counts(balanced_labels(n, 4, 1), 4);
    CHECK(*std::max_element(c.begin(), c.end()) - *std::min_element(c.begin(), c.end()) <= 1);
    CHECK(balanced_labels(n, 4, 1) == balanced_labels(n, 4, 1));
  }
  // 30 samples of 1000 classes do not have the labels 0 to 29.
  const auto few = balanced_labels(30, 1000, 1);
  CHECK(std::set<std::int64_t>(few.begin(), few.end()).size() == 30);
  CHECK(*std::max_element(few.begin(), few.end()) > 500);
  CHECK(few != balanced_labels(30, 1000, 2));
}

TEST_CASE("a reference is the whole split, or equally many samples of each class for any order of the files") {
  const LabelsAlone source({50, 30, 8, 100});
  CHECK(chosen_counts(source, 0) == std::vector<std::int64_t>{50, 30, 8, 100});
  CHECK(chosen_counts(source, 1000) == std::vector<std::int64_t>{50, 30, 8, 100});
  CHECK(chosen_counts(source, 20) == std::vector<std::int64_t>{5, 5, 5, 5});
  CHECK(chosen_counts(source, 38) == std::vector<std::int64_t>{10, 10, 8, 10});  // the third class has only 8 samples
  CHECK(chosen_counts(source, 158) == std::vector<std::int64_t>{50, 30, 8, 70});
  auto one_more = chosen_counts(source, 22);
  std::sort(one_more.begin(), one_more.end());
  CHECK(one_more == std::vector<std::int64_t>{5, 5, 6, 6});
  const auto rows = balanced_rows(source, 20), more = balanced_rows(source, 24);
  CHECK(std::is_sorted(rows.begin(), rows.end()));
  CHECK(std::set<std::int64_t>(rows.begin(), rows.end()).size() == 20);
  CHECK(std::includes(more.begin(), more.end(), rows.begin(), rows.end()));
  CHECK(rows[4] != 4);  // the rows are not the first ones of a class
  const LabelsAlone gap({4, 0, 4});
  CHECK(chosen_counts(gap, 4) == std::vector<std::int64_t>{2, 0, 2});
}

TEST_CASE("randomly chosen rows of a reference have the class shares of the reference") {
  const LabelsAlone source({600, 300, 100});
  const auto all = balanced_rows(source, 0), some = drawn_rows(all, 200);
  CHECK(drawn_rows(all, 1000) == all);
  CHECK(std::set<std::int64_t>(some.begin(), some.end()).size() == 200);
  CHECK(std::is_sorted(some.begin(), some.end()));
  std::vector<std::int64_t> labels;
  for (const std::int64_t row : some) labels.push_back(source.label(row));
  const auto n = counts(labels, 3);
  const std::vector<double> wanted{120, 60, 20};
  for (std::size_t c = 0; c < 3; ++c) {  // within 3 standard deviations of a binomial distribution
    const double p = wanted[c] / 200;
    CHECK(std::abs(static_cast<double>(n[c]) - wanted[c]) < 3 * std::sqrt(200 * p * (1 - p)));
  }
  CHECK(drawn_rows({7, 9, 30}, 2).size() == 2);
}

TEST_CASE("samples that are not finite are refused with their number before conversion to images") {
  RaeConfig c;
  c.encoder.patch_size = 4, c.encoder.width = 8, c.encoder.depth = 1, c.encoder.heads = 2, c.encoder.mlp_width = 8;
  c.encoder.image_size = 8, c.encoder.channels = c.decoder.image_channels = 1;
  c.decoder.width = 8, c.decoder.depth = 1, c.decoder.heads = 2, c.decoder.mlp_width = 8;
  c.decoder.latent_channels = 8, c.decoder.latent_size = 2, c.decoder.patch_size = 4;
  const auto rae = std::make_shared<Rae>(c, 1);
  const LatentSpace space = rae_space(rae, {Tensor::zeros({8, 2, 2}), Tensor::ones({8, 2, 2})});
  const std::vector<std::int64_t> labels(7, 0);
  const Samples samples = consecutive(100, 7);
  std::int64_t calls = 0;
  const LatentGenerator third_batch = [&](const Tensor& noise, const Labels&) {
    const Tensor z = noise.clone();
    if (++calls == 3) z.data<float>()[z.numel() / 2] = std::nanf("");  // the first value of the second of two rows
    return z;
  };
  std::vector<std::int64_t> taken;
  const auto take = [&](std::int64_t first, const Tensor& images) {
    for (std::int64_t i = 0; i < images.dim(0); ++i) taken.push_back(first + i);
  };
  CHECK_THROWS_WITH_AS(generate_batches(space, third_batch, samples, labels, 1, 2, take),
                       doctest::Contains("latents of sample 105 are not finite"), SamplesNotFinite);
  CHECK(taken == std::vector<std::int64_t>{0, 1, 2, 3});
  for_each_parameter(rae->decoder, [](const std::string&, Parameter& p) {
    if (p.value.defined()) p.value.copy_from(Tensor::full(p.value.shape(), std::nan("")));
  });
  const LatentGenerator noise_itself = [](const Tensor& noise, const Labels&) { return noise; };
  CHECK_THROWS_WITH_AS(generate_images(space, noise_itself, samples, labels, 1, 4), doctest::Contains("pixels of sample 100"),
                       SamplesNotFinite);
  const Tensor images = Tensor::zeros({3, 1, 2, 2});
  CHECK(to_images(images).size() == 3);
  images.data<float>()[9] = INFINITY;
  CHECK_THROWS_WITH_AS(to_images(images), doctest::Contains("sample 2"), SamplesNotFinite);
}

TEST_CASE("check_evaluation refuses a test split, a reference or samples too small for k") {
  EvaluateConfig c;
  check_evaluation(c, 4);
  CHECK_THROWS_WITH_AS(check_evaluation(c, 1), doctest::Contains("has 1 image;"), ConfigError);
  CHECK_THROWS_WITH_AS(check_evaluation(c, 3), doctest::Contains("3 images"), ConfigError);
  c.reference = 3;
  CHECK_THROWS_WITH_AS(check_evaluation(c, 100), doctest::Contains("evaluate.reference takes 3"), ConfigError);
  c = {.samples = 10, .k = 10};
  CHECK_THROWS_WITH_AS(check_evaluation(c, 100), doctest::Contains("evaluate.samples 10"), ConfigError);
}
