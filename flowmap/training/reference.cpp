#include "flowmap/training/reference.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "flowmap/training/chain/training_run.h"
#include "tensor/error.h"
#include "tensor/interrupt.h"
#include "tensor/io/crc32c.h"
#include "tensor/narrow.h"
#include "tensor/ops/copy.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/reduce.h"
#include "tensor/parallel.h"

namespace fm {
using Rows = std::vector<std::int64_t>;

std::int64_t seen_at_a_time(const Shape& sample) {
  const std::int64_t places = sample.rank() == 3 ? sample[1] * sample[2] : sample.numel();
  return std::clamp<std::int64_t>((std::int64_t{1} << 22) / std::max<std::int64_t>(1, places), 1, 250);
}

namespace {

// The bytes of these samples as the source stores them, one sample after another.
std::vector<std::uint8_t> read_bytes(const SampleSource& source, const Rows& rows) {
  const std::int64_t size = source.shape().numel() * static_cast<std::int64_t>(size_of(source.dtype()));
  std::vector<std::uint8_t> bytes(rows.size() * static_cast<std::size_t>(size));
  std::vector<std::string> problems(rows.size());  // the problem of each unreadable sample
  check_interrupt();
  const HoldInterrupts hold;  // else an interrupt would look like an unreadable sample
  parallel_for(static_cast<std::int64_t>(rows.size()), 1 << 20, [&](std::int64_t i) {
    try {
      source.read(rows[static_cast<std::size_t>(i)], {}, bytes.data() + i * size);
    } catch (const std::exception& e) {
      problems[static_cast<std::size_t>(i)] = e.what();
    }
  });
  std::erase(problems, std::string());
  if (!problems.empty())
    throw FileError(fmt::format("the test split has {} images that cannot be read: {}", problems.size(), problems.front()));
  return bytes;
}

Tensor as_samples(const std::vector<std::uint8_t>& bytes, std::int64_t n, const SampleSource& source) {
  const Shape all = source.shape().rows(n);
  if (source.dtype() == DType::u8) return Tensor::from(bytes, all).to(DType::f32) / 255.0;
  const Tensor out = Tensor::empty(all, DType::f32, Device{});
  std::memcpy(out.data<float>(), bytes.data(), bytes.size());
  return out;
}

Rows part(const Rows& rows, std::int64_t begin, std::int64_t n) {
  return {rows.begin() + begin, rows.begin() + std::min<std::int64_t>(begin + n, static_cast<std::int64_t>(rows.size()))};
}

// Calls f with all rows, some at a time.
template <class F>
void for_parts(const SampleSource& source, const Rows& rows, const F& f) {
  const std::int64_t n = seen_at_a_time(source.shape());
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(rows.size()); i += n) {
    check_interrupt();
    f(part(rows, i, n));
  }
}

std::string fingerprint(const SampleSource& source, const Reference& r, const Features& features) {
  const Shape s = source.shape();
  std::string what = fmt::format("reference 1, {} {}, {}, {} of {} images", features.name, features.fingerprint, fmt::join(s.begin(), s.end(), "x"), r.rows.size(), source.count());
  for (const std::string& name : source.class_names()) what += fmt::format(", {} {}", name.size(), name);
  std::uint32_t crc = crc32c(what);
  crc = crc32c({reinterpret_cast<const char*>(r.labels.data()), r.labels.size() * sizeof(std::int64_t)}, crc);
  for_parts(source, r.rows, [&](const Rows& rows) {
    const std::vector<std::uint8_t> bytes = read_bytes(source, rows);
    crc = crc32c({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, crc);
  });
  return fmt::format("{:08x}", crc);
}

NamedTensors tensors_of(const Reference& r) {
  NamedTensors out{{"features", r.features}, {"classes", Tensor::from(r.classes, {static_cast<std::int64_t>(r.classes.size())})}};
  if (r.spatial.defined()) out.emplace_back("spatial", r.spatial);
  return out;
}

// Reads features and classes from the file. Returns false if the file does not exist, and with a warning if the contents do not match their checksum.
bool read_cache(const std::filesystem::path& file, Reference& r, Messages& log) {
  std::error_code ignored;
  if (!std::filesystem::exists(file, ignored)) return false;
  try {
    const Safetensors stored(file);
    const auto says = [&](const char* key) {
      const auto found = stored.metadata().find(key);
      return found == stored.metadata().end() ? std::string() : found->second;
    };
    const auto n = static_cast<std::int64_t>(r.rows.size());
    Reference read;
    read.features = stored["features"].clone();
    const Tensor classes = stored["classes"];
    if (read.features.rank() != 2 || read.features.dim(0) != n || read.features.dtype() != DType::f32 || (classes.numel() > 0 && classes.shape() != Shape{n}))
      throw FileError("other sizes");
    read.classes = classes.to_vector<std::int64_t>();
    if (stored.has("spatial")) read.spatial = stored["spatial"].clone();
    if (read.spatial.defined() && (read.spatial.rank() != 2 || read.spatial.dim(0) != n)) throw FileError("other sizes");
    if (says("id") != r.id || says("checksum") != checksum(tensors_of(read))) throw FileError("wrong checksum");
    r.features = read.features, r.classes = read.classes, r.spatial = read.spatial;
    return true;
  } catch (const Error& e) {
    log.warning("{}: {}: the features are computed again", file.string(), e.what());
    return false;
  }
}

void write_cache(const std::filesystem::path& file, const Reference& r, const Features& features, Messages& log) {
  try {
    std::filesystem::create_directories(file.parent_path());
    save_safetensors(file, tensors_of(r), {{"id", r.id}, {features.name, features.fingerprint}, {"checksum", checksum(tensors_of(r))}});
  } catch (const std::exception& e) {
    log.warning("the reference's features are not stored: {}", e.what());
  }
}

void compute(const SampleSource& source, const Features& features, Reference& r, Messages& log) {
  SeenParts parts;
  std::size_t done = 0;
  for_parts(source, r.rows, [&](const Rows& rows) {
    parts.add(features.see(read_rows(source, rows)));
    log.status(fmt::format("reference: {}/{} images", done += rows.size(), r.rows.size()));
  });
  log.end_status();
  const Seen all = parts.joined();
  r.features = all.vectors, r.spatial = all.spatial, r.classes = all.classes;
  if (const std::int64_t bad = first_row_not_finite(r.features); bad >= 0)
    throw Error(fmt::format("the {}'s features of test image {} are not finite: its weights are damaged or its training diverged",
                            features.name, r.rows[static_cast<std::size_t>(bad)]));
}

}  // namespace

Tensor read_rows(const SampleSource& source, const Rows& rows) {
  return as_samples(read_bytes(source, rows), static_cast<std::int64_t>(rows.size()), source);
}

Reference load_reference(const SampleSource& source, std::int64_t count, const Features& features, const std::filesystem::path& cache, Messages& log) {
  Reference r;
  r.rows = balanced_rows(source, count);
  for (const std::int64_t i : r.rows) r.labels.push_back(source.label(i));
  r.id = fingerprint(source, r, features);
  const auto file = cache / ("reference-" + r.id + ".safetensors");
  if (!read_cache(file, r, log)) {
    compute(source, features, r, log);
    write_cache(file, r, features, log);
  }
  std::int64_t right = 0;
  for (std::size_t i = 0; i < r.classes.size(); ++i) right += r.labels[i] == r.classes[i];
  r.accuracy = r.classes.empty() ? std::nan("") : static_cast<double>(right) / static_cast<double>(r.labels.size());
  r.fit = fit_gaussian(r.features);
  if (r.spatial.defined()) r.spatial_fit = fit_gaussian(r.spatial);
  return r;
}

}  // namespace fm
