// Messages between ranks: what a transport supplies, and all that collectives on the CPU need (message_communicator.h). One thread uses it.
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

  // Begins to move data. Messages from one rank to another arrive in the order of posting and have the size that their receiver posts;
  // the memory stays where it is until poll() says that all is done.
  virtual void post(const std::vector<Message>& sends, const std::vector<Message>& receives) = 0;
  // Works for at most so many seconds; true when all that was posted is done. RankLostError when a peer is gone.
  virtual bool poll(double seconds) = 0;
  // Peers of which something posted is missing.
  virtual std::vector<int> waiting_for() const = 0;

  // Short texts beside the data, which no data holds up. Sending never waits, and to a rank that is gone it does nothing.
  virtual void notify(int peer, const std::string& text) = 0;
  // Those that came since the last call, with their senders. A peer whose end of the line is closed says "gone", once.
  virtual std::vector<std::pair<int, std::string>> notices() = 0;
  // Every rank has said that it ends well: nothing is under way any more.
  virtual void close() {}
};

}  // namespace fm
