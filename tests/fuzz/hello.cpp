// Messages of an unknown process to a rank. The first byte chooses a hello (or challenge), a verdict or a list of ranks. An accepted hello or list must
// stay the same when it is written again, and a list must respect its bounds. A verdict must respect its bound, and must not count as genuine.
#include "tensor/collectives/hello.h"
#include "tests/fuzz/fuzz.h"

namespace {

void check(bool holds) {
  if (!holds) std::abort();
}

void read_hello(std::string_view bytes) {
  const auto h = fm::decode_hello(bytes);
  if (h) check(fm::encode(*h) == bytes);
  fm::version_of_challenge(bytes);
}

void read_verdict(std::string_view bytes) {
  const auto head = fm::decode_verdict_head(bytes.substr(0, fm::verdict_head_bytes), 1000);
  if (!head) return;
  check(head->bytes <= 1000);
  check(!fm::is_genuine(*head, bytes.substr(fm::verdict_head_bytes), "a secret that no input knows", "transcript"));
}

void read_places(std::string_view bytes) {
  if (bytes.empty()) return;
  const int size = static_cast<unsigned char>(bytes[0]) % 8;
  const auto places = fm::parse_places(bytes.substr(1), size);
  if (!places) return;
  check(places->size() == static_cast<std::size_t>(size));
  for (const fm::Place& p : *places) check(p.host.size() <= 64 && p.host == fm::printable(p.host) && p.port >= 1 && p.port <= 65535);
  const auto again = fm::parse_places(fm::to_text(*places), size);
  check(again && fm::to_text(*again) == fm::to_text(*places));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes{reinterpret_cast<const char*>(data) + 1, size - 1};
  if (data[0] % 3 == 0) read_hello(bytes);
  else if (data[0] % 3 == 1) read_verdict(bytes);
  else read_places(bytes);
  for (char c : fm::printable(bytes)) check(c >= ' ' && c <= '~');
  return 0;
}
