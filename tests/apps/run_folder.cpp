// The run folder, checkpoints in it, TOML files and error texts.
#include "apps/run/run_folder.h"

#include <doctest/doctest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "apps/cli/toml.h"
#include "flowmap/training/move_aside.h"
#include "nn/checkpoint_folder.h"
#include "tensor/error.h"
#include "tensor/io/atomic_file.h"
#include "tests/support/temp_folder.h"

using namespace fm;
using doctest::Contains;
namespace fs = std::filesystem;

namespace {

struct Model {
  int64_t dim = 384;
  double dropout = 0;
  std::vector<int64_t> widths{1, 2};
  template <class V>
  void visit(V&& v) {
    v("dim", dim, "width", range(1, 1e6), unit("channels"));
    v("dropout", dropout, "share dropped", range(0, 1));
    v("widths", widths, "widths", range(1, 1e6));
  }
};
struct Config {
  Model model;
  int64_t steps = 2000;
  double lr = 1e-4;
  std::string data = "say \"hi\" \\ \n";
  std::vector<std::string> log{"csv"};
  template <class V>
  void visit(V&& v) {
    v("model", model, "the network");
    v("steps", steps, "optimizer steps", range(0, 1e9));
    v("lr", lr, "learning rate", above(0));
    v("data", data, "what to learn");
    v("log", log, "outputs");
  }
};

Config loaded(const char* text) {
  Config config;
  load_toml_text(list_fields(config), text, "a.toml");
  return config;
}

struct Quiet : Logger {
  Quiet() { set_level(Level::error); }
};

}  // namespace

TEST_CASE("TOML tables set nested structs, and written configs are read back unchanged") {
  const Config config = loaded("steps = 10_000\nlr = 1\n[model]\ndropout = 0.5\ndim = 8\nwidths = [3]\n");
  CHECK(config.steps == 10000);
  CHECK(config.lr == 1.0);
  CHECK(config.model.dim == 8);
  CHECK(config.model.dropout == 0.5);
  CHECK(config.model.widths == std::vector<int64_t>{3});
  Config from;
  from.lr = 0.1 + 0.2;
  from.model.dropout = 1;
  from.log.clear();
  const std::string text = to_toml(list_fields(from));
  const Config back = loaded(text.c_str());
  CHECK(back.lr == from.lr);
  CHECK(back.data == from.data);
  CHECK(back.log.empty());
  CHECK(back.model.dropout == 1.0);
  CHECK(text.find("[model]  # the network") != std::string::npos);
  CHECK(text.find("# width [channels] (1 to 1e6)") != std::string::npos);
}

TEST_CASE("TOML errors give file, line, key and remedy") {
  CHECK_THROWS_WITH_AS(loaded("steps = 1\nlerning_rate = 1\nlrr = 2"), Contains("a.toml:2: unknown key 'lerning_rate'"), ConfigError);
  CHECK_THROWS_WITH_AS(loaded("\nstpes = 2"), "a.toml:2: unknown key 'stpes'; did you mean 'steps'?", ConfigError);
  CHECK_THROWS_WITH_AS(loaded("[model]\ndmi = 2"), Contains("a.toml:2: unknown key 'model.dmi'; did you mean 'model.dim'?"), ConfigError);
  CHECK_THROWS_WITH_AS(loaded("steps = 1.5"), Contains("a.toml:1: steps takes an integer, not 1.5"), ConfigError);
  CHECK_THROWS_WITH_AS(loaded("steps = \"10k\""), Contains("in TOML write 10_000"), ConfigError);
  CHECK_THROWS_WITH_AS(loaded("lr = \"1e-4\""), Contains("lr takes a number"), ConfigError);
  CHECK_THROWS_WITH_AS(loaded("lr = 0"), Contains("out of range (> 0)"), ConfigError);
  CHECK_THROWS_WITH_AS(loaded("lr = = 0"), Contains("a.toml:1: "), ConfigError);
  CHECK_THROWS_WITH_AS(loaded("[steps]\nx = 0"), Contains("unknown key 'steps.x'"), ConfigError);
  Config config;
  CHECK_THROWS_WITH_AS(load_toml_file(list_fields(config), "/nowhere/a.toml"), Contains("--config: cannot read /nowhere/a.toml"),
                       ConfigError);
}

TEST_CASE("a run folder records its config and sessions, is opened again on resume, and refuses a second process") {
  TempFolder folder;
  Config config;
  const fs::path path = folder / "runs/a/";
  {
    Quiet log;
    RunFolder run(path, false, log);
    run.write_config(list_fields(config));
    run.begin_session({.command_line = {"flowmap_train", "--out", "x"}, .seed = 7, .threads = 2});
    run.end_session(75, 12);
    CHECK(run.sample(1000).string().ends_with("runs/a/samples/step-00001000.png"));
  }
  const auto first = nlohmann::json::parse(read_file(path / "run.json"));
  CHECK(first["sessions"][0]["seed"] == 7);
  CHECK(first["sessions"][0]["command_line"][1] == "--out");
  CHECK(first["sessions"][0]["exit_code"] == 75);
  for (const char* key : {"git", "version", "compiler", "build_flags", "host", "cpu", "determinism", "instructions"})
    CHECK(!first["sessions"][0][key].get<std::string>().empty());

  config.lr = 2e-4;
  fs::create_directories(path / "checkpoints/step-00000001.tmp-99");
  Quiet log;
  RunFolder run(path, false, log);
  CHECK(!fs::exists(path / "checkpoints/step-00000001.tmp-99"));
  CHECK(run.config_differences(list_fields(config)) == std::vector<std::string>{"lr was 0.0001, is 0.0002"});
  run.write_config(list_fields(config));
  CHECK(run.config_differences(list_fields(config)).empty());
  run.begin_session({.resumed_from = 12});
  const auto second = nlohmann::json::parse(read_file(path / "run.json"));
  CHECK(second["sessions"].size() == 2);
  CHECK(second["sessions"][1]["resumed_from_step"] == 12);

  Quiet other;
  CHECK_THROWS_WITH_AS(RunFolder(path, false, other), Contains("another process"), ConfigError);
  CHECK_THROWS_WITH_AS(RunFolder(path, true, other), Contains("another process"), ConfigError);             // with --fresh too
  CHECK_THROWS_WITH_AS(move_aside(folder / "runs", other), Contains("another process"), ConfigError);       // also if the locked folder is below the moved one
}

TEST_CASE("--fresh moves an old run aside") {
  TempFolder folder;
  for (int i = 0; i < 3; ++i) {
    Quiet log;
    RunFolder run(folder / "a", true, log);
    run.begin_session({.seed = i});
  }
  CHECK(read_file(folder / "a.old-1/run.json").find("\"seed\": 0") != std::string::npos);
  CHECK(read_file(folder / "a.old-2/run.json").find("\"seed\": 1") != std::string::npos);
  CHECK(read_file(folder / "a/run.json").find("\"seed\": 2") != std::string::npos);
}

TEST_CASE("a run folder that cannot be created is refused with the reason") {
  TempFolder folder;
  write_atomically(folder / "file", "");
  Quiet log;
  const std::string name = (folder / "file/run").string();
  CHECK_THROWS_WITH_AS(RunFolder(name, false, log), Contains(("--out " + name + ": cannot create the folder: Not a directory").c_str()),
                       ConfigError);
  CHECK_THROWS_AS(RunFolder("", false, log), ConfigError);
}

TEST_CASE("checkpoints are published, old ones are removed, and `latest` links to the newest") {
  TempFolder folder;
  CheckpointFolder checkpoints(folder / "checkpoints", 2, 100);
  CHECK(checkpoints.newest_first().empty());
  for (int64_t step : {50, 100, 150, 200, 250, 300, 350}) {
    write_atomically(checkpoints.begin(step) / "state.json", std::to_string(step));
    checkpoints.publish(step);
    CHECK(read_file(folder / "checkpoints/latest/state.json") == std::to_string(step));
  }
  CHECK(checkpoints.newest_first() == std::vector<int64_t>{350, 300, 200, 100});
  write_atomically(checkpoints.begin(350) / "state.json", "again");
  checkpoints.publish(350);
  CHECK(read_file(checkpoints.path(350) / "state.json") == "again");
  checkpoints.begin(400);  // not published, so it is no checkpoint
  CHECK(checkpoints.newest_first().front() == 350);
  checkpoints.move_aside_after(200, "superseded");
  CHECK(checkpoints.newest_first() == std::vector<int64_t>{200, 100});
  CHECK(read_file(folder / "checkpoints/latest/state.json") == "200");
  CHECK(remove_stale_temporaries(folder / "checkpoints") == 1);
}
