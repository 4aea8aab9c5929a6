#include "tensor/collectives/nccl_calls.h"

#include <unistd.h>

#include <cstring>
#include <map>

#include "tensor/collectives/nccl.h"
#include "tensor/error.h"
#include "tensor/kernels/cuda/runtime.h"

namespace fm {
namespace nccl {
namespace {

const char* name_of_result(ncclResult_t status) {
  switch (status) {
    case ncclUnhandledCudaError:
      return "ncclUnhandledCudaError";
    case ncclSystemError:
      return "ncclSystemError";
    case ncclInternalError:
      return "ncclInternalError";
    case ncclInvalidArgument:
      return "ncclInvalidArgument";
    case ncclInvalidUsage:
      return "ncclInvalidUsage";
    case ncclRemoteError:
      return "ncclRemoteError";
    default:
      return "an error of NCCL";
  }
}

// Returns the names of the machine and of the GPU of a device, as one text.
std::string place_of(Device device) {
  char host[256] = {};
  gethostname(host, sizeof host - 1);
  cudaDeviceProp p;
  cuda::check(cudaGetDeviceProperties(&p, device.index), "cudaGetDeviceProperties");
  return std::string(host) + " " + std::string(p.uuid.bytes, sizeof p.uuid.bytes);
}

}  // namespace

std::string reason(ncclResult_t status, ncclComm_t comm) {
  const char* words = ncclGetLastError(comm);
  return std::string(name_of_result(status)) + ", " + (words && *words ? words : ncclGetErrorString(status));
}

ncclDataType_t type_of(DType dtype) {
  switch (dtype) {
    case DType::f64:
      return ncclFloat64;
    case DType::bf16:
      return ncclBfloat16;
    case DType::i32:
      return ncclInt32;
    case DType::i64:
      return ncclInt64;
    case DType::u8:
      return ncclUint8;
    default:
      return ncclFloat32;
  }
}

void refuse_shared_gpus(Communicator& control, Device device) {
  const auto places = gather_texts(control, place_of(device)), names = gather_texts(control, to_string(device));
  std::map<std::string, std::size_t> owners;
  for (std::size_t r = 0; r < places.size(); ++r) {
    const auto [other, first] = owners.emplace(places[r], r);
    if (first) continue;
    control.finish();  // all ranks end here, for the same reason
    throw ConfigError("ranks " + std::to_string(other->second) + " and " + std::to_string(r) + " are both on the GPU " + names[r] + " of " +
                      places[r].substr(0, places[r].find(' ')) +
                      ": start fewer ranks on that machine, or give each its own GPU (--device cuda:N)");
  }
}

}  // namespace nccl

std::string nccl_version() {
  int v = 0;
  ncclGetVersion(&v);
  return std::to_string(v / 10000) + "." + std::to_string(v / 100 % 100) + "." + std::to_string(v % 100);
}

std::string share_nccl_id(Communicator& control) {
  ncclUniqueId id = {};
  if (control.first())
    if (const ncclResult_t status = ncclGetUniqueId(&id); status != ncclSuccess)
      throw DeviceError("ncclGetUniqueId: " + nccl::reason(status, nullptr));
  const Tensor bytes = Tensor::zeros({static_cast<std::int64_t>(sizeof id.internal)}, DType::u8, Device{});
  std::memcpy(bytes.raw(), id.internal, sizeof id.internal);
  control.broadcast(bytes, 0);
  return {static_cast<const char*>(bytes.raw()), bytes.bytes()};
}

}  // namespace fm
