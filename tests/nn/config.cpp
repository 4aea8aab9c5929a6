// The config idiom: listing, text to value and back, rules, suggestions, JSON.
#include <doctest/doctest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "nn/config/json.h"
#include "nn/config/visit.h"
#include "tensor/error.h"

using namespace fm;
using doctest::Contains;

namespace {

struct Patch {
  int64_t size = 2;
  template <class V>
  void visit(V&& v) {
    v("size", size, "patch side", range(1, 64), unit("pixels"));
  }
};

struct Model {
  int64_t dim = 384;
  std::string norm = "rms";
  Patch patch;
  std::vector<int64_t> widths{1, 2};
  template <class V>
  void visit(V&& v) {
    v("dim", dim, "width", range(1, 1e6));
    v("norm", norm, "normalisation", one_of({"rms", "layer"}));
    v("patch", patch, "patches");
    v("widths", widths, "widths", at_least(1));
  }
};

struct Config {
  int64_t steps = 2000;
  double lr = 1e-4;
  bool fast = false;
  std::string data = "fashion-mnist";
  std::vector<double> betas{0.9, 0.95};
  std::vector<std::string> log{"csv"};
  Model model;
  template <class V>
  void visit(V&& v) {
    v("steps", steps, "optimizer steps", range(0, 1e9));
    v("lr", lr, "learning rate", above(0), flag("lr"));
    v("fast", fast, "faster");
    v("data", data, "what to learn");
    v("model", model, "the network");
    v("betas", betas, "decay rates", range(0, 1));
    v("log", log, "outputs", one_of({"csv", "jsonl"}));
  }
};

const Field& field(const std::vector<Field>& fields, const char* path) { return find_field(fields, path, "test"); }

}  // namespace

TEST_CASE("fields are listed with dotted paths, help and rules") {
  Config config;
  const auto fields = list_fields(config);
  REQUIRE(fields.size() == 10);
  const Field& size = field(fields, "model.patch.size");
  CHECK(size.group() == "model.patch");
  CHECK(size.leaf() == "size");
  CHECK(size.group_help == "patches");
  CHECK(size.rule.unit == "pixels");
  CHECK(rule_text(size) == "1 to 64");
  CHECK(rule_text(field(fields, "lr")) == "> 0");
  CHECK(rule_text(field(fields, "model.norm")) == "rms|layer");
  CHECK(field(fields, "lr").rule.flag == "lr");
}

TEST_CASE("text becomes a value of the field's type") {
  Config config;
  const auto fields = list_fields(config);
  const auto set = [&](const char* path, const char* text) { set_from_text(field(fields, path), text, "test"); };
  set("steps", "10k");
  CHECK(config.steps == 10000);
  set("steps", "128Ki");
  CHECK(config.steps == 131072);
  set("steps", "1.5M");
  CHECK(config.steps == 1500000);
  set("steps", "2e3");
  CHECK(config.steps == 2000);
  set("lr", "3e-4");
  CHECK(config.lr == 3e-4);
  set("fast", "yes");
  CHECK(config.fast);
  set("model.widths", "4, 8k");
  CHECK(config.model.widths == std::vector<int64_t>{4, 8000});
  set("betas", "[0.5]");
  CHECK(config.betas == std::vector<double>{0.5});
  set("log", "");
  CHECK(config.log.empty());
}

TEST_CASE("what does not fit is refused with the key, the value and the rule") {
  Config config;
  const auto fields = list_fields(config);
  const auto set = [&](const char* path, const char* text) { set_from_text(field(fields, path), text, "here"); };
  CHECK_THROWS_WITH_AS(set("steps", "many"), "here: steps takes an integer, not 'many'", ConfigError);
  for (const char* text : {"", "1.5", "10q", "1e30", "nan", "inf", "k"}) CHECK_THROWS_AS(set("steps", text), ConfigError);
  for (const char* text : {"", "1e-4x", "nan"}) CHECK_THROWS_AS(set("lr", text), ConfigError);
  CHECK_THROWS_WITH_AS(set("lr", "0"), "here: lr = 0 is out of range (> 0)", ConfigError);
  CHECK_THROWS_WITH_AS(set("model.patch.size", "65"), Contains("1 to 64"), ConfigError);
  CHECK_THROWS_WITH_AS(set("betas", "0.9,1.5"), Contains("betas = 1.5"), ConfigError);
  CHECK_THROWS_WITH_AS(set("model.norm", "layr"), Contains("did you mean 'layer'?"), ConfigError);
  CHECK_THROWS_AS(set("log", "csv,xml"), ConfigError);
}

TEST_CASE("an unknown key names the nearest one") {
  Config config;
  const auto fields = list_fields(config);
  CHECK_THROWS_WITH_AS(find_field(fields, "stpes", "a.toml:3"), "a.toml:3: unknown key 'stpes'; did you mean 'steps'?", ConfigError);
  CHECK_THROWS_WITH_AS(find_field(fields, "model.nrom", "x"), Contains("'model.norm'"), ConfigError);
  CHECK_THROWS_WITH_AS(find_field(fields, "dim", "x"), Contains("'model.dim'"), ConfigError);
  CHECK_THROWS_WITH_AS(find_field(fields, "quaternion", "x"), Contains("--help"), ConfigError);
}

TEST_CASE("text keeps every bit") {
  Config config, copy;
  config.lr = 0.1 + 0.2;
  config.betas = {1.0 / 3, 0};
  const auto from = list_fields(config), to = list_fields(copy);
  for (size_t i = 0; i < from.size(); ++i) set_from_text(to[i], to_text(from[i]), "test");
  CHECK(copy.lr == config.lr);
  CHECK(copy.betas == config.betas);
}

TEST_CASE("JSON: nested objects, every bit of a number, infinity as a word") {
  Config config;
  config.lr = 0.1 + 0.2;
  config.steps = (int64_t(1) << 53) + 1;
  config.betas = {1.0 / 3, INFINITY};
  config.data = "a \"quoted\" name";
  config.model.dim = 8;
  const auto json = nlohmann::json::parse(fields_to_json(list_fields(config)).dump());
  CHECK(json["lr"].get<double>() == config.lr);
  CHECK(json["steps"].get<int64_t>() == config.steps);
  CHECK(json["betas"][0].get<double>() == 1.0 / 3);
  CHECK(json["betas"][1] == "inf");
  CHECK(json["data"] == config.data);
  CHECK(json["model"]["dim"] == 8);
  CHECK(json["model"]["patch"]["size"] == 2);
  CHECK(json["model"]["widths"] == std::vector<int64_t>{1, 2});
}
