#include "tensor/kernels/cpu/isa.h"

#include <cstdlib>
#include <string>

#include "tensor/error.h"

namespace fm::cpu {
namespace {

Isa best_isa() {
  if (isa_supported(Isa::avx512)) return Isa::avx512;
  if (isa_supported(Isa::avx2)) return Isa::avx2;
  return Isa::base;
}

Isa parse(const std::string& name) {
  for (Isa isa : {Isa::base, Isa::avx2, Isa::avx512})
    if (name == isa_name(isa)) return isa;
  throw ConfigError("FLOWMAP_ISA=" + name + ": use base, avx2 or avx512");
}

Isa checked(Isa isa) {
  if (!isa_supported(isa)) throw DeviceError(std::string("this machine has no ") + isa_name(isa) + "; use FLOWMAP_ISA=base");
  return isa;
}

Isa& active() {
  static Isa isa = [] {
    const char* wanted = std::getenv("FLOWMAP_ISA");
    return wanted && *wanted ? checked(parse(wanted)) : best_isa();
  }();
  return isa;
}

}  // namespace

Isa active_isa() { return active(); }

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::avx512: return "avx512";
    case Isa::avx2: return "avx2";
    default: return "base";
  }
}

bool isa_supported(Isa isa) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  switch (isa) {
    case Isa::avx512:
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
             __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("fma");
    case Isa::avx2: return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
    default: return true;
  }
#else
  return isa == Isa::base;
#endif
}

void set_active_isa(Isa isa) { active() = checked(isa); }

}  // namespace fm::cpu
