// Names of kernels for reports. Kernels are local symbols, whose names are only in the program's file.
#include <cxxabi.h>
#include <elf.h>
#include <link.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <vector>

#include "executor.h"

namespace host_cuda {
namespace {

std::string demangled(const char* symbol) {
  int status = 0;
  char* text = abi::__cxa_demangle(symbol, nullptr, nullptr, &status);
  const std::string out = text ? text : symbol;
  std::free(text);
  return out;
}

}  // namespace

std::string name_of_kernel(const void* kernel) {
  std::ifstream in("/proc/self/exe", std::ios::binary);
  const std::vector<char> file{std::istreambuf_iterator<char>(in), {}};
  std::uintptr_t base = 0;  // of the program itself, which is listed first
  dl_iterate_phdr([](dl_phdr_info* info, std::size_t, void* out) { return *static_cast<std::uintptr_t*>(out) = info->dlpi_addr, 1; },
                  &base);
  const auto address = reinterpret_cast<std::uintptr_t>(kernel) - base;
  const auto* header = reinterpret_cast<const ElfW(Ehdr)*>(file.data());
  if (!kernel || file.size() < sizeof *header || std::memcmp(header->e_ident, ELFMAG, SELFMAG) != 0) return "a kernel";
  const auto* sections = reinterpret_cast<const ElfW(Shdr)*>(file.data() + header->e_shoff);
  for (int i = 0; i < header->e_shnum; ++i) {
    if (sections[i].sh_type != SHT_SYMTAB) continue;
    const auto* symbols = reinterpret_cast<const ElfW(Sym)*>(file.data() + sections[i].sh_offset);
    for (std::size_t k = 0; k < sections[i].sh_size / sizeof *symbols; ++k)
      if (symbols[k].st_value == address && (symbols[k].st_info & 0xf) == STT_FUNC)
        return demangled(file.data() + sections[sections[i].sh_link].sh_offset + symbols[k].st_name);
  }
  return "a kernel";
}

}  // namespace host_cuda
