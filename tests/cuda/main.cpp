// main() of tests on a GPU: tensors made without an explicit device are on cuda:0. In a program linked with tests/support/host_cuda this
// device is the CPU, and FLOWMAP_HOST_CUDA_SCHEDULE selects the order in which blocks, threads and streams run.
#define DOCTEST_CONFIG_IMPLEMENT
#include <cstdio>

#include "tensor/device.h"
#include "tests/support/run_all.h"

int main(int argc, char** argv) {
  std::string why;
  if (fm::cuda_device_count(&why) == 0) {
    std::printf("skipped: no CUDA device: %s\n", why.c_str());
    return 77;
  }
  const fm::DefaultDevice device(fm::Device::cuda(0));
  const int failures = fm::test::run_all(argc, argv);
  fm::synchronise(fm::Device::cuda(0));
  return failures;
}
