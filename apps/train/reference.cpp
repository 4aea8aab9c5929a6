#include "apps/train/reference.h"

#include <fmt/format.h>

#include <algorithm>

#include "apps/support/signals.h"
#include "apps/train/training_run.h"
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

Judged judge_images(const Judge& judge, const Tensor& images) {
  const PauseTape pause;
  const Var h = judge.features(images.to(default_device()));
  return {h.value().to(Device{}), argmax(judge.classify(h).value(), 1).to_vector<std::int64_t>()};
}

std::int64_t judged_at_a_time(std::int64_t pixels) {
  return std::clamp<std::int64_t>((std::int64_t{1} << 22) / std::max<std::int64_t>(1, pixels), 1, 250);
}

namespace {

std::vector<std::uint8_t> read_planes(const SampleSource& source, const Rows& rows) {
  const std::int64_t size = source.shape().numel();
  picture_size(source, "an evaluation of images");
  std::vector<std::uint8_t> planes(rows.size() * static_cast<std::size_t>(size));
  std::vector<std::string> problems(rows.size());  // each picture that cannot be read is counted
  check_interrupt();
  const HoldInterrupts hold;  // a stop is no picture that cannot be read
  parallel_for(static_cast<std::int64_t>(rows.size()), 1 << 20, [&](std::int64_t i) {
    try {
      source.read(rows[static_cast<std::size_t>(i)], {}, planes.data() + i * size);
    } catch (const std::exception& e) {
      problems[static_cast<std::size_t>(i)] = e.what();
    }
  });
  std::erase(problems, std::string());
  if (!problems.empty())
    throw FileError(fmt::format("the test split has {} pictures that cannot be read: {}", problems.size(), problems.front()));
  return planes;
}

Tensor as_images(const std::vector<std::uint8_t>& planes, const SampleSource& source) {
  const Shape s = source.shape();
  return Tensor::from(planes, {static_cast<std::int64_t>(planes.size()) / s.numel(), s[0], s[1], s[2]})
             .to(DType::f32) /
         255.0;
}

Rows part(const Rows& rows, std::int64_t begin, std::int64_t n) {
  return {rows.begin() + begin, rows.begin() + std::min<std::int64_t>(begin + n, static_cast<std::int64_t>(rows.size()))};
}

// f(rows) for some rows at a time.
template <class F>
void for_parts(const SampleSource& source, const Rows& rows, const F& f) {
  const std::int64_t n = judged_at_a_time(source.shape()[1] * source.shape()[2]);
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(rows.size()); i += n) {
    throw_if_stop_requested();
    f(part(rows, i, n));
  }
}

std::string fingerprint(const SampleSource& source, const Reference& r, const std::string& judge_id) {
  const Shape s = source.shape();
  std::string what = fmt::format("reference 1, judge {}, {}x{}x{}, {} of {} images", judge_id, s[0], s[1], s[2], r.rows.size(), source.count());
  for (const std::string& name : source.class_names()) what += fmt::format(", {} {}", name.size(), name);
  std::uint32_t crc = crc32c(what);
  crc = crc32c({reinterpret_cast<const char*>(r.labels.data()), r.labels.size() * sizeof(std::int64_t)}, crc);
  for_parts(source, r.rows, [&](const Rows& rows) {
    const std::vector<std::uint8_t> planes = read_planes(source, rows);
    crc = crc32c({reinterpret_cast<const char*>(planes.data()), planes.size()}, crc);
  });
  return fmt::format("{:08x}", crc);
}

NamedTensors tensors_of(const Reference& r) {
  return {{"features", r.features}, {"classes", Tensor::from(r.classes, {static_cast<std::int64_t>(r.classes.size())})}};
}

// Nothing of the file is believed that its checksum does not cover.
bool read_cache(const std::filesystem::path& file, Reference& r, Logger& log) {
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
    if (read.features.rank() != 2 || read.features.dim(0) != n || read.features.dtype() != DType::f32 || classes.shape() != Shape{n})
      throw FileError("other sizes");
    read.classes = classes.to_vector<std::int64_t>();
    if (says("id") != r.id || says("checksum") != checksum(tensors_of(read))) throw FileError("wrong checksum");
    r.features = read.features, r.classes = read.classes;
    return true;
  } catch (const Error& e) {
    log.warning("{}: {}: the features are computed again", file.string(), e.what());
    return false;
  }
}

void write_cache(const std::filesystem::path& file, const Reference& r, const std::string& judge_id, Logger& log) {
  try {
    std::filesystem::create_directories(file.parent_path());
    save_safetensors(file, tensors_of(r), {{"id", r.id}, {stage_name::judge, judge_id}, {"checksum", checksum(tensors_of(r))}});
  } catch (const std::exception& e) {
    log.warning("the reference's features are not kept: {}", e.what());
  }
}

void compute(const SampleSource& source, const Judge& judge, Reference& r, Logger& log) {
  std::vector<Tensor> features;
  for_parts(source, r.rows, [&](const Rows& rows) {
    Judged judged = judge_images(judge, read_rows(source, rows));
    features.push_back(judged.features);
    r.classes.insert(r.classes.end(), judged.classes.begin(), judged.classes.end());
    log.status(fmt::format("reference: {}/{} images", r.classes.size(), r.rows.size()));
  });
  log.end_status();
  r.features = concat(features, 0);
  if (const std::int64_t bad = first_row_not_finite(r.features); bad >= 0)
    throw Error(fmt::format("the judge's features of test image {} are not finite: its weights are damaged or its training diverged",
                            r.rows[static_cast<std::size_t>(bad)]));
}

}  // namespace

Tensor read_rows(const SampleSource& source, const Rows& rows) { return as_images(read_planes(source, rows), source); }

Reference load_reference(const SampleSource& source, std::int64_t count, const Judge& judge, const std::string& judge_id,
                         const std::filesystem::path& cache, Logger& log) {
  Reference r;
  r.rows = balanced_rows(source, count);
  r.images_of_split = source.count();
  for (const std::int64_t i : r.rows) r.labels.push_back(source.label(i));
  r.id = fingerprint(source, r, judge_id);
  const auto file = cache / ("reference-" + r.id + ".safetensors");
  if (!read_cache(file, r, log)) {
    compute(source, judge, r, log);
    write_cache(file, r, judge_id, log);
  }
  std::int64_t right = 0;
  for (std::size_t i = 0; i < r.labels.size(); ++i) right += r.labels[i] == r.classes[i];
  r.accuracy = static_cast<double>(right) / static_cast<double>(r.labels.size());
  r.fit = fit_gaussian(r.features);
  return r;
}

}  // namespace fm
