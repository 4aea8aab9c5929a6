#include "data/png.h"

#include <fmt/format.h>
#include <zlib.h>

#include <cstdlib>
#include <string_view>

#include "tensor/error.h"
#include "tensor/io/atomic_file.h"

namespace fm {
namespace {

using PngBytes = std::vector<std::uint8_t>;

void put_be32(PngBytes& out, std::uint32_t v) {
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(std::uint8_t(v >> shift));
}

// length, type, data, crc32 of type and data
void put_chunk(PngBytes& out, std::string_view type, const PngBytes& data) {
  put_be32(out, std::uint32_t(data.size()));
  const std::size_t start = out.size();
  out.insert(out.end(), type.begin(), type.end());
  out.insert(out.end(), data.begin(), data.end());
  put_be32(out, std::uint32_t(crc32(0, out.data() + start, uInt(out.size() - start))));
}

int paeth(int left, int up, int corner) {
  const int p = left + up - corner, a = std::abs(p - left), b = std::abs(p - up), c = std::abs(p - corner);
  return a <= b && a <= c ? left : b <= c ? up : corner;
}

// One filtered row: byte minus its prediction, for filter types 0 none, 1 left, 2 up, 3 average, 4 Paeth.
void filter_row(int type, const std::uint8_t* row, const std::uint8_t* above, int count, int channels, std::uint8_t* out) {
  for (int i = 0; i < count; ++i) {
    const int left = i >= channels ? row[i - channels] : 0, up = above ? above[i] : 0;
    const int corner = above && i >= channels ? above[i - channels] : 0;
    const int prediction[5] = {0, left, up, (left + up) / 2, type == 4 ? paeth(left, up, corner) : 0};
    out[i] = std::uint8_t(row[i] - prediction[type]);
  }
}

// The usual choice: the filter whose row has the least sum of absolute signed bytes.
long row_cost(const std::uint8_t* row, int count) {
  long sum = 0;
  for (int i = 0; i < count; ++i) sum += std::abs(int(std::int8_t(row[i])));
  return sum;
}

PngBytes filtered_rows(const Image& image) {
  const int count = image.width * image.channels;
  PngBytes out, candidate(count), best(count);
  out.reserve(std::size_t(count + 1) * image.height);
  for (int y = 0; y < image.height; ++y) {
    long best_cost = -1;
    int best_type = 0;
    for (int type = 0; type < 5; ++type) {
      filter_row(type, image.at(0, y), y > 0 ? image.at(0, y - 1) : nullptr, count, image.channels, candidate.data());
      const long cost = row_cost(candidate.data(), count);
      if (best_cost >= 0 && cost >= best_cost) continue;
      best_cost = cost, best_type = type;
      best.swap(candidate);
    }
    out.push_back(std::uint8_t(best_type));
    out.insert(out.end(), best.begin(), best.end());
  }
  return out;
}

PngBytes deflated(const PngBytes& in) {
  uLongf size = compressBound(uLong(in.size()));
  PngBytes out(size);
  if (compress2(out.data(), &size, in.data(), uLong(in.size()), 6) != Z_OK) throw FileError("encode_png: zlib ran out of memory");
  out.resize(size);
  return out;
}

}  // namespace

std::vector<std::uint8_t> encode_png(const Image& image) {
  const bool fits = image.width > 0 && image.height > 0 && (image.channels == 1 || image.channels == 3) &&
                    image.pixels.size() == std::size_t(image.width) * image.height * image.channels;
  if (!fits) {
    throw ShapeError(fmt::format("encode_png: {}x{} with {} channels and {} bytes: needs 1 or 3 channels and width*height*channels bytes",
                                 image.width, image.height, image.channels, image.pixels.size()));
  }
  PngBytes header;
  put_be32(header, std::uint32_t(image.width));
  put_be32(header, std::uint32_t(image.height));
  header.insert(header.end(), {8, std::uint8_t(image.channels == 3 ? 2 : 0), 0, 0, 0});  // bits, color type, deflate, filters, not interlaced
  PngBytes out = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
  put_chunk(out, "IHDR", header);
  put_chunk(out, "IDAT", deflated(filtered_rows(image)));
  put_chunk(out, "IEND", {});
  return out;
}

void write_png(const std::filesystem::path& path, const Image& image) {
  const PngBytes bytes = encode_png(image);
  write_atomically(path, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

}  // namespace fm
