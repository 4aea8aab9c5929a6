// The functions that g++ and clang call at memory accesses in code compiled with -fsanitize=thread. Their own library, libtsan, is not linked: it
// covers the host's threads, not a kernel's.
#include <cstdint>
#include <cstring>

#include "races.h"

using host_cuda::Access;

namespace {

inline void note(const void* p, std::size_t bytes, Access access) {
  if (host_cuda::watching && host_cuda::watched.has(p)) host_cuda::check_access(p, bytes, access);
}

}  // namespace

extern "C" {

#define FM_SIZED(n)                                                          \
  void __tsan_read##n(void* p) { note(p, n, Access::read); }                 \
  void __tsan_write##n(void* p) { note(p, n, Access::write); }               \
  void __tsan_unaligned_read##n(const void* p) { note(p, n, Access::read); } \
  void __tsan_unaligned_write##n(void* p) { note(p, n, Access::write); }     \
  void __tsan_volatile_read##n(void* p) { note(p, n, Access::read); }        \
  void __tsan_volatile_write##n(void* p) { note(p, n, Access::write); }      \
  void __tsan_read_write##n(void* p) { note(p, n, Access::read), note(p, n, Access::write); }
FM_SIZED(1)
FM_SIZED(2)
FM_SIZED(4)
FM_SIZED(8)
FM_SIZED(16)

void __tsan_read_range(const void* p, std::size_t bytes) { note(p, bytes, Access::read); }
void __tsan_write_range(void* p, std::size_t bytes) { note(p, bytes, Access::write); }
void* __tsan_memcpy(void* to, const void* from, std::size_t bytes) {
  note(from, bytes, Access::read);
  note(to, bytes, Access::write);
  return std::memcpy(to, from, bytes);
}
void* __tsan_memmove(void* to, const void* from, std::size_t bytes) {
  note(from, bytes, Access::read);
  note(to, bytes, Access::write);
  return std::memmove(to, from, bytes);
}
void* __tsan_memset(void* p, int value, std::size_t bytes) {
  note(p, bytes, Access::write);
  return std::memset(p, value, bytes);
}

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_read(void**) {}
void __tsan_vptr_update(void**, void*) {}

// std::atomic of host code, and of kernels if they have any.
#define FM_ATOMIC_UPDATE(bits, name)                                                                              \
  std::uint##bits##_t __tsan_atomic##bits##_##name(volatile std::uint##bits##_t* p, std::uint##bits##_t x, int) { \
    note(const_cast<std::uint##bits##_t*>(p), bits / 8, Access::atomic);                                          \
    return __atomic_##name(p, x, __ATOMIC_SEQ_CST);                                                               \
  }
#define FM_ATOMIC_COMPARE(bits, name)                                                                                                      \
  int __tsan_atomic##bits##_compare_exchange_##name(volatile std::uint##bits##_t* p, std::uint##bits##_t* old, std::uint##bits##_t x, int, \
                                                    int) {                                                                                 \
    note(const_cast<std::uint##bits##_t*>(p), bits / 8, Access::atomic);                                                                   \
    return __atomic_compare_exchange_n(p, old, x, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                                              \
  }
#define FM_ATOMIC(bits)                                                                                             \
  std::uint##bits##_t __tsan_atomic##bits##_load(const volatile std::uint##bits##_t* p, int) {                      \
    return __atomic_load_n(p, __ATOMIC_SEQ_CST);                                                                    \
  }                                                                                                                 \
  void __tsan_atomic##bits##_store(volatile std::uint##bits##_t* p, std::uint##bits##_t x, int) {                   \
    note(const_cast<std::uint##bits##_t*>(p), bits / 8, Access::atomic);                                            \
    __atomic_store_n(p, x, __ATOMIC_SEQ_CST);                                                                       \
  }                                                                                                                 \
  std::uint##bits##_t __tsan_atomic##bits##_exchange(volatile std::uint##bits##_t* p, std::uint##bits##_t x, int) { \
    note(const_cast<std::uint##bits##_t*>(p), bits / 8, Access::atomic);                                            \
    return __atomic_exchange_n(p, x, __ATOMIC_SEQ_CST);                                                             \
  }                                                                                                                 \
  FM_ATOMIC_UPDATE(bits, fetch_add)                                                                                 \
  FM_ATOMIC_UPDATE(bits, fetch_sub)                                                                                 \
  FM_ATOMIC_UPDATE(bits, fetch_and)                                                                                 \
  FM_ATOMIC_UPDATE(bits, fetch_or)                                                                                  \
  FM_ATOMIC_UPDATE(bits, fetch_xor)                                                                                 \
  FM_ATOMIC_COMPARE(bits, strong)                                                                                   \
  FM_ATOMIC_COMPARE(bits, weak)
FM_ATOMIC(8)
FM_ATOMIC(16)
FM_ATOMIC(32)
FM_ATOMIC(64)
void __tsan_atomic_thread_fence(int) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
void __tsan_atomic_signal_fence(int) { __atomic_signal_fence(__ATOMIC_SEQ_CST); }

}  // extern "C"
