// Messages by MPI, for programs started by mpirun or srun. Built only if an MPI library exists.
#pragma once

#include <memory>

#include "tensor/collectives/channel.h"

namespace fm {

// Initializes MPI, once in a process. Only the calling thread may use MPI from then on. ConfigError if MPI has another rank or size than expected:
// then the launcher belongs to another MPI library.
std::unique_ptr<Channel> open_mpi_channel(int expected_rank, int expected_size);

}  // namespace fm
