// Messages by TCP, which needs nothing but an address that all ranks can reach. Every pair of ranks has two connections, one for data and
// one for notices, so that a rank that is busy with data still hears that another is alive.
//
// Rendezvous: rank 0 listens at the address that it was given, and nowhere else; the others try until the deadline. Both sides of every
// connection prove that they have the same secret (hello.h); without one they prove nothing, and whoever reaches the port may join. A rank that is
// there already, another job's and another size are refused by name; ranks that do not come are named. After the start nobody listens.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "tensor/collectives/channel.h"

namespace fm {

struct TcpRendezvous {
  std::string host;                      // of rank 0, which listens at what this name or address stands for on its machine
  int port = 0;                          // rank 0: 0 takes any that is free, and `listening` says which
  std::string job;                       // ranks of another job are turned away
  int rank = 0, size = 1;
  double deadline = 120;                 // seconds until all must be there
  std::string secret = {};
  // Rank 0 has to be reached from other machines: where its machine takes `host` for its own loopback address, it listens at all addresses.
  bool from_other_machines = false;

  // Where rank 0's address is not known before (port 0): rank 0 says where it listens; the others ask again and again, and get an empty host as
  // long as nobody knows. An address that was found may be an old one, so it is tried until rank 0 answers there. `called`: where that is, in words.
  struct Found {
    std::string host;
    int port = 0;
    std::string secret;
  };
  std::function<void(int port)> listening = {};
  std::function<Found(std::string* why)> find = {};       // *why: what is wrong where the host is empty
  std::string called = {};

  std::function<std::string()> stop_asked = {};          // why to stop; empty: go on. Asked five times a second while this waits
  std::function<void(const std::string&)> warn = {};     // called on the thread that opens the channel
};

// ConfigError: the address cannot be used, this rank was refused, what listens there is something else. RankLostError: ranks did not come or
// went again. RankStoppedError: this rank was asked to stop meanwhile.
std::unique_ptr<Channel> open_tcp_channel(const TcpRendezvous& where);

}  // namespace fm
