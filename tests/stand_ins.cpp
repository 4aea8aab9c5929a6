// stand_ins FOLDER [256|512] [tiny|full]: random weights under the names and in the layout of the published files, to try commands with.
// At full size about 9 GB.
// stand_ins FOLDER sit: the same for SiT, REPA, REG, MeanFlow and SD-VAE, always small.
#include <cstdio>
#include <cstring>

#include "tests/support/sit_stand_ins.h"

namespace {

int write_sit(const char* folder) {
  using namespace fm::test;
  const SitStandIns s = SitStandIns::write(folder);
  for (const auto* file : {&s.dit, &s.sit, &s.sit_plain, &s.repa, &s.reg, &s.mean_flow_z, &s.mean_flow_hz, &s.mean_flow_early, &s.mean_flow_flax, &s.vae, &s.vae_old,
                           &s.vae_ckpt, &s.stable_diffusion, &s.sdxl})
    std::puts(file->c_str());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const bool full = argc > 3 && std::strcmp(argv[3], "full") == 0;
  const int size = argc > 2 ? std::atoi(argv[2]) : 256;
  const bool sit = argc == 3 && std::strcmp(argv[2], "sit") == 0;
  if (argc < 2 || argc > 4 || (!sit && size != 256 && size != 512) || (argc > 3 && !full && std::strcmp(argv[3], "tiny") != 0)) {
    std::fputs("usage: stand_ins FOLDER [256|512] [tiny|full], or stand_ins FOLDER sit\n", stderr);
    return 2;
  }
  try {
    if (sit) return write_sit(argv[1]);
    const fm::test::StandIns files = fm::test::write_stand_ins(argv[1], size, full);
    for (const auto& file : {files.encoder, files.decoder, files.stats, files.teacher, files.weak, files.flow_map}) std::puts(file.c_str());
  } catch (const std::exception& e) {
    std::fprintf(stderr, "stand_ins: error: %s\n", e.what());
    return 1;
  }
  return 0;
}
