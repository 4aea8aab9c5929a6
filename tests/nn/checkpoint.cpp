// Checkpoints: saved state is restored, training resumes bit for bit, and damage, crashes or full disks cost at most the newest checkpoint.
#include "nn/checkpoint.h"

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>

#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/linear.h"
#include "nn/optim/adamw.h"
#include "tensor/io/atomic_file.h"
#include "tests/support/temp_folder.h"
#include "tests/support/text.h"

using namespace fm;
using fm::test::has;
namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

namespace {

template <class E = FileError> std::string message(const std::function<void()>& f) {
  try {
    f();
  } catch (const E& e) {
    return e.what();
  }
  return "not thrown";
}

const Warn no_warning = [](const std::string& line) { FAIL("unexpected warning: ", line); };

void save_simple(CheckpointFolder& folder, std::int64_t step) {
  save_checkpoint(folder, step, {{"model", {{"w", Tensor::full({3}, static_cast<double>(step))}}}, {"ema", {{"w", Tensor::full({3}, -1)}}}},
                  {{"seed", 7}});
}

double first_value(const NamedTensors& tensors) { return tensors.at(0).second.select(0, 0).item(); }

void flip_byte(const fs::path& file, std::size_t from_end) {
  std::string bytes = read_file(file);
  char& c = bytes[bytes.size() - from_end];
  c = static_cast<char>(c ^ 1);
  write_atomically(file, bytes);
}

// A small model: its loss pulls w towards a number that changes at every step.
struct Toy {
  Parameter w{Tensor::arange(50)}, b{Tensor::full({7}, 0.5)};
  template <class V> void visit(V&& v) {
    v("w", w);
    v("b", b);
  }
};

struct Training {
  Toy model, ema = clone(model);
  AdamW optimizer{named_parameters(model)};
  std::int64_t step = 0;
  Training() { optimizer.add_average(named_parameters(ema), 0.9); }

  void run_to(std::int64_t end) {
    for (; step < end; ++step) {
      Tape tape;
      const Var w(model.w), b(model.b);
      const Var loss = sum(square(w - Tensor::full({50}, static_cast<double>(step)))) + sum(square(b) * b);
      optimizer.step(backward(loss), {.lr = 0.1});
    }
  }
  void save(CheckpointFolder& folder) {
    save_checkpoint(folder, step, {{"model", state_dict(model)}, {"ema", state_dict(ema)}, {"optimizer", optimizer.state()}},
                    {{"seed", 3}, {"config", {{"lr", 0.1}}}});
  }
  void resume(const CheckpointFolder& folder) {
    const auto checkpoint = open_newest(folder, no_warning);
    REQUIRE(checkpoint);
    load_state(model, checkpoint->part("model"));
    load_state(ema, checkpoint->part("ema"));
    optimizer.load_state(checkpoint->part("optimizer"));
    step = checkpoint->step();
  }
};

}  // namespace

TEST_CASE("parts, step and state of a checkpoint can be read back; equal contents give equal files") {
  const TempFolder temp;
  CheckpointFolder folder(temp / "checkpoints", 3, 0);
  CHECK_FALSE(open_newest(folder, no_warning));
  const Json state = {{"seed", 42}, {"config", {{"lr", 1e-4}, {"name", "x"}}}, {"loss", nullptr}, {"third", 1.0 / 3}};
  const NamedTensors model = {{"a", Tensor::arange(6).reshape({2, 3})}, {"b", Tensor::arange(3, DType::bf16)}};
  save_checkpoint(folder, 1000, {{"model", model}, {"empty", {}}}, state);
  CHECK(fs::read_symlink(temp / "checkpoints" / "latest") == "step-00001000");

  const auto checkpoint = open_newest(folder, no_warning);
  REQUIRE(checkpoint);
  CHECK(checkpoint->step() == 1000);
  CHECK(checkpoint->state() == state);
  CHECK(checkpoint->state()["third"].get<double>() == 1.0 / 3);
  CHECK(checkpoint->has("model"));
  CHECK(checkpoint->part("empty").empty());
  const NamedTensors read = checkpoint->part("model");
  REQUIRE(read.size() == 2);
  CHECK(read[0].second.to_vector<float>() == model[0].second.to_vector<float>());
  CHECK(message([&] { checkpoint->part("ema"); }).ends_with("no part \"ema\"; it has empty, model"));

  // The mapped tensors stay readable after the file is removed.
  CheckpointFolder again(temp / "again", 1, 0);
  save_checkpoint(again, 1000, {{"model", read}, {"empty", {}}}, checkpoint->state());
  for (const char* file : {"model.safetensors", "empty.safetensors", "state.json"})
    CHECK(read_file(folder.path(1000) / file) == read_file(again.path(1000) / file));
  fs::remove_all(temp / "checkpoints");
  CHECK(read[0].second.to_vector<float>()[5] == 5);
}

TEST_CASE("training 9 steps gives the same bytes as training 4 and resuming for 5") {
  const TempFolder temp;
  CheckpointFolder straight(temp / "straight", 2, 0), broken(temp / "broken", 2, 0);
  {
    Training a;
    a.run_to(9);
    a.save(straight);
  }
  {
    Training b;
    b.run_to(4);
    b.save(broken);
  }
  Training c;
  c.resume(broken);
  CHECK(c.step == 4);
  c.run_to(9);
  c.save(broken);
  for (const char* file : {"model.safetensors", "ema.safetensors", "optimizer.safetensors", "state.json"})
    CHECK(read_file(straight.path(9) / file) == read_file(broken.path(9) / file));
}

TEST_CASE("the newest k checkpoints and every n-th are kept; saving the same step again replaces it") {
  const TempFolder temp;
  CheckpointFolder folder(temp / "c", 2, 100);
  for (std::int64_t step : {50, 100, 150, 200, 250, 300}) save_simple(folder, step);
  CHECK(folder.newest_first() == std::vector<std::int64_t>{300, 250, 200, 100});
  save_checkpoint(folder, 300, {{"model", {{"w", Tensor::full({3}, 0.25)}}}}, {});
  const auto newest = open_newest(folder, no_warning);
  CHECK(first_value(newest->part("model")) == 0.25);
  CHECK_FALSE(newest->has("ema"));
  for (const auto& entry : fs::directory_iterator(temp / "c")) CHECK_FALSE(has(entry.path().string(), ".tmp-"));
}

TEST_CASE("a half-written checkpoint is ignored, and is later removed") {
  const TempFolder temp;
  CheckpointFolder folder(temp / "c", 2, 0);
  save_simple(folder, 1);
  fs::copy(folder.path(1), temp / "c" / "step-00000002.tmp-123", fs::copy_options::recursive);
  CHECK(open_newest(folder, no_warning)->step() == 1);
  CHECK(remove_stale_temporaries(temp / "c") == 1);
  CHECK(open_newest(folder, no_warning)->step() == 1);
}

TEST_CASE("each kind of damage gives a warning with the file's name, and the checkpoint before is used") {
  const TempFolder temp;
  CheckpointFolder folder(temp / "c", 5, 0);
  const fs::path newest = folder.path(2);
  const fs::path model = newest / "model.safetensors", state = newest / "state.json";
  const std::pair<std::function<void()>, std::string> damages[] = {
      {[&] { flip_byte(model, 1); }, "model.safetensors: its contents do not match their checksum"},
      {[&] { flip_byte(newest / "ema.safetensors", 30); }, "ema.safetensors: its contents do not match their checksum"},
      {[&] { fs::resize_file(model, fs::file_size(model) - 1); }, "bytes, "},
      {[&] { fs::resize_file(model, 0); }, "has 0 bytes"},
      {[&] { fs::remove(model); }, "model.safetensors: is missing"},
      {[&] { fs::remove(state); }, "state.json: is missing"},
      {[&] { write_atomically(state, ""); }, "not a JSON object"},
      {[&] { fs::resize_file(state, fs::file_size(state) / 2); }, "not a JSON object"},
      {[&] { write_atomically(state, "{}"); }, "no format_version"},
      {[&] { write_atomically(state, R"({"format_version":1})"); }, "do not match its checksum"},
      {[&] {
         std::string text = read_file(state);
         text[text.find("\"seed\": 7") + 8] = '8';
         write_atomically(state, text);
       }, "state.json: its contents do not match its checksum"},
  };
  for (const auto& [damage, expected] : damages) {
    fs::remove_all(temp / "c");
    save_simple(folder, 1);
    save_simple(folder, 2);
    damage();
    std::vector<std::string> warnings;
    const auto checkpoint = open_newest(folder, [&](const std::string& line) { warnings.push_back(line); });
    CHECK(checkpoint->step() == 1);
    REQUIRE(warnings.size() == 1);
    CAPTURE(warnings[0]);
    CHECK(has(warnings[0], expected));
    CHECK(warnings[0].ends_with("; trying step-00000001"));
    CHECK_FALSE(has(warnings[0], "\n"));
  }
  // If the older checkpoint is damaged too, the result is an error, not a fresh start.
  flip_byte(folder.path(1) / "model.safetensors", 1);
  CHECK(has(message([&] { open_newest(folder, [](const std::string&) {}); }), "none of its 2 checkpoints is whole"));
}

TEST_CASE("an unreadable file is an error with its reason, not damage: no older checkpoint is used instead") {
  const TempFolder temp;
  CheckpointFolder folder(temp / "c", 5, 0);
  save_simple(folder, 1);
  save_simple(folder, 2);
  const fs::path newest = folder.path(2);
  const auto loop = [](const fs::path& path) {           // replaces a file by a link to itself: it exists, but opening it fails with ELOOP, even for root
    fs::rename(path, path.string() + ".away");
    fs::create_symlink(path.filename(), path);
  };
  const auto back = [](const fs::path& path) { fs::rename(path.string() + ".away", path); };
  for (const char* name : {"model.safetensors", "ema.safetensors", "state.json"}) {
    loop(newest / name);
    const std::string what = message([&] { open_newest(folder, no_warning); });
    CHECK_MESSAGE(has(what, "Too many levels of symbolic links"), what);
    CHECK_MESSAGE(has(what, (newest / name).string()), what);
    back(newest / name);
  }
  CHECK(open_newest(folder, no_warning)->step() == 2);

  write_atomically(newest / "state.json", R"({"format_version":99})");
  CHECK(has(message([&] { open_newest(folder, no_warning); }), "newer than this program's 1; update the program"));
  CHECK(message<DamagedCheckpoint>([&] {
          try {
            open_newest(folder, no_warning);
          } catch (const DamagedCheckpoint&) {
            throw;
          } catch (const FileError&) {
          }
        }) == "not thrown");

  loop(temp / "c");                                       // an unreadable folder of checkpoints is not an empty one
  CHECK(has(message([&] { folder.newest_first(); }), "Too many levels of symbolic links"));
  CHECK(has(message([&] { open_newest(folder, no_warning); }), "Too many levels of symbolic links"));
}

TEST_CASE("whatever is named latest is replaced by the link; only a copy of a checkpoint is removed") {
  const TempFolder temp;
  CheckpointFolder folder(temp / "c", 2, 0);
  std::vector<std::string> warnings;
  folder.set_warning([&](const std::string& line) { warnings.push_back(line); });
  const fs::path latest = temp / "c/latest";
  save_simple(folder, 1);
  const std::pair<std::function<void()>, const char*> things[] = {
      {[&] { fs::copy(folder.path(1), latest, fs::copy_options::recursive); }, nullptr},                       // a copy of step 1
      {[&] { fs::create_symlink("nowhere", latest); }, nullptr},
      {[&] { fs::create_symlink(folder.path(1), latest); }, nullptr},                                          // a link with an absolute path
      {[&] { write_atomically(latest, "step-00000001"); }, "latest.copy"},                                     // a link that was stored as a text file
      {[&] { fs::copy(folder.path(1), latest, fs::copy_options::recursive), flip_byte(latest / "ema.safetensors", 1); }, "latest.copy-2"},
      {[&] { fs::create_directories(latest / "within"); }, "latest.copy-3"},
  };
  for (const auto& [make, aside] : things) {
    fs::remove_all(latest);
    make();
    warnings.clear();
    folder.point_latest(1);
    CHECK(fs::read_symlink(latest) == "step-00000001");
    REQUIRE(warnings.size() == (aside == nullptr ? 0 : 1));
    if (aside != nullptr) CHECK_MESSAGE(has(warnings[0], std::string("it was renamed to ") + (temp / "c" / aside).string()), warnings[0]);
    for (const auto& entry : fs::directory_iterator(temp / "c")) CHECK_FALSE(has(entry.path().string(), ".tmp-"));
  }
  CHECK(read_file(temp / "c/latest.copy") == "step-00000001");
  CHECK(fs::exists(temp / "c/latest.copy-2/model.safetensors"));
  CHECK(fs::exists(temp / "c/latest.copy-3/within"));
  CHECK(folder.newest_first() == std::vector<std::int64_t>{1});
  save_simple(folder, 2);                                 // a save also replaces such an entry by a link
  CHECK(fs::read_symlink(latest) == "step-00000002");
}

TEST_CASE("readers find the newest whole checkpoint without the link") {
  const TempFolder temp;
  CheckpointFolder folder(temp / "run/checkpoints", 5, 0);
  for (std::int64_t step : {1, 2, 3}) save_simple(folder, step);
  const fs::path latest = temp / "run/checkpoints/latest";
  flip_byte(folder.path(3) / "model.safetensors", 1);
  const std::function<void()> things[] = {[] {}, [&] { fs::create_symlink("nowhere", latest); }, [&] { fs::create_symlink("step-00000001", latest); },
                                          [&] { fs::copy(folder.path(1), latest, fs::copy_options::recursive); }};
  for (const auto& make : things) {
    fs::remove_all(latest);
    make();
    for (const char* where : {"run", "run/checkpoints", "run/checkpoints/latest", "run/checkpoints/latest/", "run/checkpoints/latest:ema"}) {
      int warnings = 0;
      CHECK_MESSAGE(load_weights((temp / where).string(), [&](const std::string&) { ++warnings; }).step == 2, where);
      CHECK(warnings == 1);
    }
    CHECK(open_checkpoint(latest, {})->step() == 2);
  }
  fs::remove_all(latest);
  CHECK(first_value(load_weights((latest / "ema.safetensors").string(), no_warning).tensors) == -1);
  CHECK_FALSE(open_checkpoint(temp / "run", {}));
}

TEST_CASE("a reader always finds a checkpoint while others are written and removed") {
  const TempFolder temp;
  CheckpointFolder writer(temp / "c", 1, 0);
  save_simple(writer, 1);
  std::atomic<bool> end = false;
  std::atomic<std::int64_t> written = 1;
  std::thread training([&] {
    for (std::int64_t step = 2; !end; ++step) save_simple(writer, step), written = step;
  });
  std::int64_t before = 0;
  for (int i = 0; i < 50 || written < 50; ++i) {
    const auto found = open_newest({temp / "c", 1, 0}, no_warning);
    REQUIRE(found);
    CHECK(found->step() >= before);
    CHECK(first_value(found->part("model")) == static_cast<double>(found->step()));     // the mapped file keeps its contents
    before = found->step();
  }
  end = true;
  training.join();
  CHECK(first_value(open_newest(writer, no_warning)->part("model")) == static_cast<double>(written));
}

TEST_CASE("checkpoints are moved aside, never deleted") {
  const TempFolder temp;
  CheckpointFolder folder(temp / "c", 5, 0);
  for (std::int64_t step : {1, 2, 3}) save_simple(folder, step);
  CHECK(folder.move_aside_after(1, "damaged") ==
        std::vector<fs::path>{temp / "c/step-00000003.damaged", temp / "c/step-00000002.damaged"});
  CHECK(fs::read_symlink(temp / "c/latest") == "step-00000001");
  save_simple(folder, 2);
  CHECK(folder.move_aside_after(1, "damaged") == std::vector<fs::path>{temp / "c/step-00000002.damaged-2"});
  for (const char* name : {"step-00000003.damaged", "step-00000002.damaged", "step-00000002.damaged-2"})
    CHECK(Checkpoint(temp / "c" / name).step() == name[12] - '0');
  CHECK(folder.newest_first() == std::vector<std::int64_t>{1});
  CHECK(folder.move_aside_after(1, "damaged").empty());
}

TEST_CASE("an error names the obstacle, and existing checkpoints stay") {
  const TempFolder temp;
  write_atomically(temp / "file", "x");
  CheckpointFolder blocked(temp / "file", 2, 0);
  CHECK(has(message([&] { save_simple(blocked, 1); }), (temp / "file").string()));

  CheckpointFolder folder(temp / "c", 1, 0);
  save_simple(folder, 1);
  const NamedTensors twice = {{"w", Tensor::ones({1})}, {"w", Tensor::ones({1})}};
  CHECK(has(message([&] { save_checkpoint(folder, 2, {{"model", twice}}, {}); }), "two tensors are named"));
  CHECK(open_newest(folder, no_warning)->step() == 1);
  CHECK(std::distance(fs::directory_iterator(temp / "c"), {}) == 2);       // only step-00000001 and latest
  CHECK(has(message<Error>([&] { save_checkpoint(folder, 2, {}, {{"files", 1}}); }), "is reserved"));
  CHECK(has(message<Error>([&] { save_checkpoint(folder, 2, {{"a/b", {}}}, {}); }), "cannot be named"));
  CHECK(has(message<Error>([&] { save_checkpoint(folder, 2, {}, {{"x", "\xff"}}); }), "cannot be written"));
  CHECK(open_newest(folder, no_warning)->step() == 1);
}

namespace {

// Starts a process that saves one step after another, or with `same_step` the same step repeatedly. It writes a byte to `saved` after each save.
pid_t start_saving(CheckpointFolder& folder, bool same_step, int saved) {
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child > 0) return child;
  try {
    for (std::int64_t step = open_newest(folder, {})->step();; step += same_step ? 0 : 1) {
      save_simple(folder, step);
      if (write(saved, "x", 1) != 1) break;
    }
  } catch (...) {
  }
  _exit(1);
}

}  // namespace

TEST_CASE("a process killed at any moment leaves a whole checkpoint") {
  const TempFolder temp;
  for (const bool same_step : {false, true}) {
    CheckpointFolder folder(temp / (same_step ? "same" : "c"), 1, 0);
    const auto begin = std::chrono::steady_clock::now();
    save_simple(folder, 1);
    const double save_time = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    // The process is killed 0.2, 0.5, ... times the duration of a save after a save ended. The checks below hold for every moment.
    for (int k = 0; k < 10; ++k) {
      int saved[2];
      REQUIRE(pipe(saved) == 0);
      const pid_t child = start_saving(folder, same_step, saved[1]);
      close(saved[1]);
      char byte;
      for (int i = 0; i < 1 + k % 2; ++i) CHECK(read(saved[0], &byte, 1) == 1);
      std::this_thread::sleep_for(std::chrono::duration<double>(save_time * (0.2 + 0.3 * k)));
      kill(child, SIGKILL);
      int status = 0;
      REQUIRE(waitpid(child, &status, 0) == child);
      close(saved[0]);
      CHECK(WIFSIGNALED(status));
      const auto newest = open_newest(folder, no_warning);
      REQUIRE(newest);
      CHECK(first_value(newest->part("model")) == static_cast<double>(newest->step()));
    }
    CHECK(folder.newest_first().front() >= (same_step ? 1 : 6));          // each child began with the checkpoint of the previous one
    remove_stale_temporaries(folder.folder());
    for (const auto& entry : fs::directory_iterator(folder.folder())) CHECK_FALSE(has(entry.path().string(), ".tmp-"));
  }
}
