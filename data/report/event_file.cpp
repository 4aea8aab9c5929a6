// Protobuf by hand: a field is a varint (number << 3 | wire type) and its payload; types: 0 varint, 1 eight bytes, 2 length and
// bytes, 5 four bytes.
#include "data/report/event_file.h"

#include <bit>
#include <cstring>

#include "tensor/io/crc32c.h"

namespace fm {
namespace {

template <class T>
void put_raw(std::string& out, T value) {
  static_assert(std::endian::native == std::endian::little);
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void put_varint(std::string& out, uint64_t value) {
  for (; value >= 128; value >>= 7) out += char(value | 128);
  out += char(value);
}

void put_int(std::string& out, int field, int64_t value) {
  put_varint(out, uint64_t(field) << 3);
  put_varint(out, uint64_t(value));
}
void put_double(std::string& out, int field, double value) {
  put_varint(out, uint64_t(field) << 3 | 1);
  put_raw(out, value);
}
void put_float(std::string& out, int field, float value) {
  put_varint(out, uint64_t(field) << 3 | 5);
  put_raw(out, value);
}
void put_bytes(std::string& out, int field, std::string_view bytes) {
  put_varint(out, uint64_t(field) << 3 | 2);
  put_varint(out, bytes.size());
  out += bytes;
}

std::string event_head(double wall_time, int64_t step) {
  std::string event;
  put_double(event, 1, wall_time);
  if (step != 0) put_int(event, 2, step);
  return event;
}

// Takes a varint off the front; false at the end of the bytes.
bool take_varint(std::string_view& bytes, uint64_t& value) {
  value = 0;
  for (int shift = 0; shift < 64 && !bytes.empty(); shift += 7) {
    const auto byte = uint8_t(bytes.front());
    bytes.remove_prefix(1);
    value |= uint64_t(byte & 127) << shift;
    if (byte < 128) return true;
  }
  return false;
}

template <class T>
T raw_at(std::string_view bytes, size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

// Size of the complete and undamaged record at the front, 0 if there is none.
size_t record_size(std::string_view bytes) {
  if (bytes.size() < 16) return 0;
  const auto length = raw_at<uint64_t>(bytes, 0);
  if (raw_at<uint32_t>(bytes, 8) != masked_crc32c(bytes.substr(0, 8)) || length > bytes.size() - 16) return 0;
  return raw_at<uint32_t>(bytes, 12 + length) == masked_crc32c(bytes.substr(12, length)) ? length + 16 : 0;
}

}  // namespace

uint32_t masked_crc32c(std::string_view bytes) { return std::rotr(crc32c(bytes), 15) + 0xa282ead8u; }

std::string event_record(std::string_view event) {
  std::string record;
  put_raw(record, uint64_t(event.size()));
  put_raw(record, masked_crc32c(record));
  record += event;
  put_raw(record, masked_crc32c(event));
  return record;
}

std::string version_event(double wall_time) {
  std::string event = event_head(wall_time, 0);
  put_bytes(event, 3, "brain.Event:2");
  return event;
}

std::string scalar_event(double wall_time, int64_t step, const std::vector<Metric>& metrics) {
  std::string summary;
  for (const Metric& metric : metrics) {
    std::string value;
    put_bytes(value, 1, metric.name);
    put_float(value, 2, float(metric.value));
    put_bytes(summary, 1, value);
  }
  std::string event = event_head(wall_time, step);
  put_bytes(event, 5, summary);
  return event;
}

std::string image_event(double wall_time, int64_t step, std::string_view tag, int64_t width, int64_t height, std::string_view png) {
  std::string image, value, summary;
  put_int(image, 1, height);
  put_int(image, 2, width);
  put_int(image, 3, 3);  // RGB
  put_bytes(image, 4, png);
  put_bytes(value, 1, tag);
  put_bytes(value, 4, image);
  put_bytes(summary, 1, value);
  std::string event = event_head(wall_time, step);
  put_bytes(event, 5, summary);
  return event;
}

int64_t event_step(std::string_view event) {
  uint64_t key = 0, value = 0;
  while (take_varint(event, key)) {
    const uint64_t type = key & 7;
    if (type == 0) {
      if (!take_varint(event, value)) return 0;
      if (key >> 3 == 2) return int64_t(value);
      continue;
    }
    if (type == 2 && !take_varint(event, value)) return 0;
    const size_t skip = type == 1 ? 8 : type == 5 ? 4 : type == 2 ? size_t(value) : event.size() + 1;
    if (skip > event.size()) return 0;
    event.remove_prefix(skip);
  }
  return 0;
}

std::string_view events_up_to(std::string_view file, int64_t last_step) {
  size_t end = 0;
  while (const size_t size = record_size(file.substr(end))) {
    if (event_step(file.substr(end + 12, size - 16)) > last_step) break;
    end += size;
  }
  return file.substr(0, end);
}

}  // namespace fm
