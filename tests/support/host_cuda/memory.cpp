#include "memory.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "executor.h"
#include "sanitizer.h"
#include "watch.h"

#ifdef FM_ASAN
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, bytes) static_cast<void>(p)
#define ASAN_UNPOISON_MEMORY_REGION(p, bytes) static_cast<void>(p)
#endif

namespace host_cuda {
namespace {

constexpr std::size_t red_zone = 256;
constexpr unsigned char poison = 0xff, red = 0xad;

struct Arena {
  std::byte* base = nullptr;                         // the addresses that programs use
  std::byte* alias = nullptr;                        // the same pages, always open: for this file and for copies
  std::size_t top = 0;                               // end of the memory that was handed out so far
  struct Block {
    std::size_t bytes, whole;                        // requested size; size with both red zones
  };
  std::map<std::size_t, Block> live;                 // live blocks by offset
  std::multimap<std::size_t, std::size_t> free;      // free blocks: offset of the first red zone, by size with red zones
  std::size_t used = 0;
};

constexpr int most_devices = 8;
Arena arenas[most_devices];
int open_count = 0;

std::size_t padded(std::size_t bytes) { return (bytes + 255) / 256 * 256 + 2 * red_zone; }

void protect(int rights) {
  for (Arena& a : arenas)
    if (a.base && a.top) mprotect(a.base, (a.top + 4095) / 4096 * 4096, rights);
}

void on_fault(int, siginfo_t* info, void*) {
  const char* what = device_of(info->si_addr) >= 0 ? "host_cuda: the host touched device memory: copy it with cudaMemcpyAsync\n" : "host_cuda: segmentation fault\n";
  [[maybe_unused]] const auto n = write(2, what, std::strlen(what));
  signal(SIGSEGV, SIG_DFL);
  raise(SIGSEGV);
}

Arena& arena(int device) {
  Arena& a = arenas[device];
  if (a.base) return a;
  const int file = memfd_create("host_cuda", MFD_CLOEXEC);
  if (file < 0 || ftruncate(file, static_cast<off_t>(device_bytes)) != 0)
    throw Report("host_cuda: cannot create the 4 GiB of a simulated device's memory: check ulimit -n and -f");
  void* p = mmap(nullptr, device_bytes, PROT_NONE, MAP_SHARED | MAP_NORESERVE, file, 0);
  void* q = mmap(nullptr, device_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, file, 0);
  if (p == MAP_FAILED || q == MAP_FAILED) throw Report("host_cuda: cannot map a simulated device's memory, two ranges of 4 GiB: raise ulimit -v");
  close(file);
  a.base = static_cast<std::byte*>(p);
  a.alias = static_cast<std::byte*>(q);
  struct sigaction act = {};
  act.sa_sigaction = on_fault;
  act.sa_flags = SA_SIGINFO;
  sigaction(SIGSEGV, &act, nullptr);
  if (watcher) watcher->arena(a.base);
  return a;
}

bool all_red(const unsigned char* p, std::size_t bytes) { return *p == red && std::memcmp(p, p + 1, bytes - 1) == 0; }

void check_zones(const Arena& a, std::size_t at, const Arena::Block& b) {
  const auto* p = reinterpret_cast<const unsigned char*>(a.alias + at);
  if (all_red(p - red_zone, red_zone) && all_red(p + b.bytes, b.whole - red_zone - b.bytes)) return;
  for (std::size_t i = 1; i <= red_zone; ++i)
    if (p[-static_cast<std::ptrdiff_t>(i)] != red)
      throw Report("a kernel wrote to an address " + std::to_string(i) + " bytes before an allocation of " + std::to_string(b.bytes));
  for (std::size_t i = b.bytes; i < b.whole - red_zone; ++i)
    if (p[i] != red)
      throw Report("a kernel wrote to an address " + std::to_string(i - b.bytes) + " bytes beyond the end of an allocation of " + std::to_string(b.bytes));
}

}  // namespace

int device_count() {
  const char* text = std::getenv("FLOWMAP_HOST_CUDA_DEVICES");
  const int n = text ? std::atoi(text) : 2;
  return n < 0 ? 0 : n > most_devices ? most_devices : n;
}

DeviceAccess::DeviceAccess() {
  if (open_count++ == 0) protect(PROT_READ | PROT_WRITE);
}
DeviceAccess::~DeviceAccess() {
  if (--open_count == 0) protect(PROT_NONE);
}

void* take_block(int device, std::size_t bytes) {
  Arena& a = arena(device);
  std::size_t first = a.top, whole = padded(bytes);
  if (const auto it = a.free.lower_bound(whole); it != a.free.end() && it->first <= 2 * whole) {
    whole = it->first;
    first = it->second;
    a.free.erase(it);
  } else {
    if (a.top + whole > device_bytes) return nullptr;
    a.top += whole;
    if (open_count > 0) protect(PROT_READ | PROT_WRITE);
  }
  const std::size_t at = first + red_zone;
  a.live[at] = {bytes, whole};
  a.used += bytes;
  std::memset(a.alias + first, red, whole);
  std::memset(a.alias + at, poison, bytes);
  ASAN_POISON_MEMORY_REGION(a.base + first, whole);
  ASAN_UNPOISON_MEMORY_REGION(a.base + at, bytes);
  if (watcher) watcher->taken(a.base + at, bytes);
  return a.base + at;
}

void give_block(int device, void* p) {
  Arena& a = arena(device);
  const auto it = a.live.find(static_cast<std::size_t>(static_cast<std::byte*>(p) - a.base));
  if (device_of(p) != device || it == a.live.end()) throw Report("cudaFreeAsync: the address is not a live allocation of this device");
  check_zones(a, it->first, it->second);
  std::memset(a.alias + it->first, poison, it->second.bytes);
  ASAN_POISON_MEMORY_REGION(p, it->second.bytes);
  if (watcher) watcher->given(p, it->second.bytes);
  a.used -= it->second.bytes;
  a.free.emplace(it->second.whole, it->first - red_zone);
  a.live.erase(it);
}

void check_red_zones(int device) {
  const Arena& a = arenas[device];
  if (!a.base) return;
  for (const auto& [at, b] : a.live) check_zones(a, at, b);
}

bool inside_block(int device, const void* p, std::size_t bytes) {
  const Arena& a = arenas[device];
  if (device_of(p) != device) return false;
  const auto at = static_cast<std::size_t>(static_cast<const std::byte*>(p) - a.base);
  auto it = a.live.upper_bound(at);
  if (it == a.live.begin()) return false;
  it = std::prev(it);
  return at + bytes <= it->first + it->second.bytes;
}

int device_of(const void* p) {
  for (int d = 0; d < most_devices; ++d) {
    const auto* b = static_cast<const std::byte*>(p);
    if (arenas[d].base && b >= arenas[d].base && b < arenas[d].base + device_bytes) return d;
  }
  return -1;
}

std::string describe(const void* p) {
  const int d = device_of(p);
  if (d < 0) return "";
  const Arena& a = arenas[d];
  const auto at = static_cast<std::size_t>(static_cast<const std::byte*>(p) - a.base);
  auto it = a.live.upper_bound(at + red_zone);
  if (it == a.live.begin()) return "memory that is not allocated";
  it = std::prev(it);
  if (at >= it->first + it->second.whole - red_zone) return "memory that is not allocated or was freed";
  return "byte " + std::to_string(static_cast<std::ptrdiff_t>(at - it->first)) + " of an allocation of " + std::to_string(it->second.bytes) + " bytes";
}

void* open_address(void* p) {
  const int d = device_of(p);
  return d < 0 ? p : arenas[d].alias + (static_cast<std::byte*>(p) - arenas[d].base);
}

std::size_t used_bytes(int device) { return arenas[device].used; }

}  // namespace host_cuda
