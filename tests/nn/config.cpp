// Configs: lists of fields, conversion of values from and to text, rules, suggestions, JSON.
#include <doctest/doctest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "nn/config/json.h"
#include "nn/config/visit.h"
#include "nn/models/dit_dh.h"
#include "nn/models/judge.h"
#include "nn/models/rae.h"
#include "tensor/error.h"
#include "tests/support/error_of.h"
#include "tests/support/mentions.h"

using namespace fm;
using doctest::Contains;

namespace {

struct Inner {
  int64_t heads = 3, width = 8;
  template <class V> void visit(V&& v) {
    v("heads", heads, "heads", range(1, 64), divides(width, "width"));
    v("width", width, "width", range(1, 64));
  }
};
struct Outer {
  Inner model;
  template <class V> void visit(V&& v) { v("model", model, "a model"); }
};

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
    v("widths", widths, "widths", range(1, 1e6));
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

TEST_CASE("values that do not fit are refused with the key, the value and the rule") {
  Config config;
  const auto fields = list_fields(config);
  const auto set = [&](const char* path, const char* text) { set_from_text(field(fields, path), text, "here"); };
  CHECK(test::mentions(test::error_of<ConfigError>([&] { set("steps", "many"); }), {"here", "integer", "'many'"}));
  for (const char* text : {"", "1.5", "10q", "1e30", "nan", "inf", "k"}) CHECK_THROWS_AS(set("steps", text), ConfigError);
  for (const char* text : {"", "1e-4x", "nan"}) CHECK_THROWS_AS(set("lr", text), ConfigError);
  CHECK(test::mentions(test::error_of<ConfigError>([&] { set("lr", "0"); }), {"here", "lr = 0", "> 0"}));
  CHECK_THROWS_WITH_AS(set("model.patch.size", "65"), Contains("1 to 64"), ConfigError);
  CHECK_THROWS_WITH_AS(set("betas", "0.9,1.5"), Contains("betas = 1.5"), ConfigError);
  CHECK_THROWS_WITH_AS(set("model.norm", "layr"), Contains("did you mean 'layer'?"), ConfigError);
  CHECK_THROWS_AS(set("log", "csv,xml"), ConfigError);
}

TEST_CASE("a divisibility rule is shown with the field's range, and is checked when all fields are set") {
  Outer config;
  const auto fields = list_fields(config);
  CHECK(rule_text(field(fields, "model.heads")) == "1 to 64, divides width");
  CHECK_NOTHROW(check_rules(fields, "here"));
  CHECK(test::mentions(test::error_of<ConfigError>([&] { check_relations(fields, "here"); }), {"here", "model.heads = 3", "model.width = 8"}));
  CHECK(test::mentions(test::error_of<ConfigError>([&] { checked_config(config.model, "Model"); }), {"Model", "heads = 3", "width = 8"}));
  set_from_text(field(fields, "model.heads"), "5", "here");                  // set before the width that it must divide
  set_from_text(field(fields, "model.width"), "10", "here");
  CHECK(checked_config(config, "here").model.width == 10);
}

TEST_CASE("a model config with sizes that do not fit is one error, before anything is allocated") {
  const auto dit = [](auto change) {
    DitDhConfig c;
    change(c);
    DitDh model(c);
  };
  CHECK(test::mentions(test::error_of<ConfigError>([&] { dit([](auto& c) { c.heads = 0; }); }), {"DitDh", "heads = 0", "(1", "1024"}));
  CHECK(test::mentions(test::error_of<ConfigError>([&] { dit([](auto& c) { c.head_heads = 3; }); }), {"DitDh", "head_heads = 3", "head_width = 2048"}));
  CHECK(test::mentions(test::error_of<ConfigError>([&] { dit([](auto& c) { c.patch_size = 0; }); }), {"DitDh", "patch_size = 0", "(1", "4096", "input_size)"}));
  CHECK(test::mentions(test::error_of<ConfigError>([&] { dit([](auto& c) { c.patch_size = 3; }); }), {"DitDh", "patch_size = 3", "input_size = 16"}));
  CHECK(test::mentions(test::error_of<ConfigError>([&] { dit([](auto& c) { c.width = -4; }); }), {"DitDh", "width = -4", "1 to 65536"}));
  CHECK(test::mentions(test::error_of<ConfigError>([&] { dit([](auto& c) { c.heads = 64; }); }), {"DitDh", "width / heads = 18", "multiple of 4", "rope"}));
  CHECK(test::mentions(test::error_of<ConfigError>([&] { dit([](auto& c) { c.width = 18, c.heads = 1, c.rope = false; }); }), {"DitDh", "width = 18", "multiple of 4", "position_embed"}));
  CHECK_THROWS_WITH_AS(dit([](auto& c) { c.head_depth = 0; }), Contains("head_depth = 0"), ConfigError);
  CHECK_THROWS_WITH_AS(dit([](auto& c) { c.mlp_ratio = 0; }), Contains("mlp_ratio = 0"), ConfigError);
  CHECK(test::mentions(test::error_of<ConfigError>([&] { VitEncoder(VitEncoderConfig{.patch_size = 0}); }), {"VitEncoder", "patch_size = 0", "(1", "4096", "image_size)"}));
  CHECK(test::mentions(test::error_of<ConfigError>([&] { VitEncoder(VitEncoderConfig{.image_size = 500}); }), {"VitEncoder", "patch_size = 14", "image_size = 500"}));
  CHECK(test::mentions(test::error_of<ConfigError>([&] { VitEncoder(VitEncoderConfig{.heads = 0}); }), {"VitEncoder", "heads = 0", "1 to 1024"}));
  CHECK(test::mentions(test::error_of<ConfigError>([&] { RaeDecoder(RaeDecoderConfig{.latent_size = 0}); }), {"RaeDecoder", "latent_size = 0", "(1", "4096)"}));
  CHECK(test::mentions(test::error_of<ConfigError>([&] { RaeDecoder(RaeDecoderConfig{.width = 6, .heads = 2}); }), {"RaeDecoder", "width = 6", "multiple of 4"}));
  CHECK(test::mentions(test::error_of<ConfigError>([&] { Rae(RaeConfig{.image_std = {0}}); }), {"Rae", "image_std = 0", "(> 0)"}));
  CHECK(test::mentions(test::error_of<ConfigError>([&] { Rae(RaeConfig{.encoder = {.width = 384}}); }), {"Rae", "decoder.latent_channels = 768", "encoder.width = 384"}));
  CHECK_THROWS_WITH_AS(Judge(JudgeConfig{.size = 2}), Contains("size = 2 is out of range (4 to 4096)"), ConfigError);
}

TEST_CASE("the nearest word may have letters changed, added, left out or swapped with a neighbor, also the first two") {
  CHECK(nearest("ot", {"to"}) == "to");                            // a swap is one edit, less than the length of the word
  CHECK(nearest("abdc", {"abcd", "xydc"}) == "abcd");
  CHECK(nearest("badc", {"abcd", "zzzz"}) == "abcd");
  CHECK(nearest("seed", {"seeds", "sed"}) == "seeds");             // equally near: the first one
  CHECK(nearest("rates", {"rate"}) == "rate");
  CHECK(nearest("xyz", {"abc"}).empty());
  CHECK(nearest("ab", {"cd"}).empty());
  CHECK(nearest("abcdefghi", {"abcxxxghi"}) == "abcxxxghi");       // three edits: a third of the letters
  CHECK(nearest("abcdefghi", {"abxxxxghi"}).empty());
  CHECK(nearest("", {"a"}).empty());
  CHECK(nearest("word", {}).empty());
}

TEST_CASE("the error for an unknown key names the nearest key") {
  Config config;
  const auto fields = list_fields(config);
  CHECK(test::mentions(test::error_of<ConfigError>([&] { find_field(fields, "stpes", "a.toml:3"); }), {"a.toml:3", "'stpes'", "'steps'?"}));
  CHECK_THROWS_WITH_AS(find_field(fields, "model.nrom", "x"), Contains("'model.norm'"), ConfigError);
  CHECK_THROWS_WITH_AS(find_field(fields, "dim", "x"), Contains("'model.dim'"), ConfigError);
  CHECK_THROWS_WITH_AS(find_field(fields, "quaternion", "x"), Contains("--help"), ConfigError);
}

TEST_CASE("a value converted to text and back keeps every bit") {
  Config config, copy;
  config.lr = 0.1 + 0.2;
  config.betas = {1.0 / 3, 0};
  const auto from = list_fields(config), to = list_fields(copy);
  for (size_t i = 0; i < from.size(); ++i) set_from_text(to[i], to_text(from[i]), "test");
  CHECK(copy.lr == config.lr);
  CHECK(copy.betas == config.betas);
}

TEST_CASE("JSON has nested objects, every bit of a number, and infinity as a word") {
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
