// The first messages of two processes on a new connection, before either is trusted. Every number, length and text may come from
// an unknown process, so all are limited.
//
//   the side that connects                        the side that listens
//   Hello: its rank, the wanted rank, a nonce ->
//                                             <-  Challenge: a nonce
//   HMAC(secret, both)                        ->
//                                             <-  Verdict: a code, a text, HMAC(secret, both, code, text)
//
// Both nonces are new on each connection, so a recorded proof is useless on another. Numbers are little-endian.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/collectives/keyed_hash.h"

namespace fm {

constexpr std::uint32_t rendezvous_protocol = 2;
constexpr std::uint64_t hello_magic = 0x464C4F574D415031, challenge_magic = 0x464C4F574D414332, verdict_magic = 0x464C4F574D415632;
constexpr std::size_t nonce_bytes = 16, hello_bytes = 36 + nonce_bytes, challenge_bytes = 12 + nonce_bytes, verdict_head_bytes = 16 + 32;

enum class HelloPurpose : std::uint32_t { join, data_line, notice_line };

struct Hello {
  std::uint32_t version = rendezvous_protocol, job = 0;   // job: a checksum of its name
  std::int32_t rank = 0, size = 0, to = 0;                // the sender's rank, the number of ranks, the wanted rank
  HelloPurpose purpose = HelloPurpose::join;
  std::uint32_t port = 0;                                 // join: where this rank listens
  std::string nonce;
};

// The answer to a process that connects. The values are sent over the wire.
enum class Verdict : std::uint32_t { welcome, refused, lost, stopped };
struct VerdictHead {
  Verdict code = Verdict::refused;
  std::uint32_t bytes = 0;                                // length of the text that follows
  Digest proof{};
};

// False if a message with this magic number cannot begin with the bytes received so far.
bool may_begin(std::string_view received, std::uint64_t magic);

std::string encode(const Hello& hello);
// Returns no value if the bytes are not a hello: wrong magic number or length, or an unknown purpose.
std::optional<Hello> decode_hello(std::string_view bytes);
std::string encode_challenge(const std::string& nonce);
// Returns the version of the other side, or no value if the bytes are not a challenge.
std::optional<std::uint32_t> version_of_challenge(std::string_view bytes);

// Returns the proof of the side that connects. `transcript`: the bytes of the hello and of the challenge.
Digest proof_of_rank(std::string_view secret, std::string_view transcript);
std::string encode_verdict(Verdict code, std::string_view text, std::string_view secret, std::string_view transcript);
// Returns no value if the bytes are not a verdict, or if its text is longer than `most` bytes.
std::optional<VerdictHead> decode_verdict_head(std::string_view bytes, std::size_t most);
bool is_genuine(const VerdictHead& head, std::string_view text, std::string_view secret, std::string_view transcript);

// The listening addresses of the ranks. "-" stands for rank 0's machine, whose address each rank already has.
struct Place {
  std::string host;
  int port = 0;
};
using Places = std::vector<Place>;
std::string to_text(const Places& places);
// Returns no value if the text is not a list of `size` ranks, each with a host of at most 64 letters, digits, '.', ':', '-', '%' and a port from
// 1 to 65535.
std::optional<Places> parse_places(std::string_view text, int size);
constexpr std::size_t most_bytes_of_place = 72, most_bytes_of_reason = 1024;

// Returns the first `most` characters of the text; characters other than printable ASCII become '?'.
std::string printable(std::string_view text, std::size_t most = 300);

}  // namespace fm
