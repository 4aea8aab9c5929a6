// Messages by TCP, which needs only an address that all ranks can reach. Every pair of ranks has two connections, one for data and
// one for notices, so that a rank that is busy with data still receives heartbeats.
//
// Rendezvous: rank 0 listens at its given address, and nowhere else; the others try until the deadline. Both sides of every
// connection prove that they have the same secret (hello.h); without a secret any process that reaches the port may join. A second process with the same
// rank, another job's rank and another size are refused by name, and missing ranks are named. After the start no rank listens.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "tensor/collectives/channel.h"

namespace fm {

struct TcpRendezvous {
  std::string host;                      // of rank 0, which listens at the addresses of this name on its machine
  int port = 0;                          // rank 0: 0 takes any free port, reported by `listening`
  std::string job;                       // ranks of another job are turned away
  int rank = 0, size = 1;
  double deadline = 120;                 // seconds until all must be there
  std::string secret = {};
  // Other machines must reach rank 0: if its machine resolves `host` to its own loopback address, it listens at all addresses.
  bool from_other_machines = false;

  // For an unknown address of rank 0 (port 0): rank 0 publishes where it listens. The others poll, and get an empty host as
  // long as it is unpublished. A found address may be outdated, so it is tried until rank 0 answers there. `called`: its place, in words.
  struct Found {
    std::string host;
    int port = 0;
    std::string secret;
  };
  std::function<void(int port)> listening = {};
  std::function<Found(std::string* why)> find = {};       // *why: the reason for an empty host
  std::string called = {};

  std::function<std::string()> stop_asked = {};          // the reason to stop; empty: continue. Called five times a second while this waits
  std::function<void(const std::string&)> warn = {};     // called on the thread that opens the channel
};

// ConfigError: the address is unusable, this rank was refused, or another program listens there. RankLostError: ranks did not connect or
// left again. RankStoppedError: this rank was asked to stop meanwhile.
std::unique_ptr<Channel> open_tcp_channel(const TcpRendezvous& where);

}  // namespace fm
