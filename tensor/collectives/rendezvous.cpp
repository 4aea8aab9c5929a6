#include "tensor/collectives/rendezvous.h"

#include <algorithm>
#include <map>
#include <optional>

#include "tensor/collectives/admission.h"
#include "tensor/collectives/communicator.h"
#include "tensor/collectives/introduce.h"
#include "tensor/io/crc32c.h"

namespace fm {
namespace {

using Guests = std::map<int, Admission::Guest>;      // by rank
using End = Conversation::End;

std::string place(const std::string& host, int port) {
  return (host.find(':') == std::string::npos ? host : "[" + host + "]") + ":" + std::to_string(port);
}
std::string place(const TcpRendezvous& w) { return w.called.empty() ? place(w.host, w.port) : w.called; }
std::string me(const TcpRendezvous& w) { return "rank " + std::to_string(w.rank); }

std::string list_of(const std::vector<int>& ranks) {
  std::string text;
  for (int r : ranks) text += (text.empty() ? "" : ", ") + std::to_string(r);
  return (ranks.size() == 1 ? "rank " : "ranks ") + text;
}

Hello hello_of(const TcpRendezvous& w, HelloPurpose purpose, int to, int port) {
  return {rendezvous_protocol, crc32c(w.job), w.rank, w.size, to, purpose, static_cast<std::uint32_t>(port), random_bytes(nonce_bytes)};
}

// All ranks may connect at once, with two connections each.
AdmissionRules rules_for(const TcpRendezvous& w) { return {.secret = w.secret, .most_pending = 128 + 2 * static_cast<std::size_t>(w.size)}; }

// Returns why a process is refused; empty if it is welcome.
std::string objection(const Hello& h, const TcpRendezvous& w, bool there_already) {
  const std::string who = "rank " + std::to_string(h.rank);
  if (h.job != crc32c(w.job)) return "rank 0 at " + place(w) + " belongs to another job";
  if (h.size != w.size) return "rank 0 expects " + std::to_string(w.size) + " ranks, but this rank expects " + std::to_string(h.size);
  if (h.rank <= 0 || h.rank >= w.size) return who + " is not above 0 and below " + std::to_string(w.size);
  if (h.purpose == HelloPurpose::join && (h.port < 1 || h.port > 65535)) return who + " does not give a port from 1 to 65535";
  if (there_already) return who + " is connected already: two processes were started with the same rank";
  return "";
}

// ---- rank 0 -----------------------------------------------------------------------------------------------------------------------

void tell(const Guests& guests, const TcpRendezvous& w, Verdict code, const std::string& text) {
  for (const auto& [rank, guest] : guests) answer(guest, code, text, w.secret, {steady_seconds() + 5});
}

// A joined rank sends nothing until it is answered: any readable input means its end.
void drop_those_who_went(Guests& there) {
  std::erase_if(there, [](auto& entry) {
    std::string ignored;
    return receive_some(entry.second.socket, ignored, 1) != Io::late;
  });
}

void take_guest(Admission::Guest guest, const TcpRendezvous& w, Guests& there) {
  const int rank = guest.hello.rank;
  if (guest.hello.purpose != HelloPurpose::join) return;
  const std::string why = objection(guest.hello, w, there.contains(rank));
  if (why.empty()) there.emplace(rank, std::move(guest));
  else answer(guest, Verdict::refused, why, w.secret, {steady_seconds()});
}

Places places_of(const Guests& there, const TcpRendezvous& w) {
  Places places(static_cast<std::size_t>(w.size));
  places[0] = {"-", w.port};
  for (const auto& [rank, guest] : there) {
    const std::string address = address_of_peer(guest.socket);
    places[static_cast<std::size_t>(rank)] = {is_loopback(address) && w.from_other_machines ? "-" : address, static_cast<int>(guest.hello.port)};
  }
  return places;
}

// Waits for all ranks and sends them the addresses of all.
void gather_ranks(const TcpRendezvous& w, Admission& door, const Patience& patience) {
  Guests there;
  try {
    while (static_cast<int>(there.size()) < w.size - 1 && !patience.over()) {
      for (Admission::Guest& guest : door.admit(std::min(0.2, patience.deadline - steady_seconds()))) take_guest(std::move(guest), w, there);
      drop_those_who_went(there);
      patience.check();
    }
  } catch (const RankStoppedError& e) {
    tell(there, w, Verdict::stopped, std::string("rank 0 was ") + e.what());
    throw;
  }
  std::vector<int> missing;
  for (int r = 1; r < w.size; ++r)
    if (!there.contains(r)) missing.push_back(r);
  if (!missing.empty()) {
    const std::string text = list_of(missing) + " of " + std::to_string(w.size) + " did not connect to " + place(w) + " within " +
                             seconds_text(w.deadline);
    tell(there, w, Verdict::lost, text);
    throw RankLostError(text);
  }
  tell(there, w, Verdict::welcome, to_text(places_of(there, w)));
}

// ---- the other ranks --------------------------------------------------------------------------------------------------------------

struct Joined {
  Admission door;                        // this rank's listening socket
  Places places;
};

// The result of one attempt to join: `joined`, or the reason for the failure.
struct Attempt {
  std::optional<Joined> joined;
  std::string why;
  bool certain = false;                  // another attempt at this address would fail in the same way
  bool refused = false;                  // by a rank 0 with the same secret
};

// Listens for the other ranks at the interface by which this rank reaches rank 0, or at all interfaces if other machines cannot reach that one.
std::vector<Socket> listen_beside(const Socket& to_rank_0, const TcpRendezvous& w, const Patience& patience) {
  const std::string own = address_of(to_rank_0);
  return listen_at(is_loopback(own) && w.from_other_machines ? "0.0.0.0" : own, 0, patience);
}

Attempt try_to_join(const TcpRendezvous& w, const Socket& s, const Patience& patience) {
  std::vector<Socket> listeners = listen_beside(s, w, patience);
  const int port = port_of(listeners.front());
  Admission door(std::move(listeners), rules_for(w));
  const Hello hello = hello_of(w, HelloPurpose::join, 0, port);
  const std::size_t most = most_bytes_of_reason + most_bytes_of_place * static_cast<std::size_t>(w.size);
  // Waits 10 s longer than its own deadline. Rank 0's deadline began at another time, and its answer names the missing ranks.
  const Conversation c = introduce(s, hello, w.secret, std::clamp(patience.deadline - steady_seconds(), 0.1, 10.0), most, {patience.deadline + 10, patience.check});
  const std::string at = place(w), not_rank_0 = "the program at " + at + " is not rank 0 of flowmap: ";
  switch (c.end) {
    case End::foreign: return {{}, not_rank_0 + c.text, true};
    case End::silent: return {{}, not_rank_0 + c.text, c.text.ends_with("nothing")};
    case End::other_version:
      return {{}, "rank 0 at " + at + " is of another version of this program (protocol " + c.text + ", this rank's is " + std::to_string(rendezvous_protocol) + "): start all ranks from the same build", true};
    case End::other_secret:
      return {{}, "rank 0 at " + at + " has another secret than this rank: give all ranks the same FLOWMAP_RENDEZVOUS_SECRET, or none", true};
    case End::ended: throw RankLostError("rank 0 at " + at + " ended or stopped answering before all ranks had connected");
    case End::answered: break;
  }
  if (c.code == Verdict::lost) throw RankLostError(c.text);
  if (c.code == Verdict::stopped) throw RankStoppedError(c.text);
  if (c.code == Verdict::refused) return {{}, c.text, true, true};
  auto places = parse_places(c.text, w.size);
  if (!places) return {{}, not_rank_0 + "its list of ranks is invalid", true};
  return {Joined{std::move(door), std::move(*places)}, "", true};
}

// Joins at a fixed address. Tries again while nothing listens there, because rank 0 may start later. Fails at once if another program listens there.
Joined join_at(const TcpRendezvous& w, const Patience& patience) {
  const double begin = steady_seconds();
  double first_silence = 0;
  for (;;) {
    std::string why;
    bool hopeless = false;
    const Socket s = connect_to(w.host, w.port, patience, &why, &hopeless);
    if (!s.open()) {
      const std::string text = me(w) + ": rank 0 at " + place(w) + " could not be reached: " + why + " (tried for " + seconds_text(steady_seconds() - begin) + ")";
      if (hopeless) throw ConfigError(text);
      throw RankLostError(text);
    }
    Attempt a = try_to_join(w, s, patience);
    if (a.joined) return std::move(*a.joined);
    // The connection was closed at once. A tunnel or a proxy does that until its other end listens.
    if (first_silence == 0) first_silence = steady_seconds();
    if (a.certain || steady_seconds() - first_silence > 5 || patience.over()) throw ConfigError(me(w) + ": " + a.why);
    pause(0.25, patience);
  }
}

// Joins at the address that w.find returns. The address may belong to an earlier job until rank 0 of this job has answered there.
Joined join_where_found(TcpRendezvous& w, const Patience& patience) {
  std::string why = "it was not found";
  double first_refusal = 0;
  for (; !patience.over(); pause(0.1, patience)) {
    std::string absent;
    const TcpRendezvous::Found found = w.find(&absent);
    if (found.host.empty()) {
      why = absent;
      continue;
    }
    w.host = found.host, w.port = found.port, w.secret = found.secret;
    bool hopeless = false;
    const Socket s = connect_to(w.host, w.port, patience.until(steady_seconds() + 2), &why, &hopeless);
    if (!s.open()) continue;
    Attempt a = try_to_join(w, s, patience);
    if (a.joined) return std::move(*a.joined);
    why = a.why;
    // A refusal may come from an earlier job that is just ending.
    if (a.refused && first_refusal == 0) first_refusal = steady_seconds();
    if (a.refused && steady_seconds() - first_refusal > 3) throw ConfigError(me(w) + ": " + why);
  }
  throw RankLostError(me(w) + ": rank 0 could not be reached at " + place(w) + " within " + seconds_text(w.deadline) + ": " + why);
}

// ---- all to all -------------------------------------------------------------------------------------------------------------------

Socket connect_to_rank(const TcpRendezvous& w, int r, HelloPurpose purpose, const Place& p, const Patience& patience) {
  const std::string host = p.host == "-" ? w.host : p.host;
  const std::string who = me(w) + " cannot reach rank " + std::to_string(r) + " at " + place(host, p.port) + ": ";
  std::string why;
  bool hopeless = false;
  Socket s;
  Conversation c;
  for (;; pause(0.25, patience)) {               // tries again if the other rank closed the connection at once, because too many were pending there
    s = connect_to(host, p.port, patience, &why, &hopeless);
    if (!s.open() && hopeless) throw ConfigError(who + why);
    if (!s.open()) throw RankLostError(who + why);
    c = introduce(s, hello_of(w, purpose, r, 0), w.secret, 3600, most_bytes_of_reason, patience);
    if (c.end != End::silent || patience.over()) break;
  }
  if (c.end == End::foreign || c.end == End::other_secret || c.end == End::other_version)
    throw ConfigError(who + "the program that listens there is not a rank of this job");
  if (c.end != End::answered) throw RankLostError(who + "it ended or stopped answering");
  if (c.code != Verdict::welcome) throw RankLostError(who + c.text);
  return s;
}

class Table {
 public:
  explicit Table(const TcpRendezvous& w) : w_(w), lines_(static_cast<std::size_t>(w.size)) {}

  void connect_to_lower(const Places& places, const Patience& patience) {
    for (int r = 0; r < w_.rank; ++r)
      for (HelloPurpose purpose : {HelloPurpose::data_line, HelloPurpose::notice_line})
        slot(r, purpose) = connect_to_rank(w_, r, purpose, places[static_cast<std::size_t>(r)], patience);
  }

  void wait_for_higher(Admission& door, const Patience& patience) {
    for (int left = 2 * (w_.size - 1 - w_.rank); left > 0;) {
      for (Admission::Guest& guest : door.admit(std::min(0.2, patience.deadline - steady_seconds()))) left -= seat(guest);
      patience.check();
      if (left > 0 && patience.over()) throw RankLostError(me(w_) + ": " + list_of(missing()) + " did not connect in time");
    }
  }
  std::vector<Lines> take() { return std::move(lines_); }

 private:
  Socket& slot(int rank, HelloPurpose purpose) {
    Lines& l = lines_[static_cast<std::size_t>(rank)];
    return purpose == HelloPurpose::data_line ? l.data : l.notices;
  }
  std::vector<int> missing() {
    std::vector<int> ranks;
    for (int r = w_.rank + 1; r < w_.size; ++r)
      if (!slot(r, HelloPurpose::data_line).open() || !slot(r, HelloPurpose::notice_line).open()) ranks.push_back(r);
    return ranks;
  }
  int seat(Admission::Guest& guest) {
    const Hello& h = guest.hello;
    std::string why = objection(h, w_, h.purpose == HelloPurpose::join);            // a join is too late: all ranks have joined
    if (why.empty() && (h.to != w_.rank || h.rank <= w_.rank)) why = "the process at this address is rank " + std::to_string(w_.rank);
    if (why.empty() && slot(h.rank, h.purpose).open()) why = "rank " + std::to_string(h.rank) + " is connected already";
    const Io sent = answer(guest, why.empty() ? Verdict::welcome : Verdict::refused, why, w_.secret, {steady_seconds() + 1});
    if (!why.empty() || sent != Io::done) return 0;
    slot(h.rank, h.purpose) = std::move(guest.socket);
    return 1;
  }

  const TcpRendezvous& w_;
  std::vector<Lines> lines_;
};

Admission open_door(TcpRendezvous& w, const Patience& patience) {
  const bool wide = w.from_other_machines && means_this_machine_alone(w.host, patience);
  std::vector<Socket> listeners = [&] {
    try {
      return listen_at(wide ? "" : w.host, w.port, patience);
    } catch (const ConfigError& e) {
      throw ConfigError(std::string("rank 0 ") + e.what());
    }
  }();
  w.port = port_of(listeners.front());
  const bool private_to_machine = std::all_of(listeners.begin(), listeners.end(), [](const Socket& s) { return is_loopback(address_of(s)); });
  if (w.warn && wide && w.secret.empty())
    w.warn("this machine resolves " + w.host + " to a loopback address, so rank 0 listens at all of its addresses, port " + std::to_string(w.port));
  if (w.warn && w.secret.empty() && !private_to_machine)
    w.warn("without FLOWMAP_RENDEZVOUS_SECRET anyone who reaches " + place(w.host, w.port) +
           " while the ranks connect can join: set it unless the network is trusted (docs/launch.md)");
  AdmissionRules rules = rules_for(w);
  if (w.warn)
    rules.wrong_secret = [warn = w.warn, warned = false](int rank, const std::string& address) mutable {
      if (!std::exchange(warned, true)) warn("rejected: a process at " + address + " that says it is rank " + std::to_string(rank) + " has another secret");
    };
  if (w.listening) w.listening(w.port);
  return Admission(std::move(listeners), std::move(rules));
}

}  // namespace

std::vector<Lines> meet(TcpRendezvous w) {
  const auto stop = [&w] {
    if (const std::string why = w.stop_asked ? w.stop_asked() : ""; !why.empty())
      throw RankStoppedError("stopped by " + why + " before all ranks had connected; no work was begun");
  };
  const Patience patience{steady_seconds() + w.deadline, stop}, a_little_more{patience.deadline + 10, stop};
  Table table(w);
  if (w.rank == 0) {
    Admission door = open_door(w, patience);
    gather_ranks(w, door, patience);
    table.wait_for_higher(door, a_little_more);
  } else {
    Joined joined = w.find ? join_where_found(w, patience) : join_at(w, patience);
    table.connect_to_lower(joined.places, a_little_more);
    table.wait_for_higher(joined.door, a_little_more);
  }
  return table.take();
}

}  // namespace fm
