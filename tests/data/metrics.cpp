// Metrics files: rows, TensorBoard bytes, cutting back on resume, torn writes.
#include "data/report/metrics.h"

#include <doctest/doctest.h>

#include <sys/resource.h>

#include <cmath>
#include <csignal>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "data/png.h"
#include "tensor/error.h"
#include "tensor/io/atomic_file.h"
#include "tests/support/temp_folder.h"
#include "tests/support/text.h"

using namespace fm;
using fm::test::lines;
namespace fs = std::filesystem;

namespace {

std::string hex(std::string_view bytes) {
  std::string out;
  for (unsigned char c : bytes) out += "0123456789abcdef"[c >> 4], out += "0123456789abcdef"[c & 15];
  return out;
}

fs::path events_file(const fs::path& folder) {
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.path().filename().string().rfind("events.out.tfevents.", 0) == 0) return entry.path();
  return {};
}

std::vector<int64_t> event_steps(std::string_view file) {
  std::vector<int64_t> steps;
  while (!file.empty()) {
    uint64_t length;
    std::memcpy(&length, file.data(), 8);
    steps.push_back(event_step(file.substr(12, length)));
    file.remove_prefix(length + 16);
  }
  return steps;
}

}  // namespace

TEST_CASE("TensorBoard: the version record byte for byte") {
  // Event{wall_time: 1.0, file_version: "brain.Event:2"}: 09 <double 1.0> 1a 0d <13 letters>, 24 bytes.
  const std::string event = version_event(1.0);
  CHECK(hex(event) == "09000000000000f03f1a0d627261696e2e4576656e743a32");
  const std::string record = event_record(event);
  CHECK(record.size() == 24 + 16);
  // The header of every TensorBoard file that begins with a 24-byte version event: length 24 and its masked crc32c.
  CHECK(hex(record.substr(0, 12)) == "1800000000000000a37f4b22");
  CHECK(record.substr(12, 24) == event);
  // masked crc32c: crc32c("123456789") = e3069283, rotated right by 15 is 2507c60d, plus a282ead8.
  CHECK(masked_crc32c("123456789") == 0x2507c60du + 0xa282ead8u);
}

TEST_CASE("TensorBoard: scalars and images as protobuf") {
  const std::string event = scalar_event(1.0, 300, {{"loss", 0.5}});
  // 09 <1.0> | 10 ac02 (step 300) | 2a 0d summary { 0a 0b value { 0a 04 "loss" | 15 <float 0.5> } }
  CHECK(hex(event) == "09000000000000f03f10ac022a0d0a0b0a046c6f7373150000003f");
  CHECK(event_step(event) == 300);
  CHECK(event_step(version_event(1.0)) == 0);
  const std::string image = image_event(1.0, 1, "x", 3, 2, "PNG");
  // image { 08 02 (height) 10 03 (width) 18 03 (RGB) 22 03 "PNG" } is 11 bytes, value 16, summary 18.
  CHECK(hex(image) == "09000000000000f03f10012a120a100a0178220b0802100318032203504e47");
}

TEST_CASE("rows go to three files; new names add columns") {
  TempFolder folder;
  {
    Metrics metrics(folder.path());
    metrics.log(1, {{"loss", 0.5}, {"lr", 1e-4}});
    metrics.log(2, {{"loss", NAN}});
    metrics.log(3, {{"fid,a", 7}, {"loss", 0.1 + 0.2}});
    write_png(folder / "a.png", blank_image(5, 4, 3));
    metrics.image(3, "samples", folder / "a.png");
    write_atomically(folder / "b.png", "no picture");
    CHECK_THROWS_WITH_AS(metrics.image(3, "samples", folder / "b.png"), doctest::Contains("b.png: not a PNG file"), FileError);
  }
  const std::string csv = read_file(folder / "metrics.csv");
  CHECK(csv.rfind("step,time,loss,lr,fid_a\n1,", 0) == 0);
  CHECK(csv.find(",0.5,0.0001,\n2,") != std::string::npos);
  CHECK(csv.find(",nan,,\n3,") != std::string::npos);
  CHECK(csv.find(",0.30000000000000004,,7\n") != std::string::npos);
  const std::string jsonl = read_file(folder / "metrics.jsonl");
  CHECK(lines(jsonl) == 3);
  const auto first = nlohmann::json::parse(jsonl.substr(0, jsonl.find('\n')));
  CHECK(first["step"] == 1);
  CHECK(first["lr"] == 1e-4);
  CHECK(jsonl.find("\"loss\":null") != std::string::npos);
  const std::string events = read_file(events_file(folder.path()));
  CHECK(event_steps(events) == std::vector<int64_t>{0, 1, 2, 3, 3});
  CHECK(events.find(std::string("\x08\x04\x10\x05\x18\x03\x22", 7)) != std::string::npos);      // height 4, width 5, RGB, bytes
}

TEST_CASE("a resumed run forgets what came after its checkpoint, in all files") {
  TempFolder folder;
  {
    Metrics metrics(folder.path());
    for (int64_t step = 1; step <= 20; ++step) metrics.log(step, {{"loss", 1.0 / double(step)}});
  }
  Metrics metrics(folder.path());
  metrics.truncate_after(10);
  metrics.log(11, {{"loss", 5}});
  CHECK(lines(read_file(folder / "metrics.csv")) == 12);  // heading, 1..10, 11
  CHECK(lines(read_file(folder / "metrics.jsonl")) == 11);
  CHECK(event_steps(read_file(events_file(folder.path()))) == std::vector<int64_t>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11});
  metrics.truncate_after(0);
  CHECK(read_file(folder / "metrics.csv") == "step,time,loss\n");
  CHECK(read_file(folder / "metrics.jsonl").empty());
}

TEST_CASE("half-written last rows of a killed process are dropped on opening") {
  TempFolder folder;
  { Metrics(folder.path()).log(1, {{"loss", 1}}); }
  const fs::path events = events_file(folder.path());
  const std::string good = read_file(events);
  std::ofstream(folder / "metrics.csv", std::ios::app) << "2,17";
  std::ofstream(folder / "metrics.jsonl", std::ios::app) << "{\"step\": 2, \"lo\n";
  std::ofstream(events, std::ios::app) << event_record(scalar_event(1, 2, {{"loss", 1}})).substr(0, 20);
  { Metrics(folder.path()).log(3, {{"loss", 3}}); }
  CHECK(lines(read_file(folder / "metrics.csv")) == 3);
  CHECK(lines(read_file(folder / "metrics.jsonl")) == 2);
  CHECK(read_file(events).substr(0, good.size()) == good);
  CHECK(event_steps(read_file(events)) == std::vector<int64_t>{0, 1, 3});
}

TEST_CASE("a row that finds no room is missing, and the next one stands where a row begins") {
  TempFolder folder;
  std::signal(SIGXFSZ, SIG_IGN);                             // as programs do: the write fails
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  Metrics metrics(folder.path());
  metrics.log(1, {{"loss", 1}});
  const std::string csv = read_file(folder / "metrics.csv"), jsonl = read_file(folder / "metrics.jsonl");
  const auto limit = [&](std::uint64_t bytes) {
    const rlimit now{bytes, before.rlim_max};
    setrlimit(RLIMIT_FSIZE, &now);
  };
  limit(csv.size() + 5);                                      // half a row fits
  CHECK_THROWS_WITH_AS(metrics.log(2, {{"loss", 2}}), doctest::Contains("File too large"), FileError);
  limit(jsonl.size() + 5);                                    // the longer file
  CHECK_THROWS_AS(metrics.log(3, {{"loss", 3}}), FileError);
  setrlimit(RLIMIT_FSIZE, &before);
  metrics.log(4, {{"loss", 4}});
  const std::string rows = read_file(folder / "metrics.csv");
  CHECK(rows.substr(0, csv.size()) == csv);
  CHECK(rows.substr(csv.size(), 2) != "2,");
  CHECK(lines(rows) == 2 + (rows.find("\n3,") != std::string::npos) + 1);
  CHECK(rows.find("\n4,") != std::string::npos);
  const std::string objects = read_file(folder / "metrics.jsonl");
  CHECK(objects.substr(0, jsonl.size()) == jsonl);
  std::size_t whole = 0;
  for (std::size_t at = 0, end; (end = objects.find('\n', at)) != std::string::npos; at = end + 1)
    whole += nlohmann::json::accept(objects.substr(at, end - at));
  CHECK(whole == static_cast<std::size_t>(lines(objects)));
}

TEST_CASE("files can be left out; one that an earlier session wrote is cut back all the same") {
  TempFolder folder;
  for (int64_t step = 1; step <= 3; ++step) Metrics(folder.path(), log_files({"csv"})).log(step, {{"loss", 1}});
  CHECK(lines(read_file(folder / "metrics.csv")) == 4);
  CHECK(!fs::exists(folder / "metrics.jsonl"));
  CHECK(events_file(folder.path()).empty());
  {
    Metrics metrics(folder.path(), log_files({"tb", "jsonl"}));
    metrics.truncate_after(1);
    metrics.log(2, {{"loss", 1}});
  }
  CHECK(lines(read_file(folder / "metrics.csv")) == 2);
  CHECK(lines(read_file(folder / "metrics.jsonl")) == 1);
  CHECK(event_steps(read_file(events_file(folder.path()))) == std::vector<int64_t>{0, 2});
  const LogFiles html = log_files({"html"});
  CHECK((html.html && !html.csv && !html.jsonl && !html.tensorboard));
}
