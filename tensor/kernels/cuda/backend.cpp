#include "tensor/kernels/cuda/backend.h"

#include "tensor/kernels/cuda/runtime.h"
#include "tensor/kernels/cuda/tables.h"

namespace fm::cuda {

const Backend* backend() {
  static const Backend b{.device_count = device_count,
                         .use = use,
                         .synchronise = synchronise,
                         .counts = counts,
                         .memory = {take_memory, give_back_memory, zero_memory, upload, download, ask, receive, begin_upload, arrive},
                         .graph = {begin_recording, end_recording, launch_graph, drop_graph, recording},
                         .map = map_kernels(),
                         .copy = copy_kernels(),
                         .index = index_kernels(),
                         .random = random_kernels(),
                         .resample = resample_kernels(),
                         .pool = pool_kernels(),
                         .reduce = reduce_kernels(),
                         .rows = row_kernels(),
                         .gemm = gemm_kernels(),
                         .attention = attention_kernels(),
                         .conv = conv_kernels(),
                         .optimizer = optimizer_kernels()};
  return &b;
}

}  // namespace fm::cuda
