// Time to open collections of ImageNet's size: tar shards with existing indices, and a zip file with a dataset.json.
//
//   bench_shards [--samples 1281167] [--shards 10]
//
// The files are sparse: their lists of images are complete, but their images are holes, so that files of 140 GB take 150 MB of disk. Two real shards
// of 5,000 small samples each are indexed without an existing index. Times are those of the second opening; memory is the peak of the process.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>
#include <zlib.h>

#include <chrono>
#include <cstdlib>
#include <cstring>

#include "data/png.h"
#include "data/read_at.h"
#include "data/source.h"
#include "data/tar_index.h"
#include "data/tar_shards.h"
#include "data/zip_pictures.h"
#include "tensor/error.h"
#include "tensor/io/atomic_file.h"
#include "tensor/io/zip_records.h"
#include "tests/support/tar_bytes.h"
#include "tests/support/temp_folder.h"

namespace {

using namespace fm;
namespace fs = std::filesystem;

constexpr std::int64_t picture_bytes = 110'000, classes = 1000;

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

double peak_mib() {
  rusage use{};
  getrusage(RUSAGE_SELF, &use);
  return double(use.ru_maxrss) / 1024;
}

// Writes at any position of a file, also far beyond its end.
class Sparse {
 public:
  explicit Sparse(const fs::path& path) : file_(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644)) {
    if (file_ < 0) throw FileError("cannot make " + path.string());
  }
  ~Sparse() { close(file_); }
  void write(std::int64_t at, const std::string& bytes) {
    for (std::size_t done = 0; done < bytes.size();) {
      const ssize_t n = pwrite(file_, bytes.data() + done, bytes.size() - done, at + std::int64_t(done));
      if (n <= 0) throw FileError("cannot write a sparse file: is the disk of temporary files full?");
      done += std::size_t(n);
    }
  }
  void resize(std::int64_t size) {
    if (ftruncate(file_, size) != 0) throw FileError("cannot make a sparse file: does the file system of temporary files support files of this size?");
  }

 private:
  int file_;
};

std::string hollow_shards(const fs::path& folder, std::int64_t samples, std::int64_t shards) {
  for (std::int64_t s = 0; s < shards; ++s) {
    const fs::path shard = folder / fmt::format("{:03}.tar", s);
    TarIndex index;
    const std::int64_t first = s * samples / shards, end = (s + 1) * samples / shards;
    for (std::int64_t i = first; i < end; ++i)
      index.samples.push_back({std::uint64_t(512 + (i - first) * picture_bytes), 100'000, std::uint32_t(i), std::int32_t(i % classes), 0});
    Sparse(shard).resize((end - first + 1) * picture_bytes);
    const OpenFile file(shard);
    index.bytes = file.size(), index.changed = file.changed();
    write_atomically(shard.string() + ".flowmap-index", tar_index_bytes(index));
  }
  return fmt::format("{}/{{000..{:03}}}.tar", folder.string(), shards - 1);
}

void hollow_zip(const fs::path& path, std::int64_t samples) {
  using namespace zip_records;
  const auto name = [](std::int64_t i) { return fmt::format("{:05}/img{:08}.png", i / 1000, i); };
  std::string json = "{\"labels\": [", directory;
  for (std::int64_t i = 0; i < samples; ++i) json += fmt::format("{}[\"{}\", {}]", i ? ", " : "", name(i), i % classes);
  json += "]}";
  const auto entry = [&](const std::string& n, std::uint32_t crc, std::uint64_t size, std::int64_t place) {
    put(directory, central_signature), put(directory, std::uint16_t(45)), put(directory, std::uint16_t(45)), put(directory, std::uint32_t(0));
    put(directory, std::uint32_t(0)), put(directory, crc), put(directory, std::uint32_t(size)), put(directory, std::uint32_t(size));
    put(directory, std::uint16_t(n.size())), put(directory, std::uint16_t(12)), directory += std::string(10, '\0'), put(directory, in64);
    directory += n;
    put(directory, extra64), put(directory, std::uint16_t(8)), put(directory, std::uint64_t(place));
  };
  for (std::int64_t i = 0; i < samples; ++i) entry(name(i), 1, 100'000, i * picture_bytes);
  const std::int64_t at = samples * picture_bytes;
  const auto crc = std::uint32_t(crc32_z(0, reinterpret_cast<const Bytef*>(json.data()), json.size()));
  entry("dataset.json", crc, json.size(), at);
  std::string local;
  put(local, local_signature), local += std::string(22, '\0'), put(local, std::uint16_t(12)), put(local, std::uint16_t(0)), local += "dataset.json";
  Sparse file(path);
  file.write(at, local + json);
  const std::int64_t start = at + std::int64_t(local.size() + json.size()), end64 = start + std::int64_t(directory.size());
  std::string end;
  put(end, end64_signature), put(end, std::uint64_t(44)), put(end, std::uint32_t(0)), put(end, std::uint64_t(0));
  put(end, std::uint64_t(samples + 1)), put(end, std::uint64_t(samples + 1)), put(end, std::uint64_t(directory.size())), put(end, std::uint64_t(start));
  put(end, locator64_signature), put(end, std::uint32_t(0)), put(end, std::uint64_t(end64)), put(end, std::uint32_t(1));
  put(end, end_signature), put(end, std::uint64_t(0)), put(end, in64), put(end, in64), put(end, std::uint16_t(0));
  file.write(start, directory + end);
}

void report(const char* what, const std::function<std::shared_ptr<const SampleSource>()>& open) {
  open();
  const double start = now();
  const auto source = open();
  const double opened = now();
  const std::string id = fingerprint(*source);
  fmt::print("  {:<6} {} samples opened in {:.2f} s, fingerprint {} in {:.2f} s\n", what, source->count(), opened - start, id, now() - opened);
}

void first_time(const fs::path& folder) {
  const std::vector<std::uint8_t> picture = encode_png(blank_image(8, 8, 3, 7));
  for (int s = 0; s < 2; ++s) {
    std::vector<test::TarEntry> entries;
    for (int i = 0; i < 5000; ++i)
      entries.push_back({fmt::format("{:06}.png", i), {picture.begin(), picture.end()}}), entries.push_back({fmt::format("{:06}.cls", i), "5"});
    write_atomically(folder / fmt::format("real-{}.tar", s), test::tar_of(entries));
  }
  const double start = now();
  tar_store((folder / "real-{0..1}.tar").string(), "");
  fmt::print("  an index of 10000 small samples made in {:.3f} s\n", now() - start);
}

// Runs in a separate process, to measure its peak memory.
void run(const std::string& what, const fs::path& folder, std::int64_t samples, std::int64_t shards) {
  const double before = peak_mib();
  if (what == "tar") {
    const std::string names = fmt::format("{}/{{000..{:03}}}.tar", folder.string(), shards - 1);
    report("tar", [&] { return open_source("tar:" + names + "?size=256", Split::train); });
  } else {
    report("zip", [&] { return open_source("zip:" + (folder / "edm.zip").string() + "?size=256", Split::train); });
  }
  fmt::print("  {:<6} most memory {:.0f} MiB, of which {:.0f} the program itself ({} samples)\n", what, peak_mib(), before, samples);
}

}  // namespace

int main(int argc, char** argv) {
  std::int64_t samples = 1'281'167, shards = 10;
  std::string what, in;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (std::strcmp(argv[i], "--samples") == 0) samples = std::atoll(argv[i + 1]);
    else if (std::strcmp(argv[i], "--shards") == 0) shards = std::atoll(argv[i + 1]);
    else if (std::strcmp(argv[i], "--open") == 0) what = argv[i + 1];
    else if (std::strcmp(argv[i], "--in") == 0) in = argv[i + 1];
  }
  try {
    if (!what.empty()) return run(what, in, samples, shards), 0;
    const TempFolder folder;
    first_time(folder.path());
    hollow_shards(folder.path(), samples, shards);
    hollow_zip(folder / "edm.zip", samples);
    std::fflush(stdout);
    for (const char* kind : {"tar", "zip"})
      if (std::system(fmt::format("'{}' --open {} --in '{}' --samples {} --shards {}", argv[0], kind, folder.path().string(), samples, shards).c_str()) != 0)
        return 1;
  } catch (const std::exception& e) {
    fmt::print(stderr, "error: {}\n", e.what());
    return 1;
  }
}
