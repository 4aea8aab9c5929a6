// `flowmap_train compare`: the contents of its page, the names and groups of trainings, and errors.
#include "data/report/csv.h"
#include "tests/apps/tiny_run.h"
#include "tests/support/markup.h"
#include "tests/support/text.h"

using namespace fm;
using namespace fm::test;

namespace {

// Writes the folder of a training, with these metrics and this config.
void write_training(const fs::path& folder, const std::string& metrics, const std::string& config) {
  fs::create_directories(folder);
  write_atomically(folder / "metrics.csv", metrics);
  write_atomically(folder / "config.toml", config);
}

Result compare(const std::vector<fs::path>& folders, const fs::path& page) {
  Arguments arguments{"compare", "--out", page.string()};
  for (const fs::path& folder : folders) arguments.push_back(folder.string());
  return run_program_file(own_folder().parent_path() / "apps/flowmap_train", arguments);
}

std::string page_of(const std::vector<fs::path>& folders) {
  const TempFolder folder;
  const Result result = compare(folders, folder / "page.html");
  succeeds(result);
  CHECK(has(result.err, (folder / "page.html").string()));
  const std::string page = read_file(folder / "page.html");
  CHECK(is_balanced(page));
  return page;
}

}  // namespace

TEST_CASE("compare shows two runs with the curves of each stage in one plot, samples, scores, and only the settings that differ") {
  const TempFolder folder;
  const fs::path other = folder / "other";
  fs::copy(finished_run(), other, fs::copy_options::recursive | fs::copy_options::copy_symlinks);
  for (const char* stage : {"judge", "encoder", "decoder", "fm", "cmt", "mfd", "mft"}) {
    std::string config = read_file(other / stage / "config.toml");
    const std::size_t at = config.find("\nseed = 1");
    REQUIRE(at != std::string::npos);
    write_atomically(other / stage / "config.toml", config.replace(at, 9, "\nseed = 7"));
  }
  const std::string page = page_of({finished_run(), other});
  for (const char* part : {"<h2>Samples</h2>", "<h2>Scores</h2>", "<h2>Settings that differ</h2>", "<h3>fm</h3>", "<h3>mft</h3>", "<td>seed</td><td class=\"number\">1</td><td class=\"number\">7</td>"})
    CHECK_MESSAGE(has(page, part), part);
  CHECK(count(page, "data:image/png") == 2);
  const std::size_t settings = page.find("Settings that differ"), end = page.find("</table>", settings);
  CHECK(count(page.substr(settings, end - settings), "<tr>") == 2);           // two rows: the heading and the seed
  const std::string scores = page.substr(page.find("<h2>Scores</h2>"), settings - page.find("<h2>Scores</h2>"));
  CHECK(count(scores, "<td data-key=\"mft\">") == 4);                          // two runs, each with one and two calls
}

TEST_CASE("compare puts stages and variants into the same plots, with one curve per seed of a variant") {
  const TempFolder folder;
  write_training(folder / "a/mfd", "step,time,loss,only\n1,0,5,1\n2,1,4,2\n", "x = 1\n");
  write_training(folder / "a/ablate/objective/lsd/seed-1-0123456789abcdef", "step,time,loss\n1,0,3\n2,1,2\n", "x = 1\ny = 2\n");
  write_training(folder / "a/ablate/objective/lsd/seed-2-0123456789abcdef", "step,time,loss\n1,0,2\n2,1,1\n", "x = 1\ny = 2\n");
  const std::string page = page_of({folder / "a/mfd", folder / "a/ablate/objective/lsd"});
  for (const char* part : {">mfd: 2, 4</title>", ">ablate/objective/lsd, seed 1: 2, 2</title>", ">ablate/objective/lsd, seed 2: 2, 1</title>", ">mfd: 2, 2</title>"})
    CHECK_MESSAGE(has(page, part), part);
  CHECK(count(page, "<svg class=\"plot\"") == 2);
  CHECK(has(page, "<td>y</td><td>-</td><td class=\"number\">2</td>") != has(page, "<td>y</td><td class=\"number\">-</td><td class=\"number\">2</td>"));
  CHECK_FALSE(has(page, "<td>x</td>"));
  CHECK(has(page, "None of the trainings has scores: the program evaluate computes them."));
}

TEST_CASE("compare takes a variant's scores from the ablation's row of its folder, and a stage's from the rows of that stage") {
  const TempFolder folder;
  const std::string metrics = "step,time,loss\n1,0,3\n2,1,2\n";
  write_training(folder / "a/mfd", metrics, "");
  write_training(folder / "a/ablate/objective/lsd/seed-1-aa", metrics, "");
  write_atomically(folder / "a/scores.csv", "name,calls,frechet,stage\nmfd,1,11.5,mfd\nteacher,98,22.5,fm\n");
  write_atomically(folder / "a/ablate/objective/trials.csv",
                   "variant,folder,name,calls,frechet\nlsd,ablate/objective/lsd/seed-1-aa,lsd,1,33.5\nct,ablate/objective/ct/seed-1-bb,ct,1,44.5\n");
  const std::string page = page_of({folder / "a/mfd", folder / "a/ablate/objective/lsd"});
  for (const char* there : {">11.500<", ">33.500<"}) CHECK_MESSAGE(has(page, there), there);
  for (const char* absent : {">22.500<", ">44.500<"}) CHECK_MESSAGE(!has(page, absent), absent);
}

TEST_CASE("compare warns about scores with different references or different numbers of samples") {
  const auto page = [](const std::string& data, const std::string& id, const std::string& samples) {
    const TempFolder folder;
    for (const char* name : {"a", "b"}) {
      const bool second = *name == 'b';
      write_training(folder / name / "mfd", "step,time,loss\n1,0,3\n2,1,2\n", "");
      write_atomically(folder / name / "scores.csv", "name,calls,frechet,stage,samples,data,reference,reference_id\nmfd,1,11.5,mfd," + (second ? samples : "500") + "," +
                                                       (second ? data : "shapes") + ",10000," + (second ? id : "41584600") + "\n");
    }
    return page_of({folder / "a/mfd", folder / "b/mfd"});
  };
  const std::string references = "These scores have 2 references", counts = "These scores are of different numbers of samples";
  const std::string equal = page("shapes", "41584600", "500");
  CHECK_FALSE(has(equal, references));
  CHECK_FALSE(has(equal, counts));
  CHECK(has(equal, ">shapes 41584600<"));
  CHECK(has(page("shapes", "0badcafe", "500"), references));          // another fingerprint, but the same number of test images
  CHECK(has(page("cifar-10", "41584600", "500"), references));
  CHECK(has(page("shapes", "41584600", "100"), counts));
}

TEST_CASE("compare refuses an unusable folder by name, suggests what to give instead, and writes no page") {
  const TempFolder folder;
  const std::string metrics = "step,time,loss\n1,0,3\n";
  write_training(folder / "a/mfd", metrics, "");
  write_training(folder / "b/mfd", metrics, "");
  fs::create_directories(folder / "empty");
  fs::create_directories(folder / "c/ablate/objective/lsd");
  write_atomically(folder / "c/ablate/objective/trials.csv", "variant\n");
  const fs::path page = folder / "page.html";
  refused(compare({}, page), exit_code::usage, "two folders or more, 0 are given");
  refused(compare({folder / "a"}, page), exit_code::usage, "two folders or more, 1 is given");
  refused(compare({folder / "a", folder / "none"}, page), exit_code::unreadable, (folder / "none").string() + ": there is no such folder; name the --out folder of a run");
  refused(compare({folder / "a", folder / "empty"}, page), exit_code::unreadable, (folder / "empty").string() + " is no run, no stage and no variant");
  refused(compare({folder / "a", folder / "c/ablate/objective"}, page), exit_code::unreadable, "is a whole ablation: name its variants: " + (folder / "c/ablate/objective/lsd").string());
  refused(compare({folder / "a", folder / "b", folder / "b/../a/"}, page), exit_code::usage, "are one folder: give each once");
  refused(compare({folder / "a", folder / "b"}, folder / "empty"), exit_code::usage, "is a folder; name the page");
  refused(compare({folder / "a", folder / "b"}, folder / "page.txt"), exit_code::usage, "must end in .html");
  for (int i = 0; i < 17; ++i) write_training(folder / "many" / std::to_string(i), metrics, "");
  std::vector<fs::path> many;
  for (int i = 0; i < 17; ++i) many.push_back(folder / "many" / std::to_string(i));
  refused(compare(many, page), exit_code::usage, "17 trainings are too many");
  CHECK_FALSE(fs::exists(page));
  many.pop_back();
  succeeds(compare(many, page));
}
