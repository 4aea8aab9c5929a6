// Messages by TCP, which needs nothing but an address that all ranks can reach. Every pair of ranks has two connections, one for data and
// one for notices, so that a rank that is busy with data still hears that another is alive.
//
// Rendezvous: rank 0 listens; the others try until the deadline, and say magic, version, job, rank, number of ranks and where they listen
// themselves. A rank that was there already, another job's and another size are refused by name; ranks that do not come are named.
#pragma once

#include <memory>
#include <string>

#include "tensor/collectives/channel.h"

namespace fm {

struct TcpRendezvous {
  std::string host;                      // of rank 0
  int port = 0;
  std::string job;                       // ranks of another job are turned away
  int rank = 0, size = 1;
  double deadline = 120;                 // seconds until all must be there
};

// ConfigError: the address cannot be used, ranks are missing, this rank was refused.
std::unique_ptr<Channel> open_tcp_channel(const TcpRendezvous& where);

}  // namespace fm
