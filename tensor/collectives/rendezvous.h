// Connects the ranks of tcp.h: rank 0 gathers all and sends each the addresses of the others, then every rank connects to all ranks below it.
#pragma once

#include <vector>

#include "tensor/collectives/socket.h"
#include "tensor/collectives/tcp.h"

namespace fm {

struct Lines {
  Socket data, notices;
};

// Returns the connections to all ranks, by rank; the entry of this rank is empty. Errors: see tcp.h.
std::vector<Lines> meet(TcpRendezvous where);

}  // namespace fm
