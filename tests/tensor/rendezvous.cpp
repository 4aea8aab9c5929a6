// Admission of ranks: other processes that connect, other programs at rank 0's address, wrong and replayed proofs, other jobs, ranks that do not
// connect or that leave again, stop requests while ranks wait. The side that is not under test is a plain socket.
#include <doctest/doctest.h>
#include <sys/socket.h>

#include <atomic>
#include <functional>
#include <thread>

#include "tensor/collectives/admission.h"
#include "tensor/collectives/communicator.h"
#include "tensor/collectives/introduce.h"
#include "tensor/error.h"
#include "tests/support/error_of.h"
#include "tests/support/mentions.h"
#include "tests/support/tcp_job.h"

using namespace fm;
using fm::test::TcpJob;

namespace {

Patience a_minute() { return {steady_seconds() + 60}; }

// Returns the kind of the error and its text, or "no error".
std::string refusal(const TcpRendezvous& where) {
  try {
    open_tcp_channel(where);
  } catch (const ConfigError& e) {
    return std::string("refused: ") + e.what();
  } catch (const RankStoppedError& e) {
    return std::string("stopped: ") + e.what();
  } catch (const RankLostError& e) {
    return std::string("lost: ") + e.what();
  }
  return "no error";
}

Socket connect_here(int port) {
  std::string why;
  bool hopeless = false;
  Socket s = connect_to("127.0.0.1", port, a_minute(), &why, &hopeless);
  REQUIRE_MESSAGE(s.open(), why);
  return s;
}

void send(const Socket& s, const std::string& bytes) { send_all(s, bytes.data(), bytes.size(), a_minute()); }

// Receives this many bytes, or fewer if the other side closes the connection.
std::string receive(const Socket& s, std::size_t bytes) {
  std::string text;
  while (receive_some(s, text, bytes - text.size()) != Io::closed && text.size() < bytes) wait_for_input({&s}, 1);
  return text;
}

bool is_closed(const Socket& s) {
  receive(s, 1 << 20);
  return true;
}

Hello hello_of(int rank, int size, HelloPurpose purpose = HelloPurpose::join, int port = 4000) {
  return {rendezvous_protocol, 0, rank, size, 0, purpose, static_cast<std::uint32_t>(port), std::string(nonce_bytes, 'n')};
}

std::string bytes_of(const Digest& d) { return {reinterpret_cast<const char*>(d.data()), d.size()}; }

// A process on rank 0's port that is not flowmap. It calls `talk` for one connection after the other.
class Impostor {
 public:
  using Talk = std::function<void(const Socket&)>;
  explicit Impostor(Talk talk) : talk_(std::move(talk)), listeners_(listen_at("127.0.0.1", 0, a_minute())), thread_([this] { serve(); }) {}
  ~Impostor() {
    over_ = true;
    thread_.join();
  }
  int port() const { return port_of(listeners_.front()); }

 private:
  void serve() {
    while (!over_) {
      wait_for_input({&listeners_.front()}, 0.02);
      if (const Socket s = accept_now(listeners_.front()); s.open()) talk_(s);
    }
  }
  Talk talk_;
  std::vector<Socket> listeners_;
  std::atomic<bool> over_ = false;
  std::thread thread_;
};

// Returns the error of rank 1 when it connects to an impostor.
std::string met(const Impostor::Talk& talk, double deadline = 60, const std::string& secret = "") {
  const Impostor impostor(talk);
  std::string text = refusal({"127.0.0.1", impostor.port(), "", 1, 2, deadline, secret});
  const std::string at = "127.0.0.1:" + std::to_string(impostor.port());
  if (const std::size_t found = text.find(at); found != std::string::npos) text.replace(found, at.size(), "HERE");
  return text;
}

// Behaves like rank 0 up to the verdict, which `verdict` makes from the transcript.
Impostor::Talk almost_rank_0(const std::function<std::string(const std::string& transcript)>& verdict) {
  return [verdict](const Socket& s) {
    const std::string challenge = encode_challenge(std::string(nonce_bytes, 'c')), hello = receive(s, hello_bytes);
    send(s, challenge);
    receive(s, 32);
    send(s, verdict(hello + challenge));
    receive(s, 1);                       // until the other side closes
  };
}

std::string with_genuine(Verdict code, const std::string& text) {
  return met(almost_rank_0([&](const std::string& transcript) { return encode_verdict(code, text, "", transcript); }));
}

constexpr const char* good_list = "- 4000\n127.0.0.1 4001\n";

// Waits for `count` guests of an Admission and returns them.
std::vector<Admission::Guest> admitted(Admission& door, std::size_t count) {
  std::vector<Admission::Guest> guests;
  while (guests.size() < count)
    for (Admission::Guest& g : door.admit(0.1)) guests.push_back(std::move(g));
  return guests;
}

std::string text_of_verdict(const Socket& s, Verdict wanted) {
  const auto head = decode_verdict_head(receive(s, verdict_head_bytes), 1000);
  REQUIRE(head);
  CHECK(head->code == wanted);
  return receive(s, head->bytes);
}

// Two processes claim to be rank 1. When one of them is refused, the other has joined.
struct Joined {
  Socket in;
  std::string refusal;
};
Joined join_twice(int port, int size) {
  Socket two[2];
  const std::string hello = encode(hello_of(1, size));
  for (Socket& s : two) {
    s = connect_here(port);
    send(s, hello);
    send(s, bytes_of(proof_of_rank("", hello + receive(s, challenge_bytes))));
  }
  for (;;) {
    wait_for_input({&two[0], &two[1]}, 1);
    for (int i : {0, 1})
      if (char c; recv(two[i].get(), &c, 1, MSG_PEEK | MSG_DONTWAIT) == 1) return {std::move(two[1 - i]), text_of_verdict(two[i], Verdict::refused)};
  }
}

struct Door {
  std::vector<Socket> listeners = listen_at("127.0.0.1", 0, a_minute());
  int port = port_of(listeners.front());
  Admission open(AdmissionRules rules) { return Admission(std::move(listeners), std::move(rules)); }
};

}  // namespace

TEST_CASE("another program at rank 0's address is refused, and the error quotes its first bytes") {
  const auto says = [](const std::string& bytes) { return Impostor::Talk([bytes](const Socket& s) { receive(s, 20), send(s, bytes); }); };
  const auto keeps_open = [](const std::string& bytes) { return Impostor::Talk([bytes](const Socket& s) { send(s, bytes), receive(s, 1 << 20); }); };
  const std::string not_rank_0 = "refused: rank 1: the program at HERE is not rank 0 of flowmap: ";
  const std::string bytes4g{"\0\0\0\0\xf0\xff\xff\xff", 8}, hello_world{"\0\0\0\0\x0c\0\0\0hello world\n", 20};
  CHECK(met(says("HTTP/1.1 400 Bad Request\r\n\r\n")) == not_rank_0 + "its first bytes are \"HTTP/1.1 400 Bad Request\"");
  CHECK(met(keeps_open("SSH-2.0-OpenSSH_9.2p1\r\n")) == not_rank_0 + "its first bytes are \"SSH-2.0-OpenSSH_9.2p1??\"");
  CHECK(met(keeps_open("\x1b[31m")) == not_rank_0 + "its first bytes are \"?[31m\"");
  CHECK(met(says(bytes4g)) == not_rank_0 + "its first bytes are \"????????\"");
  CHECK(met(keeps_open(hello_world)) == not_rank_0 + "its first bytes are \"????????hello world?\"");
  CHECK(met(keeps_open(std::string(1 << 20, '*'))) == not_rank_0 + "its first bytes are \"" + std::string(24, '*') + "\"");
  CHECK(met([](const Socket& s) { receive(s, 1 << 20); }, 0.5) == not_rank_0 + "it says nothing");
  CHECK(met([](const Socket&) {}, 0.5) == not_rank_0 + "it closes the connection without an answer");
  std::string older = encode_challenge("");
  older[8] = 1;
  CHECK(met(keeps_open(older)) == "refused: rank 1: rank 0 at HERE is of another version of this program (protocol 1, this rank's is 2): start all ranks from the same build");
}

TEST_CASE("a verdict with a wrong proof, an excessive length or an invalid list of ranks is refused") {
  const std::string not_rank_0 = "refused: rank 1: the program at HERE is not rank 0 of flowmap: ", no_list = not_rank_0 + "its list of ranks is invalid";
  const std::string good = good_list;
  CHECK(with_genuine(Verdict::welcome, "") == no_list);
  CHECK(with_genuine(Verdict::welcome, good + "127.0.0.1 4002\n") == no_list);
  CHECK(with_genuine(Verdict::welcome, good.substr(0, good.size() - 1)) == no_list);
  CHECK(with_genuine(Verdict::welcome, "- 4000\n127.0.0.1 0\n") == no_list);
  CHECK(with_genuine(Verdict::welcome, "- 4000\n127.0.0.1 65536\n") == no_list);
  CHECK(with_genuine(Verdict::welcome, "- 4000\n127.0.0.1 40x\n") == no_list);
  CHECK(with_genuine(Verdict::welcome, "- 4000\na\x1b[31m 4001\n") == no_list);
  CHECK(with_genuine(Verdict::refused, "no\x1b[31m\nway") == "refused: rank 1: no?[31m?way");
  CHECK(with_genuine(Verdict::lost, "rank 2\a is missing") == "lost: rank 2? is missing");
  CHECK(with_genuine(Verdict::stopped, "rank 0 was stopped") == "stopped: rank 0 was stopped");
  CHECK(met(almost_rank_0([](const std::string& t) { return encode_verdict(Verdict::welcome, std::string(5000, 'x'), "", t); })).starts_with(not_rank_0));
  CHECK(met(almost_rank_0([](const std::string&) { return std::string(verdict_head_bytes, 'v'); })).starts_with(not_rank_0));
  CHECK(met(almost_rank_0([](const std::string& t) {
          std::string bytes = encode_verdict(Verdict::refused, "", "", t);
          bytes[8] = 9;
          return bytes;
        })).starts_with(not_rank_0));
  const std::string other_secret = "refused: rank 1: rank 0 at HERE has another secret than this rank: give all ranks the same FLOWMAP_RENDEZVOUS_SECRET, or none";
  CHECK(met(almost_rank_0([&](const std::string& t) { return encode_verdict(Verdict::welcome, good, "guessed", t); }), 60, "right") == other_secret);
  CHECK(met(almost_rank_0([&](const std::string& t) {                    // a genuine verdict whose text was changed
          std::string bytes = encode_verdict(Verdict::refused, "aaaa", "right", t);
          bytes.back() = 'b';
          return bytes;
        }), 60, "right") == other_secret);
  CHECK(met([](const Socket& s) {                                        // a truncated verdict
          receive(s, hello_bytes), send(s, encode_challenge("")), receive(s, 32);
          send(s, encode_verdict(Verdict::welcome, good_list, "", "").substr(0, 20));
        }) == "lost: rank 0 at HERE ended or stopped answering before all ranks had connected");
}

TEST_CASE("connections that send nothing, nonsense or only part of a hello do not delay a rank") {
  Door d;
  Admission door = d.open({.secret = "s", .prove_within = 1e9, .most_pending = 20});         // the proof of each could take years
  std::vector<Socket> idle;
  for (int i = 0; i < 50; ++i) idle.push_back(connect_here(d.port));
  for (const char* nonsense : {"GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01", "SSH-2.0-x\r\n"}) send(idle.emplace_back(connect_here(d.port)), nonsense);
  const Socket gone = connect_here(d.port);
  shutdown(gone.get(), SHUT_RDWR);
  send(idle.emplace_back(connect_here(d.port)), encode(hello_of(1, 2)).substr(0, 30));
  std::thread rank([&] {
    const Socket s = connect_here(d.port);
    const std::string hello = encode(hello_of(1, 2));
    for (char c : hello) send(s, std::string(1, c));                                            // one piece per byte
    const std::string challenge = receive(s, challenge_bytes);
    send(s, bytes_of(proof_of_rank("s", hello + challenge)));
    CHECK(receive(s, verdict_head_bytes + 2) == encode_verdict(Verdict::welcome, "ok", "s", hello + challenge));
  });
  const auto guests = admitted(door, 1);
  CHECK(guests[0].hello.rank == 1);
  CHECK(door.pending() <= 20);
  CHECK(answer(guests[0], Verdict::welcome, "ok", "s", a_minute()) == Io::done);
  rank.join();
}

TEST_CASE("a connection that sends no proof within the time limit is closed") {
  Door d;
  Admission door = d.open({.secret = "s", .prove_within = 0});
  const Socket silent = connect_here(d.port);
  std::thread end([&] { CHECK(is_closed(silent)); });
  CHECK(door.admit(0.05).empty());
  CHECK(door.pending() == 0);
  end.join();
}

TEST_CASE("a wrong proof, a replayed proof and a proof for another hello are refused") {
  Door d;
  std::vector<int> warned;
  Admission door = d.open({.secret = "right", .wrong_secret = [&](int rank, const std::string& address) {
                             CHECK(address == "127.0.0.1");
                             warned.push_back(rank);
                           }});
  std::string recorded;                                  // the proof of a rank that was admitted
  std::thread ranks([&] {
    const std::string hello = encode(hello_of(1, 2));
    const auto talk = [&](const std::string& sent, const std::function<std::string(const std::string& transcript)>& prove) {
      Socket s = connect_here(d.port);
      send(s, sent);
      const std::string transcript = sent + receive(s, challenge_bytes), proof = prove(transcript);
      send(s, proof);
      return s;
    };
    const auto refused = [](const Socket& s) {
      const std::string bytes = receive(s, 1 << 20);
      return bytes.size() > verdict_head_bytes && decode_verdict_head(bytes.substr(0, verdict_head_bytes), 100)->code == Verdict::refused;
    };
    const auto proof = [](const std::string& secret) { return [secret](const std::string& t) { return bytes_of(proof_of_rank(secret, t)); }; };
    CHECK(refused(talk(hello, proof("wrong"))));
    CHECK(refused(talk(hello, proof(""))));
    CHECK(refused(talk(encode(hello_of(7, 9)), [&](const std::string& t) { return bytes_of(proof_of_rank("right", hello + t.substr(hello_bytes))); })));
    const Socket in = talk(hello, [&](const std::string& t) { return recorded = bytes_of(proof_of_rank("right", t)); });
    receive(in, verdict_head_bytes);
    CHECK(refused(talk(hello, [&](const std::string&) { return recorded; })));
    const Socket last = talk(encode(hello_of(2, 3)), proof("right"));
    receive(last, verdict_head_bytes);
  });
  for (int rank : {1, 2}) {
    const auto guests = admitted(door, 1);
    CHECK(guests[0].hello.rank == rank);
    answer(guests[0], Verdict::welcome, "", "right", a_minute());
  }
  ranks.join();
  CHECK(warned == std::vector<int>{1, 1, 7, 1});
}

TEST_CASE("ranks with another secret are refused with the reason; the right rank can still join") {
  std::atomic<int> warned = 0;
  TcpJob job(2, {.deadline = 60, .secret = "right"});
  TcpRendezvous zero = job.place(0);
  zero.warn = [&](const std::string& text) {
    ++warned;
    CHECK(text == "rejected: a process at 127.0.0.1 that says it is rank 1 has another secret");
  };
  std::thread first([&] { CHECK(refusal(zero) == "no error"); });
  for (const char* secret : {"wrong", "", "rightright"}) {
    TcpRendezvous other = job.place(1);
    other.secret = secret;
    CHECK(refusal(other).find("has another secret than this rank: give all ranks the same FLOWMAP_RENDEZVOUS_SECRET, or none") != std::string::npos);
  }
  CHECK(refusal(job.place(1)) == "no error");
  first.join();
  CHECK(warned == 1);                                     // only once, however many connect
}

TEST_CASE("missing ranks are named in the error; a rank of another job, with another size or beyond the size is refused") {
  const std::string at = "127.0.0.1:";
  CHECK(refusal({"127.0.0.1", 0, "job", 0, 3, 0.3}).starts_with("lost: ranks 1, 2 of 3 did not connect to 127.0.0.1:"));
  CHECK(refusal({"127.0.0.1", 0, "job", 0, 3, 0.3}).ends_with(" within 0.3 s"));
  TcpJob job(3, {.job = "job", .deadline = 4});
  std::string first, zero;
  std::thread rank_0([&] { zero = refusal(job.place(0)); });
  std::thread rank_1([&] { first = refusal(job.place(1)); });
  // Ranks 0 and 1 may connect in either order.
  TcpRendezvous elsewhere = job.place(2), larger = job.place(2), too_large = job.place(2);
  elsewhere.job = "other", larger.size = 4, too_large.rank = 3;
  CHECK(refusal(elsewhere) == "refused: rank 2: rank 0 at " + at + std::to_string(job.port()) + " belongs to another job");
  CHECK(test::mentions(refusal(larger), {"refused", "rank 2", "3 ranks", "4"}));
  CHECK(test::mentions(refusal(too_large), {"refused", "rank 3", "below 3"}));
  rank_0.join(), rank_1.join();
  CHECK(zero == "lost: rank 2 of 3 did not connect to " + at + std::to_string(job.port()) + " within 4.0 s");
  CHECK(first == zero);
}

TEST_CASE("a second process with the same rank is refused until the first one has left") {
  TcpJob job(3, {.deadline = 60});
  std::thread rank_0([&] { CHECK(refusal(job.place(0)) == "no error"); });
  Joined j = join_twice(job.port(), 3);
  CHECK(j.refusal == "rank 1 is connected already: two processes were started with the same rank");
  j.in = Socket();                                         // it leaves again
  std::thread rank_1([&] {
    std::string text;
    do text = refusal(job.place(1));
    while (text.find("is connected already") != std::string::npos);                            // until rank 0 has noticed that it left
    CHECK(text == "no error");
  });
  CHECK(refusal(job.place(2)) == "no error");
  rank_0.join(), rank_1.join();
}

TEST_CASE("a stop request ends each wait: for the other ranks, for rank 0, for its answer and for its address") {
  const auto third_time = [] {
    return [n = std::make_shared<std::atomic<int>>(0)] { return ++*n < 3 ? std::string() : std::string("SIGTERM"); };
  };
  const std::string stopped = "stopped: stopped by SIGTERM before all ranks had connected; no work was begun";
  CHECK(refusal({.host = "127.0.0.1", .rank = 0, .size = 2, .stop_asked = third_time()}) == stopped);
  int closed_port = 0;
  {
    const auto listeners = listen_at("127.0.0.1", 0, a_minute());
    closed_port = port_of(listeners.front());
  }
  CHECK(refusal({.host = "127.0.0.1", .port = closed_port, .rank = 1, .size = 2, .stop_asked = third_time()}) == stopped);
  CHECK(refusal({.host = "127.0.0.1", .rank = 1, .size = 2, .find = [](std::string*) { return TcpRendezvous::Found{}; }, .stop_asked = third_time()}) == stopped);
  // Rank 0 is asked to stop while two of three ranks are connected. It passes this on to the other one.
  std::atomic<bool> joined = false;
  TcpJob job(3, {.deadline = 60});
  TcpRendezvous zero = job.place(0);
  zero.stop_asked = [&]() -> std::string { return joined ? "SIGINT" : ""; };
  std::thread rank_0([&] { CHECK(test::mentions(refusal(zero), {"stopped", "SIGINT", "connected"})); });
  const Joined j = join_twice(job.port(), 3);
  joined = true;
  CHECK(test::mentions(text_of_verdict(j.in, Verdict::stopped), {"rank 0", "stopped", "SIGINT"}));
  rank_0.join();
}

TEST_CASE("ranks listen at the given address and nowhere else") {
  // All of 127.0.0.0/8 is this machine: a listener at 127.0.0.1 alone is not found at 127.0.0.2.
  const auto reachable = [](const std::string& host, int port) {
    std::string why;
    bool hopeless = false;
    return connect_to(host, port, {steady_seconds() + 0.01}, &why, &hopeless).open();
  };
  for (const char* host : {"127.0.0.1", "localhost"}) {
    const auto listeners = listen_at(host, 0, a_minute());
    for (const Socket& s : listeners) CHECK(is_loopback(address_of(s)));
    CHECK(reachable("127.0.0.1", port_of(listeners.front())));
    CHECK_FALSE(reachable("127.0.0.2", port_of(listeners.front())));
  }
  const auto all = listen_at("", 0, a_minute());
  CHECK(reachable("127.0.0.2", port_of(all.front())));
  const auto everywhere = listen_at("0.0.0.0", 0, a_minute());
  CHECK(reachable("127.0.0.2", port_of(everywhere.front())));

  // Rank 1 listens by the interface by which it reaches rank 0.
  std::string hello;
  int where[2] = {};
  met([&](const Socket& s) {
    hello = receive(s, hello_bytes);
    const int port = static_cast<int>(decode_hello(hello)->port);
    where[0] = reachable("127.0.0.1", port), where[1] = reachable("127.0.0.2", port);
    send(s, "enough");
  });
  CHECK((where[0] && !where[1]));

  CHECK(test::mentions(test::error_of<ConfigError>([&] { listen_at("203.0.113.7", 0, a_minute()); }), {"cannot listen at 203.0.113.7:0", "203.0.113.7", "0.0.0.0"}));
  CHECK_THROWS_WITH_AS(listen_at("127.0.0.1", port_of(everywhere.front()), a_minute()), doctest::Contains("Address already in use; choose another port"), ConfigError);
  CHECK_THROWS_WITH_AS(listen_at("no-such-host.invalid", 4000, a_minute()), doctest::Contains("this name is unknown on this machine"), ConfigError);
}

TEST_CASE("without a secret, rank 0 warns that its port is open, unless only this machine can reach the port") {
  const auto warnings = [](const std::string& host, const std::string& secret) {
    std::string all;
    TcpRendezvous w{.host = host, .rank = 0, .size = 2, .deadline = 0.1, .secret = secret};
    w.warn = [&](const std::string& text) { all += text + "\n"; };
    CHECK(refusal(w).starts_with("lost: "));
    return all;
  };
  CHECK(warnings("127.0.0.1", "") == "");
  CHECK(warnings("localhost", "") == "");
  CHECK(warnings("0.0.0.0", "secret") == "");
  CHECK(warnings("0.0.0.0", "").starts_with("without FLOWMAP_RENDEZVOUS_SECRET anyone who reaches 0.0.0.0:"));
}

TEST_CASE("the error for an unreachable address states the reason and how long rank 1 tried") {
  CHECK(refusal({"no-such-host.invalid", 4000, "", 1, 2, 0.2}).starts_with("lost: rank 1: rank 0 at no-such-host.invalid:4000 could not be reached: the name no-such-host.invalid is unknown on this machine ("));
  int closed_port = 0;
  {
    const auto listeners = listen_at("127.0.0.1", 0, a_minute());
    closed_port = port_of(listeners.front());
  }
  const std::string refused = refusal({"127.0.0.1", closed_port, "", 1, 2, 0.2});
  CHECK(refused.starts_with("lost: rank 1: rank 0 at 127.0.0.1:" + std::to_string(closed_port) + " could not be reached: Connection refused (tried for 0."));
  CHECK(refused.ends_with(" s)"));
  // The broadcast address accepts no connections. That will not change, so rank 1 gives up long before the deadline of a minute.
  const std::string never = refusal({"255.255.255.255", 4000, "", 1, 2, 60});
  CHECK(never.starts_with("refused: rank 1: rank 0 at 255.255.255.255:4000 could not be reached: "));
}

TEST_CASE("hellos and lists of ranks are encoded and decoded; malformed ones are refused") {
  const Hello h = hello_of(3, 9, HelloPurpose::notice_line, 65535);
  const auto again = decode_hello(encode(h));
  REQUIRE(again);
  CHECK((again->rank == 3 && again->size == 9 && again->purpose == HelloPurpose::notice_line && again->port == 65535 && again->nonce == h.nonce));
  for (std::size_t n = 0; n < hello_bytes; ++n) CHECK_FALSE(decode_hello(encode(h).substr(0, n)));
  CHECK_FALSE(decode_hello(encode(h) + "x"));
  std::string other = encode(h);
  other[28] = 7;
  CHECK_FALSE(decode_hello(other));
  const Places places{{"-", 1}, {"192.0.2.1", 65535}, {"fe80::1%eth0", 20}};
  const auto list = parse_places(to_text(places), 3);
  REQUIRE(list);
  for (std::size_t i = 0; i < 3; ++i) CHECK(((*list)[i].host == places[i].host && (*list)[i].port == places[i].port));
  for (const char* wrong : {"a 1\nb 2\n", "a 1\nb 2\nc 3\nd 4\n", "a 1\nb 2\nc 3", "a 1\nb\nc 3\n", "a 1\n 2\nc 3\n", "a 1\nb 0\nc 3\n", "a 1\nb 65536\nc 3\n",
                            "a 1\nb -2\nc 3\n", "a 1\nb 2 \nc 3\n", "a 1\nb/c 2\nc 3\n", "a 1\nb 99999999999999999999\nc 3\n", "\n\n\n"})
    CHECK_FALSE(parse_places(wrong, 3));
  CHECK_FALSE(parse_places(std::string(65, 'a') + " 1\n", 1));
  CHECK(parse_places(std::string(64, 'a') + " 1\n", 1));
}
