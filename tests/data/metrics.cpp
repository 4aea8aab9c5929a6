// Files of metrics: rows, the bytes for TensorBoard, removal of rows on resume, half-written rows.
#include "data/report/metrics.h"

#include <doctest/doctest.h>

#include <fmt/format.h>

#include <sys/resource.h>

#include <cmath>
#include <csignal>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "data/png.h"
#include "data/report/clock.h"
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

TEST_CASE("TensorBoard: the version record has the expected bytes") {
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

TEST_CASE("TensorBoard: scalars and images have the expected protobuf bytes") {
  const std::string event = scalar_event(1.0, 300, {{"loss", 0.5}});
  // 09 <1.0> | 10 ac02 (step 300) | 2a 0d summary { 0a 0b value { 0a 04 "loss" | 15 <float 0.5> } }
  CHECK(hex(event) == "09000000000000f03f10ac022a0d0a0b0a046c6f7373150000003f");
  CHECK(event_step(event) == 300);
  CHECK(event_step(version_event(1.0)) == 0);
  const std::string image = image_event(1.0, 1, "x", 3, 2, "PNG");
  // image { 08 02 (height) 10 03 (width) 18 03 (RGB) 22 03 "PNG" } is 11 bytes, value 16, summary 18.
  CHECK(hex(image) == "09000000000000f03f10012a120a100a0178220b0802100318032203504e47");
}

TEST_CASE("rows are written to CSV, JSONL and TensorBoard files; new names add columns") {
  TempFolder folder;
  {
    Metrics metrics(folder.path());
    metrics.log(1, {{"loss", 0.5}, {"lr", 1e-4}});
    metrics.log(2, {{"loss", NAN}});
    metrics.log(3, {{"fid,a", 7}, {"loss", 0.1 + 0.2}});
    write_png(folder / "a.png", blank_image(5, 4, 3));
    metrics.image(3, "samples", folder / "a.png");
    write_atomically(folder / "b.png", "no image");
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
  CHECK(events.find(std::string("\x08\x04\x10\x05\x18\x03\x22", 7)) != std::string::npos);      // the fields: height 4, width 5, RGB, then the bytes
}

TEST_CASE("a resumed run removes the rows after its checkpoint from all files") {
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

TEST_CASE("a row that does not fit on the disk is missing, and the next row begins on a new line") {
  TempFolder folder;
  std::signal(SIGXFSZ, SIG_IGN);                             // as in the programs, so that the write fails
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  Metrics metrics(folder.path());
  metrics.log(1, {{"loss", 1}});
  const std::string csv = read_file(folder / "metrics.csv"), jsonl = read_file(folder / "metrics.jsonl");
  const auto limit = [&](std::uint64_t bytes) {
    const rlimit now{bytes, before.rlim_max};
    setrlimit(RLIMIT_FSIZE, &now);
  };
  limit(csv.size() + 5);                                      // room for half a row
  CHECK_THROWS_WITH_AS(metrics.log(2, {{"loss", 2}}), doctest::Contains("File too large"), FileError);
  limit(jsonl.size() + 5);                                    // metrics.jsonl is longer than the other files, so only its row does not fit
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

TEST_CASE("files can be left out, but a file of an earlier session is still truncated on resume") {
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

TEST_CASE("every metrics file has the time of a row to the millisecond") {
  TempFolder folder;
  const double before = unix_seconds();
  Metrics(folder.path()).log(7, {{"loss", 1}});
  const double after = unix_seconds();
  const std::string csv = read_file(folder / "metrics.csv"), cell = csv.substr(csv.find("\n7,") + 3, 14);
  const auto json = nlohmann::json::parse(read_file(folder / "metrics.jsonl"));
  const double time = json["time"].get<double>();
  CHECK((time >= before - 0.001 && time <= after + 0.001));
  CHECK(fmt::format("{:.3f}", time) == cell);
  const std::string events = read_file(events_file(folder.path()));
  for (const std::size_t at : {std::size_t(12), std::size_t(12 + 24 + 4 + 12)}) {                  // positions of the version event and of the row
    double wall = 0;
    std::memcpy(&wall, events.data() + at + 1, sizeof wall);
    CHECK((wall >= before && wall <= after));
  }
  const std::string utc = utc_now(), local = local_time_text();
  CHECK((utc.size() == 24 && utc[10] == 'T' && utc[19] == '.' && utc[23] == 'Z'));
  CHECK((local.size() == 19 && local[10] == ' '));
}

TEST_CASE("event files: long numbers are encoded, unknown fields are skipped, and records from the first damaged one on are cut off") {
  CHECK(event_step(scalar_event(1, int64_t{1} << 40, {{"a", 1}})) == int64_t{1} << 40);
  CHECK(event_step(scalar_event(1, 127, {})) == 127);
  CHECK(event_step(scalar_event(1, 128, {})) == 128);
  CHECK(hex(scalar_event(0, 128, {})) == "090000000000000000108001" "2a00");
  const std::string long_name(200, 'n');                                       // lengths that take two bytes
  CHECK(hex(scalar_event(0, 1, {{long_name, 1}})).substr(18, 20) == "10012ad3010ad0010ac8");
  // Skips unknown fields: 4 (a varint), 6 (four bytes) and 7 (bytes). Then follows step 5.
  CHECK(event_step(std::string("\x20\x81\x01\x35\1\2\3\4\x3a\2\x10\x09\x10\x05", 14)) == 5);
  for (const std::string& bad : {std::string("\x20", 1), std::string("\x3a", 1), std::string("\x3a\5\x10\x05", 4), std::string("\x35\1\2", 3), std::string("\x09\1", 2), std::string("\x10\x80", 2),
                                 std::string("\x13\x10\x05", 3), std::string(12, '\xff')})
    CHECK(event_step(bad) == 0);
  const std::string one = event_record(scalar_event(1, 1, {{"a", 1}})), two = event_record(scalar_event(1, 2, {{"a", 1}})), both = one + two;
  CHECK(events_up_to(both, 0).empty());
  CHECK(events_up_to(both, 1) == one);
  CHECK(events_up_to(both, 2) == both);
  for (std::size_t i = 0; i < both.size(); ++i) {
    std::string bad = both;
    bad[i] ^= 1;
    CHECK(events_up_to(bad, 9) == (i < one.size() ? std::string() : one));
    CHECK(events_up_to(std::string_view(both).substr(0, i), 9) == (i < one.size() ? std::string() : one));
  }
  CHECK(events_up_to(event_record(""), 9) == event_record(""));               // a record without contents has 16 bytes
  const std::string wide = image_event(1, 1, "x", 300, 65536, "P");
  CHECK(hex(wide).find("0880800410ac021803220150") != std::string::npos);     // height 65536, width 300
}

TEST_CASE("damaged rows are removed when the files are opened; the newest event file is extended") {
  TempFolder folder;
  write_atomically(folder / "metrics.csv", "step,time,loss\n1,1.0,5\nx,1.0,5\n2\n2x,1.0,6\n3,1.0,7\n");
  write_atomically(folder / "metrics.jsonl", "{\"step\": 1}\n[1]\n{\"step\": 1.5}\n{}\n{\"step\": 3}\n{\"step\"");
  write_atomically(folder / "events.out.tfevents.1.b", event_record(scalar_event(1, 5, {})));
  write_atomically(folder / "events.out.tfevents.2.a", "");
  write_atomically(folder / "events.out.tfevents.0.c", "");
  write_atomically(folder / "zzz.tfevents", "");
  {
    Metrics metrics(folder.path());
    CHECK(read_file(folder / "metrics.csv") == "step,time,loss\n1,1.0,5\n3,1.0,7\n");
    CHECK(read_file(folder / "metrics.jsonl") == "{\"step\": 1}\n{\"step\": 3}\n");
    metrics.log(4, {{"lr", 1}});
  }
  CHECK(event_steps(read_file(folder / "events.out.tfevents.2.a")) == std::vector<int64_t>{0, 4});
  CHECK(event_steps(read_file(folder / "events.out.tfevents.1.b")) == std::vector<int64_t>{5});
  CHECK(read_file(folder / "metrics.csv").rfind("step,time,loss,lr\n1,1.0,5,\n3,1.0,7,\n4,", 0) == 0);
  Metrics again(folder.path());
  again.truncate_after(3);
  again.log(5, {{"new,\"\r\n", 2}});                                          // characters that CSV would have to quote
  CHECK(read_file(folder / "metrics.csv").rfind("step,time,loss,lr,new____\n1,1.0,5,,\n3,1.0,7,,\n5,", 0) == 0);
  again.log(6, {});
  const std::string rows = read_file(folder / "metrics.csv");
  CHECK(rows.substr(rows.size() - 4) == ",,,\n");
  TempFolder bare;
  Metrics(bare.path(), log_files({"csv"})).log(1, {});
  CHECK(read_file(bare / "metrics.csv").rfind("step,time\n1,", 0) == 0);
  CHECK(lines(read_file(bare / "metrics.csv")) == 2);
  CHECK_NOTHROW(Metrics(bare.path(), log_files({"csv"})).image(1, "x", "/nowhere.png"));           // without TensorBoard the image is not read
}

TEST_CASE("images are written to TensorBoard with their size; files too short for a PNG are refused") {
  TempFolder folder;
  Metrics metrics(folder.path());
  write_png(folder / "wide.png", blank_image(300, 70, 1));
  metrics.image(2, "samples", folder / "wide.png");
  CHECK(read_file(events_file(folder.path())).find(std::string("\x08\x46\x10\xac\x02\x18\x03\x22", 8)) != std::string::npos);   // the image is 70 high and 300 wide
  CHECK(event_steps(read_file(events_file(folder.path()))) == std::vector<int64_t>{0, 2});
  const std::string png = read_file(folder / "wide.png");
  for (const auto& [bytes, good] : {std::pair{png.substr(0, 24), true}, {png.substr(0, 23), false}, {"x" + png.substr(1), false}, {png.substr(0, 7) + "x" + png.substr(8), false}}) {
    write_atomically(folder / "b.png", bytes);
    if (good) CHECK_NOTHROW(metrics.image(3, "samples", folder / "b.png"));
    else CHECK_THROWS_AS(metrics.image(3, "samples", folder / "b.png"), FileError);
  }
}
