#include "tensor/collectives/file_rendezvous.h"

#include <cctype>
#include <cstdint>
#include <cstring>

#include "tensor/error.h"
#include "tensor/io/atomic_file.h"
#include "tensor/io/crc32c.h"

namespace fm {
namespace {

struct Head {
  std::uint64_t magic = 0x464C4F574D465631;  // "FLOWMFV1"
  std::uint32_t bytes = 0, checksum = 0;
};

}  // namespace

std::filesystem::path FileRendezvous::file() const {
  std::string name = "flowmap-rendezvous";
  if (job.find_first_not_of('/') != std::string::npos) name += "-" + job;
  for (char& c : name)
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '-';
  return folder / name;
}

void leave_at(const FileRendezvous& where, const std::string& bytes) {
  const Head head{.bytes = static_cast<std::uint32_t>(bytes.size()), .checksum = crc32c(bytes)};
  write_atomically(where.file(), std::string(reinterpret_cast<const char*>(&head), sizeof head) + bytes);
}

std::string look_at(const FileRendezvous& where, std::string* why) {
  const auto path = where.file();
  std::error_code ignored;
  *why = path.string() + " is not there";
  if (!std::filesystem::exists(path, ignored)) return "";
  std::string text;
  try {
    text = read_file(path);
  } catch (const FileError& e) {  // it went meanwhile
    *why = e.what();
    return "";
  }
  Head head, wanted;
  std::memcpy(&head, text.data(), std::min(sizeof head, text.size()));
  const std::string bytes = text.size() > sizeof head ? text.substr(sizeof head) : "";
  if (text.size() < sizeof head || head.magic != wanted.magic)
    *why = path.string() + " is not a rendezvous of this program";
  else if (bytes.size() != head.bytes)
    *why = path.string() + " has " + std::to_string(bytes.size()) + " bytes of " + std::to_string(head.bytes);
  else if (crc32c(bytes) != head.checksum)
    *why = path.string() + " has another checksum than it says";
  else
    return bytes;
  return "";
}

void clear(const FileRendezvous& where) {
  std::error_code ignored;
  std::filesystem::remove(where.file(), ignored);
}

}  // namespace fm
