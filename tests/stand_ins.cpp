// stand_ins FOLDER [256|512] [tiny|full]: random weights under the names and in the layout of the published files, to try commands with.
// At full size about 9 GB.
#include <cstdio>
#include <cstring>

#include "tests/support/stand_ins.h"

int main(int argc, char** argv) {
  const bool full = argc > 3 && std::strcmp(argv[3], "full") == 0;
  const int size = argc > 2 ? std::atoi(argv[2]) : 256;
  if (argc < 2 || argc > 4 || (size != 256 && size != 512) || (argc > 3 && !full && std::strcmp(argv[3], "tiny") != 0)) {
    std::fputs("usage: stand_ins FOLDER [256|512] [tiny|full]\n", stderr);
    return 2;
  }
  try {
    const fm::test::StandIns files = fm::test::write_stand_ins(argv[1], size, full);
    for (const auto& file : {files.encoder, files.decoder, files.stats, files.teacher, files.weak, files.flow_map}) std::puts(file.c_str());
  } catch (const std::exception& e) {
    std::fprintf(stderr, "stand_ins: error: %s\n", e.what());
    return 1;
  }
  return 0;
}
