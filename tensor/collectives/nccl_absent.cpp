// Stubs for a build without NCCL. As with tensor/kernels/cuda/absent.cpp, a program that links its own definitions before this archive replaces
// them.
#include "tensor/collectives/nccl.h"

namespace fm {

namespace {
constexpr const char* absent = "this build is without NCCL, by which ranks on GPUs communicate: build with meson setup -Dnccl=enabled (needs CUDA and NCCL)";
}

std::string nccl_version() { return ""; }
std::string share_nccl_id(Communicator&) { throw DeviceError(absent); }
std::unique_ptr<Communicator> open_nccl(std::unique_ptr<Communicator>, Device, const NcclOptions&) { throw DeviceError(absent); }

}  // namespace fm
