#include "tensor/collectives/hello.h"

#include <algorithm>
#include <charconv>

namespace fm {
namespace {

template <class T> void put(std::string& out, T value) {
  for (std::size_t i = 0; i < sizeof(T); ++i) out += static_cast<char>(static_cast<std::uint64_t>(value) >> (8 * i));
}

template <class T> T take(std::string_view& in) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) value |= std::uint64_t{static_cast<unsigned char>(in[i])} << (8 * i);
  in.remove_prefix(sizeof(T));
  return static_cast<T>(value);
}

std::string bytes_of(const Digest& d) { return {reinterpret_cast<const char*>(d.data()), d.size()}; }

// Returns the proof of a verdict. Code and length precede the text, so no two verdicts have the same bytes.
Digest proof_of_verdict(Verdict code, std::string_view text, std::string_view secret, std::string_view transcript) {
  std::string signed_bytes = "flowmap: the one that listens";
  put(signed_bytes, static_cast<std::uint32_t>(code));
  put(signed_bytes, static_cast<std::uint32_t>(text.size()));
  return hmac_sha256(secret, signed_bytes.append(transcript).append(text));
}

bool is_host(std::string_view text) {
  const auto fits = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' || c == ':' || c == '-' || c == '%'; };
  return !text.empty() && text.size() <= 64 && std::all_of(text.begin(), text.end(), fits);
}

}  // namespace

bool may_begin(std::string_view received, std::uint64_t magic) {
  std::string wanted;
  put(wanted, magic);
  const std::size_t n = std::min(received.size(), wanted.size());
  return received.substr(0, n) == std::string_view(wanted).substr(0, n);
}

std::string encode(const Hello& h) {
  std::string out;
  put(out, hello_magic), put(out, h.version), put(out, h.job);
  put(out, h.rank), put(out, h.size), put(out, h.to);
  put(out, static_cast<std::uint32_t>(h.purpose)), put(out, h.port);
  out += h.nonce;
  out.resize(hello_bytes, '\0');
  return out;
}

std::optional<Hello> decode_hello(std::string_view in) {
  if (in.size() != hello_bytes || !may_begin(in, hello_magic)) return {};
  in.remove_prefix(8);
  Hello h;
  h.version = take<std::uint32_t>(in), h.job = take<std::uint32_t>(in);
  h.rank = take<std::int32_t>(in), h.size = take<std::int32_t>(in), h.to = take<std::int32_t>(in);
  const auto purpose = take<std::uint32_t>(in);
  h.port = take<std::uint32_t>(in);
  h.nonce = in;
  if (purpose > static_cast<std::uint32_t>(HelloPurpose::notice_line)) return {};
  h.purpose = static_cast<HelloPurpose>(purpose);
  return h;
}

std::string encode_challenge(const std::string& nonce) {
  std::string out;
  put(out, challenge_magic), put(out, rendezvous_protocol);
  out += nonce;
  out.resize(challenge_bytes, '\0');
  return out;
}

std::optional<std::uint32_t> version_of_challenge(std::string_view in) {
  if (in.size() != challenge_bytes || !may_begin(in, challenge_magic)) return {};
  in.remove_prefix(8);
  return take<std::uint32_t>(in);
}

Digest proof_of_rank(std::string_view secret, std::string_view transcript) {
  return hmac_sha256(secret, std::string("flowmap: the one that connects").append(transcript));
}

std::string encode_verdict(Verdict code, std::string_view text, std::string_view secret, std::string_view transcript) {
  std::string out;
  put(out, verdict_magic), put(out, static_cast<std::uint32_t>(code)), put(out, static_cast<std::uint32_t>(text.size()));
  return out.append(bytes_of(proof_of_verdict(code, text, secret, transcript))).append(text);
}

std::optional<VerdictHead> decode_verdict_head(std::string_view in, std::size_t most) {
  if (in.size() != verdict_head_bytes || !may_begin(in, verdict_magic)) return {};
  in.remove_prefix(8);
  const auto code = take<std::uint32_t>(in);
  VerdictHead head;
  head.bytes = take<std::uint32_t>(in);
  std::copy(in.begin(), in.end(), head.proof.begin());
  if (code > static_cast<std::uint32_t>(Verdict::stopped) || head.bytes > most) return {};
  head.code = static_cast<Verdict>(code);
  return head;
}

bool is_genuine(const VerdictHead& head, std::string_view text, std::string_view secret, std::string_view transcript) {
  return same_digest(head.proof, proof_of_verdict(head.code, text, secret, transcript));
}

std::string to_text(const Places& places) {
  std::string text;
  for (const Place& p : places) text += p.host + " " + std::to_string(p.port) + "\n";
  return text;
}

std::optional<Places> parse_places(std::string_view text, int size) {
  Places places;
  while (!text.empty()) {
    const std::size_t end = text.find('\n'), space = text.find(' ');
    if (end == std::string_view::npos || space > end || places.size() == static_cast<std::size_t>(size)) return {};
    const std::string_view host = text.substr(0, space), number = text.substr(space + 1, end - space - 1);
    Place p{std::string(host), 0};
    const auto [stop, error] = std::from_chars(number.data(), number.data() + number.size(), p.port);
    if (!is_host(host) || error != std::errc() || stop != number.data() + number.size() || p.port < 1 || p.port > 65535) return {};
    places.push_back(std::move(p));
    text.remove_prefix(end + 1);
  }
  if (places.size() != static_cast<std::size_t>(size)) return {};
  return places;
}

std::string printable(std::string_view text, std::size_t most) {
  std::string out(text.substr(0, most));
  for (char& c : out)
    if (c < ' ' || c > '~') c = '?';
  return out;
}

}  // namespace fm
