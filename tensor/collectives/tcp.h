// Messages by TCP, which needs only an address that all ranks can reach. Every pair of ranks has two connections, one for data and
// one for notices, so that a rank that is busy with data still receives heartbeats.
//
// Rendezvous: rank 0 listens at its given address only (but see from_other_machines). The other ranks try to connect until the deadline. Both
// sides of every connection prove that they have the same secret (hello.h). Without a secret any process that reaches the port may join. Rank 0
// refuses a second process with the same rank, a rank of another job and another number of ranks, and names missing ranks. After the start no
// rank listens.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "tensor/collectives/channel.h"

namespace fm {

struct TcpRendezvous {
  std::string host;                      // rank 0's: it listens at the addresses of this name that belong to its machine
  int port = 0;                          // 0 on rank 0: any free port, reported by `listening`
  std::string job;                       // ranks of another job are refused
  int rank = 0, size = 1;
  double deadline = 120;                 // seconds until all ranks must have connected
  std::string secret = {};
  // True if other machines must reach rank 0. If its machine resolves `host` to a loopback address, rank 0 then listens at all addresses.
  bool from_other_machines = false;

  // Used if the address of rank 0 is not known (port 0). Rank 0 publishes its address (`listening`). The other ranks poll `find`, which returns an
  // empty host until an address is published. A found address may be outdated, so it is tried until rank 0 answers there. `called` names, in
  // messages, the place where the address is published.
  struct Found {
    std::string host;
    int port = 0;
    std::string secret;
  };
  std::function<void(int port)> listening = {};
  std::function<Found(std::string* why)> find = {};       // *why: the reason for an empty host
  std::string called = {};

  std::function<std::string()> stop_asked = {};          // called five times a second during waits; returns a reason to stop, or ""
  std::function<void(const std::string&)> warn = {};     // called on the thread that opens the channel
};

// Throws ConfigError if the address is unusable, this rank was refused, or another program listens there; RankLostError if ranks did not connect
// or left again; RankStoppedError if this rank was asked to stop meanwhile.
std::unique_ptr<Channel> open_tcp_channel(const TcpRendezvous& where);

}  // namespace fm
