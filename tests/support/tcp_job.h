// Ranks that connect by TCP on this machine. Rank 0 listens on any free port and the other ranks get its number, so no other process can take the
// port in between.
#pragma once

#include <future>
#include <string>

#include "tensor/collectives/tcp.h"

namespace fm::test {

class TcpJob {
 public:
  explicit TcpJob(int size, TcpRendezvous common = {}) : common_(std::move(common)), port_(listening_.get_future().share()) {
    common_.size = size;
    if (common_.host.empty()) common_.host = "127.0.0.1";
  }
  // Waits until rank 0 listens, and returns its port.
  int port() const { return port_.get(); }
  TcpRendezvous place(int rank) {
    TcpRendezvous w = common_;
    w.rank = rank;
    if (rank == 0) w.listening = [this](int port) { listening_.set_value(port); };
    else w.port = port();
    return w;
  }

 private:
  TcpRendezvous common_;
  std::promise<int> listening_;
  std::shared_future<int> port_;
};

}  // namespace fm::test
