// Names in place of the numbers of classes, and grids that are not wider than viewers display.
#include "data/class_names.h"

#include <doctest/doctest.h>

#include "data/dataset.h"
#include "data/font.h"
#include "data/grid.h"
#include "tensor/error.h"
#include "tensor/io/atomic_file.h"
#include "tests/support/temp_folder.h"
#include "tests/support/text.h"

using namespace fm;
using namespace fm::test;

namespace {

using Names = std::vector<std::string>;

std::string message_of(std::string_view text, const Names& names) {
  try {
    label_named(text, names, std::ssize(names));
  } catch (const ConfigError& e) {
    return e.what();
  }
  return {};
}

}  // namespace

TEST_CASE("ImageNet has 1000 classes in the order of their ids, and well-known classes have the usual labels") {
  const Names names = read_class_names("imagenet", 1000);
  REQUIRE(names.size() == 1000);
  CHECK(std::is_sorted(names.begin(), names.end()));
  for (const std::string& name : names) CHECK_MESSAGE((name.size() > 10 && name[0] == 'n' && name[9] == ' '), name);
  const std::pair<const char*, std::int64_t> known[] = {{"tench", 0},          {"goldfish", 1},     {"Great White Shark", 2}, {"golden retriever", 207},
                                                        {"n02099601", 207},    {"otter", 360},      {"red panda", 387},       {"giant panda", 388},
                                                        {"n15075141", 999},    {"toilet tissue", 999}, {"207", 207},          {"Tinca tinca", 0}};
  for (const auto& k : known) CHECK_MESSAGE(label_named(k.first, names, 1000) == k.second, k.first);
  CHECK(short_class_name(names[0]) == "tench");
  CHECK(message_of("crane", names) == "class 'crane' is the name of labels 134 and 517: give one of these numbers");
  CHECK(has(message_of("retriever", names), "no class has that name; there are 1000 classes, 0 to 999; similar names: "));
  CHECK(has(message_of("retriever", names), "golden retriever"));
  CHECK(message_of("1000", names) == "label 1000: there are 1000 classes, 0 to 999");
  CHECK(message_of("-1", names) == "label -1: there are 1000 classes, 0 to 999");
}

TEST_CASE("folders named by WordNet ids get their words; other names are unchanged") {
  CHECK(with_words({"n02099601", "n02444819"}) == Names{"n02099601 golden retriever", "n02444819 otter"});
  CHECK(with_words({"n02099601", "dog"}) == Names{"n02099601", "dog"});
  CHECK(with_words({"n99999999"}) == Names{"n99999999"});
  CHECK(short_class_name("n99999999") == "n99999999");
}

TEST_CASE("a number that is also the name of another class is refused as ambiguous") {
  const Names names{"0", "1", "10", "2"};                                  // names of folders in byte order
  CHECK(label_named("0", names, 4) == 0);
  CHECK(label_named("1", names, 4) == 1);
  CHECK(has(message_of("2", names), "the class named '2' has label 3, and label 2 is named '10': write name:2 or label:2"));
  CHECK(label_named("name:2", names, 4) == 3);
  CHECK(label_named("label:2", names, 4) == 2);
  CHECK(label_named("name:10", names, 4) == 2);
  CHECK(has(message_of("10", names), "label 10: there are 4 classes"));
  CHECK(label_named("3", {}, 5) == 3);
  CHECK_THROWS_WITH_AS(label_named("cat", {}, 5), doctest::Contains("no names are known: --class-names FILE gives them"), ConfigError);
}

TEST_CASE("a file of class names needs one line for each class") {
  TempFolder folder;
  const std::string file = (folder / "names.txt").string();
  write_atomically(file, "# fruit\napple, pomme\r\n\nberry\n");
  const Names names = read_class_names(file, 2);
  CHECK(names == Names{"apple, pomme", "berry"});
  CHECK(label_named("POMME", names, 2) == 0);
  CHECK_THROWS_WITH_AS(read_class_names(file, 3), doctest::Contains("2 lines, but there are 3 classes"), ConfigError);
  CHECK_THROWS_AS(read_class_names((folder / "none").string(), 2), FileError);
}

TEST_CASE("class names of a data set are known without reading its images") {
  CHECK(class_names_of("shapes?count=4294967296,size=1024").size() == 10);
  CHECK(class_names_of("fashion-mnist:/nowhere")[9] == "Ankle boot");
  CHECK_THROWS_AS(class_names_of("folder:/nowhere?size=8"), FileError);
  CHECK_THROWS_AS(class_names_of("mnist"), ConfigError);
}

TEST_CASE("a grid has as many columns as fit into 4096 pixels") {
  CHECK(fitting_columns(1000, 8, 2) == 204);          // columns of 20 pixels
  CHECK(fitting_columns(16, 256, 1) == 15);           // columns of 260 pixels
  CHECK(fitting_columns(16, 256, 1, 300) == 14);
  CHECK(fitting_columns(16, 8, 2, 0, 100) == 16);
  CHECK(fitting_columns(100, 8, 2, 0, 100) == 40);    // columns are as wide as the labels, 100 pixels
  CHECK(fitting_columns(3, 512, 1) == 3);
  CHECK(fitting_columns(3, 5000, 1) == 1);
  for (const int width : {8, 28, 64, 256, 512, 1024}) {
    const std::vector<Image> pictures(100, blank_image(width, 8, 1, 0));
    const int scale = width < 64 ? 2 : 1;
    CHECK(make_grid(pictures, {.columns = fitting_columns(100, width, scale), .scale = scale}).width <= max_grid_width);
  }
  CHECK(fitted_label("otter", 100) == "otter");
  const std::string cut = fitted_label("a name that is far too long", 60);
  CHECK(cut.ends_with(".."));
  CHECK(cut.starts_with("a nam"));
  CHECK(text_width(cut) + 4 <= 60);
  CHECK(text_width(cut) + 4 > 60 - glyph_pitch);
}
