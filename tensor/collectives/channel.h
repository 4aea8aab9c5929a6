// Messages between ranks: the interface of a transport, and all that collectives on the CPU need (message_communicator.h). One thread uses it.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace fm {

struct Message {
  int peer;
  void* data;
  std::size_t bytes;
};

class Channel {
 public:
  virtual ~Channel() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;

  // Begins to move data. Messages from one rank to another arrive in the order of posting and have the size that their receiver posts.
  // The memory must stay valid until poll() reports completion.
  virtual void post(const std::vector<Message>& sends, const std::vector<Message>& receives) = 0;
  // Works for at most this many seconds; true when all posted messages are done. RankLostError if a peer is gone.
  virtual bool poll(double seconds) = 0;
  // Peers with posted messages that are not done.
  virtual std::vector<int> waiting_for() const = 0;

  // Short texts beside the data, which data do not delay. Sending never waits; to a lost rank it has no effect.
  virtual void notify(int peer, const std::string& text) = 0;
  // The texts since the last call, with their senders. A peer with a closed connection gives "gone", once.
  virtual std::vector<std::pair<int, std::string>> notices() = 0;
  // Every rank has announced a regular end: no message is in transit any more.
  virtual void close() {}
};

}  // namespace fm
