// The interface of a transport of messages between ranks. Collectives on the CPU are built on it (message_communicator.h). Only one thread may
// use a channel.
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
  // Moves data for at most `seconds`. Returns true when all posted messages are done. RankLostError if a peer is gone.
  virtual bool poll(double seconds) = 0;
  // Returns the peers for which this rank waits.
  virtual std::vector<int> waiting_for() const = 0;

  // Sends a short text to a peer. Data in transit do not delay it. Never waits. Has no effect if the peer is lost.
  virtual void notify(int peer, const std::string& text) = 0;
  // Returns the texts that arrived since the last call, with their senders. A peer whose connection is closed gives the text "gone", once.
  virtual std::vector<std::pair<int, std::string>> notices() = 0;
  // Called after every rank has announced a regular end, so no message is in transit.
  virtual void close() {}
};

}  // namespace fm
