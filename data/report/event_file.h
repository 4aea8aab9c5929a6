// TensorBoard event files, without TensorFlow. A file is a row of records
//   u64 length | u32 masked crc32c(length) | bytes | u32 masked crc32c(bytes),   masked(c) = rotate_right(c, 15) + 0xa282ead8
// and each record's bytes are a protobuf message Event {1: wall_time (double), 2: step (int64), 3: file_version, 5: summary}.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fm {

struct Metric {
  std::string name;
  double value;
};

uint32_t masked_crc32c(std::string_view bytes);
std::string event_record(std::string_view event);  // the framed bytes

// Events, not framed yet.
std::string version_event(double wall_time);  // the first of every file
std::string scalar_event(double wall_time, int64_t step, const std::vector<Metric>& metrics);
std::string image_event(double wall_time, int64_t step, std::string_view tag, int64_t width, int64_t height, std::string_view png);

// The longest beginning of a file whose records are complete and of steps <= `last_step`: the part that a resumed run keeps.
std::string_view events_up_to(std::string_view file, int64_t last_step);

// The step of an event; 0 if missing (protobuf leaves out zeros).
int64_t event_step(std::string_view event);

}  // namespace fm
