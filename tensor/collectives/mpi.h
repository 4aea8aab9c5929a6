// Messages by MPI, for programs started by mpirun or srun. Built only if an MPI library exists.
#pragma once

#include <memory>

#include "tensor/collectives/channel.h"

namespace fm {

// Initialises MPI; the thread that calls it is the only one that uses MPI from then on. Once in a process. Error when MPI's world has
// another size than `expected_size` (the launcher belongs to another MPI) .
std::unique_ptr<Channel> open_mpi_channel(int expected_rank, int expected_size);

}  // namespace fm
