// Speed of the input of a training: images from JPEG files with the center crop, and latents from a cache.
//
//   bench_data [--workers N] [--images FOLDER]       FOLDER: contains one folder of images per class. Without it, synthetic images of 500x400
//                                                    (needs libjpeg-turbo)
//
// Files are read once before they are timed, so they come from the system's cache and not from the disk. Each time is the best of three.
#include <fmt/format.h>
#ifdef FM_HAVE_TURBOJPEG
#include <turbojpeg.h>
#endif

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <functional>

#include "data/image_file.h"
#include "data/image_folder.h"
#include "data/latent_cache.h"
#include "data/loader.h"
#include "data/pillow_resize.h"
#include "data/threads.h"
#include "tensor/error.h"
#include "tensor/io/atomic_file.h"
#include "tensor/random/fill.h"
#include "tests/support/temp_folder.h"

namespace {

using namespace fm;
namespace fs = std::filesystem;

// The best of three times: elapsed time, and processor time of all threads. Other work on the machine disturbs processor time less.
struct Seconds {
  double wall = 1e30, processor = 1e30;
};

Seconds seconds(const std::function<void()>& f) {
  Seconds best;
  for (int i = 0; i < 3; ++i) {
    const auto start = std::chrono::steady_clock::now();
    const std::clock_t used = std::clock();
    f();
    best.wall = std::min(best.wall, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    best.processor = std::min(best.processor, double(std::clock() - used) / CLOCKS_PER_SEC);
  }
  return best;
}

// Writes images of blocks and gradients with some noise, which take about as many bytes as photographs of ImageNet.
void draw_jpegs([[maybe_unused]] const fs::path& folder, [[maybe_unused]] int count) {
#ifdef FM_HAVE_TURBOJPEG
  fs::create_directories(folder / "class");
  for (int n = 0; n < count; ++n) {
    Image image = blank_image(500, 400, 3);
    for (int y = 0; y < 400; ++y)
      for (int x = 0; x < 500; ++x) {
        const auto i = std::uint64_t(y * 500 + x);
        const std::uint32_t noise = RandomKey{std::uint64_t(n), 1}.block(i)[0];
        const int base = int(RandomKey{std::uint64_t(n), 2}.block(std::uint64_t(y / 25 * 20 + x / 25))[0] >> 25) + (x + y) / 10;
        for (int c = 0; c < 3; ++c) image.at(x, y)[c] = std::uint8_t(std::min(255, base + 8 * c + int(noise >> (8 * c) & 31)));
      }
    unsigned char* bytes = nullptr;
    unsigned long size = 0;
    tjhandle handle = tjInitCompress();
    tjCompress2(handle, image.pixels.data(), 500, 0, 400, TJPF_RGB, &bytes, &size, TJSAMP_420, 92, 0);
    write_atomically(folder / "class" / fmt::format("{:03}.jpg", n), {reinterpret_cast<const char*>(bytes), size});
    tjFree(bytes);
    tjDestroy(handle);
  }
#else
  throw ConfigError("this build has no libjpeg-turbo to write synthetic images with: give --images FOLDER");
#endif
}

void pictures(const fs::path& folder, std::int64_t workers) {
  const auto source = std::make_shared<ImageFolder>(folder, PictureOptions{.size = 256, .channels = 3}, Split::train);
  const std::int64_t n = std::min<std::int64_t>(source->count(), 256);
  std::vector<std::string> files;
  std::vector<Image> images(static_cast<std::size_t>(n));
  double bytes = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    files.push_back(read_file(source->files()[std::size_t(i)].path));
    bytes += double(files.back().size());
  }
  const auto line = [&](const char* what, const Seconds& s) {
    fmt::print("  {:<24} {:8.1f} images/s  {:6.2f} ms of processor time each\n", what, double(n) / s.wall, 1e3 * s.processor / double(n));
  };
  const auto each = [&](const auto& f) { return seconds([&] { on_threads(n, workers, f); }); };
  line("JPEG", each([&](std::int64_t i) {
         const std::string& f = files[std::size_t(i)];
         images[std::size_t(i)] = decode_image({reinterpret_cast<const std::uint8_t*>(f.data()), f.size()}, "bench", 3);
       }));
  line("center crop to 256", each([&](std::int64_t i) { center_crop(images[std::size_t(i)], 256); }));
  line("random crop of 384", each([&](std::int64_t i) { random_crop(images[std::size_t(i)], 384, 256, {}); }));
  Loader loader(source, {.seed = 1, .flip = true, .workers = int(workers)});
  line("loader, all parts", seconds([&] { loader.batch(0, n); }));
  fmt::print("  ({} images, {:.0f} KiB each, the first of {}x{})\n", n, bytes / double(n) / 1024, images[0].width, images[0].height);
}

void latents(const fs::path& folder, DType dtype, std::int64_t workers) {
  const std::int64_t count = 256;
  const Shape latent{768, 16, 16};
  LatentCacheInfo info{.encoder = "bench",
                       .preprocessing = {},
                       .data = "bench",
                       .image_size = 256,
                       .channels = 3,
                       .class_names = {"a"},
                       .labels = std::vector<std::int64_t>(std::size_t(count)),
                       .latent = latent,
                       .dtype = dtype,
                       .mirrored = true,
                       .shard_size = 128};
  LatentCacheWriter writer(folder, info, [](const std::string&) {});
  double moments_seconds = 0;
  for (const LatentShard& s : writer.missing()) {
    const Tensor z = random_normal_rows(consecutive(s.first, s.count), latent, {1, 1});
    Moments m(latent);
    const auto start = std::chrono::steady_clock::now();
    m.add(z);
    moments_seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    writer.write(s, z, z, m);
  }
  writer.finish();
  const LatentCache cache(folder);
  const Tensor out = Tensor::empty({count, 768, 16, 16});
  const Seconds s = seconds([&] {
    const auto rows = epoch_rows(count, 1, 0, count);
    on_threads(count, workers, [&](std::int64_t i) {
      const EpochRow row = rows[std::size_t(i)];
      cache.read(row.index, is_mirrored(1, row), out.data<float>() + i * latent.numel());
    });
  });
  const double read = double(count * latent.numel()) * double(size_of(dtype));
  fmt::print("  {:<4} {:8.0f} latents/s, {:.2f} GB/s, {:.2f} ms of processor time each; moments {:.0f} latents/s\n", name_of(dtype),
             double(count) / s.wall, 1e-9 * read / s.wall, 1e3 * s.processor / double(count), double(count) / moments_seconds);
}

}  // namespace

int main(int argc, char** argv) {
  std::int64_t workers = 2;
  std::string images;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (std::strcmp(argv[i], "--workers") == 0)
      workers = std::atoi(argv[i + 1]);
    else if (std::strcmp(argv[i], "--images") == 0)
      images = argv[i + 1];
  }
  try {
    const TempFolder folder;
    fmt::print("images, {} threads:\n", workers);
    if (images.empty()) draw_jpegs(folder / "pictures", 128);
    pictures(images.empty() ? folder / "pictures" : fs::path(images), workers);
    fmt::print("latents 768x16x16 from a cache, {} threads:\n", workers);
    for (DType dtype : {DType::bf16, DType::f32}) latents(folder / name_of(dtype), dtype, workers);
  } catch (const std::exception& e) {
    fmt::print(stderr, "error: {}\n", e.what());
    return 1;
  }
}
