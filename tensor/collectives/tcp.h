// Messages by TCP, which needs nothing but an address that all ranks can reach. Every pair of ranks has two connections, one for data and
// one for notices, so that a rank that is busy with data still hears that another is alive.
//
// Rendezvous: rank 0 listens; the others try until the deadline, and say magic, version, job, rank, number of ranks and where they listen
// themselves. A rank that was there already, another job's and another size are refused by name; ranks that do not come are named.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "tensor/collectives/channel.h"

namespace fm {

struct TcpRendezvous {
  std::string host;                      // of rank 0
  int port = 0;
  std::string job;                       // ranks of another job are turned away
  int rank = 0, size = 1;
  double deadline = 120;                 // seconds until all must be there
  // Where rank 0's address is not known before (port 0; `host` says in words where it is to be found): rank 0 takes any port that is free and
  // tells it; the others ask for host and port again and again, which are empty as long as nobody knows.
  std::function<void(int port)> listening = {};
  std::function<std::pair<std::string, int>()> find = {};
};

// ConfigError: the address cannot be used, ranks are missing, this rank was refused.
std::unique_ptr<Channel> open_tcp_channel(const TcpRendezvous& where);

}  // namespace fm
