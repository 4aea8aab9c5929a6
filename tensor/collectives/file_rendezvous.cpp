#include "tensor/collectives/file_rendezvous.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdint>
#include <cstring>

#include "tensor/error.h"
#include "tensor/io/atomic_file.h"
#include "tensor/io/crc32c.h"

namespace fm {
namespace {

constexpr std::size_t most_bytes = 4096;

struct Head {
  std::uint64_t magic = 0x464C4F574D465631;  // "FLOWMFV1"
  std::uint32_t bytes = 0, checksum = 0;
};

class OpenFile {
 public:
  explicit OpenFile(int descriptor) : descriptor_(descriptor) {}
  ~OpenFile() {
    if (descriptor_ >= 0) close(descriptor_);
  }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  int get() const { return descriptor_; }

 private:
  int descriptor_;
};

// Returns why an open file cannot be trusted: another user owns it, or may read or write it. Empty if only this user can read and write it.
std::string not_ours(int descriptor) {
  struct stat s {};
  if (fstat(descriptor, &s) != 0) return std::strerror(errno);
  if (!S_ISREG(s.st_mode)) return "it is not a regular file";
  if (s.st_uid != geteuid()) return "it belongs to user " + std::to_string(s.st_uid) + ", but this process runs as user " + std::to_string(geteuid());
  if ((s.st_mode & 077) != 0) return "users other than its owner may read or write it";
  return "";
}

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
  const std::string all = std::string(reinterpret_cast<const char*>(&head), sizeof head) + bytes;
  const auto path = where.file(), temporary = temporary_name(path);
  unlink(temporary.c_str());                    // left by a killed process that had the same process id
  const OpenFile file(open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  const bool written = file.get() >= 0 && write(file.get(), all.data(), all.size()) == static_cast<ssize_t>(all.size()) && fsync(file.get()) == 0;
  std::string why = written ? not_ours(file.get()) : std::strerror(errno);
  if (why.empty()) return publish(temporary, path);
  unlink(temporary.c_str());
  throw FileError("cannot write " + path.string() + ": " + why + (written ? "; choose a folder on another file system" : ""));
}

std::string look_at(const FileRendezvous& where, std::string* why) {
  const auto path = where.file();
  const OpenFile file(open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (file.get() < 0) {
    *why = errno == ENOENT ? path.string() + " does not exist" : path.string() + " cannot be read: " + std::strerror(errno);
    return "";
  }
  if (*why = not_ours(file.get()); !why->empty()) {
    *why = path.string() + " is rejected: " + *why;
    return "";
  }
  std::string text(most_bytes + 1, '\0');
  const ssize_t n = read(file.get(), text.data(), text.size());
  text.resize(static_cast<std::size_t>(std::max<ssize_t>(0, n)));
  Head head, wanted;
  std::memcpy(&head, text.data(), std::min(sizeof head, text.size()));
  const std::string bytes = text.size() > sizeof head ? text.substr(sizeof head) : "";
  if (text.size() < sizeof head || head.magic != wanted.magic)
    *why = path.string() + " is not a rendezvous file of this program";
  else if (bytes.size() != head.bytes)
    *why = path.string() + " has " + std::to_string(bytes.size()) + " bytes of " + std::to_string(head.bytes);
  else if (crc32c(bytes) != head.checksum)
    *why = path.string() + " has a wrong checksum";
  else
    return bytes;
  return "";
}

void clear(const FileRendezvous& where) {
  std::error_code ignored;
  std::filesystem::remove(where.file(), ignored);
}

}  // namespace fm
