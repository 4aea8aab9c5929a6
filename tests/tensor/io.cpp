// Atomic files and CRC-32C.
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <numeric>

#include "tensor/error.h"
#include "tensor/io/atomic_file.h"
#include "tensor/io/crc32c.h"
#include "tests/support/temp_folder.h"

using namespace fm;
namespace fs = std::filesystem;

TEST_CASE("crc32c: the vectors of RFC 3720 B.4") {
  std::string rising(32, 0), falling(32, 0);
  std::iota(rising.begin(), rising.end(), 0);
  std::iota(falling.rbegin(), falling.rend(), 0);
  CHECK(crc32c(std::string(32, '\0')) == 0x8a9136aau);
  CHECK(crc32c(std::string(32, '\xff')) == 0x62a8ab43u);
  CHECK(crc32c(rising) == 0x46dd794eu);
  CHECK(crc32c(falling) == 0x113fdb5cu);
  CHECK(crc32c("123456789") == 0xe3069283u);
  CHECK(crc32c("") == 0u);
}

TEST_CASE("crc32c of a text in two parts equals crc32c of the whole text") {
  std::string bytes(1000, 0);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = char(i * 7 + i / 13);
  for (size_t cut : {0, 1, 7, 8, 9, 500, 999, 1000})
    CHECK(crc32c(std::string_view(bytes).substr(cut), crc32c(std::string_view(bytes).substr(0, cut))) == crc32c(bytes));
}

TEST_CASE("an atomic file replaces the old one only on commit") {
  TempFolder folder;
  const fs::path path = folder / "a.bin";
  write_atomically(path, "old");
  {
    AtomicFile file(path);
    file.write("half");
    CHECK(read_file(path) == "old");
  }
  CHECK(read_file(path) == "old");
  CHECK(std::distance(fs::directory_iterator(folder.path()), {}) == 1);
  AtomicFile file(path);
  file.write("new");
  file.write(" text");
  file.commit();
  CHECK(read_file(path) == "new text");
  CHECK(std::distance(fs::directory_iterator(folder.path()), {}) == 1);
}

TEST_CASE("a temporary folder is published under its final name; a link can be replaced atomically") {
  TempFolder folder;
  const fs::path step = folder / "step-1";
  fs::create_directory(temporary_name(step));
  write_atomically(temporary_name(step) / "x", "1");
  flush_to_disk(temporary_name(step));
  publish(temporary_name(step), step);
  CHECK(read_file(step / "x") == "1");
  link_atomically(folder / "latest", "step-1");
  link_atomically(folder / "latest", "step-1");
  CHECK(read_file(folder / "latest" / "x") == "1");
}

TEST_CASE("stale temporaries are removed; files with similar names stay") {
  TempFolder folder;
  fs::create_directory(folder / "step-2.tmp-123");
  std::ofstream(folder / "step-2.tmp-123" / "x") << 1;
  std::ofstream(folder / "a.tmp-9") << 1;
  std::ofstream(folder / "a.tmp-") << 1;
  std::ofstream(folder / "a.tmp-9b") << 1;
  CHECK(remove_stale_temporaries(folder.path()) == 2);
  CHECK(std::distance(fs::directory_iterator(folder.path()), {}) == 2);
  CHECK(remove_stale_temporaries(folder / "none") == 0);
}

TEST_CASE("stale temporaries of one file are removed; those of other files stay") {
  TempFolder folder;
  for (const char* name : {"a.npz.tmp-1", "a.npz.tmp-22", "a.npz", "b.npz.tmp-1", "a.npz.tmp-x", "ba.npz.tmp-1"})
    std::ofstream(folder / name) << 1;
  CHECK(remove_stale_temporaries_of(folder / "a.npz") == 2);
  CHECK(std::distance(fs::directory_iterator(folder.path()), {}) == 4);
  CHECK(fs::exists(folder / "b.npz.tmp-1"));
  CHECK(remove_stale_temporaries_of(folder / "none" / "a.npz") == 0);
}

TEST_CASE("a file that cannot be renamed to its final name leaves no temporary behind") {
  TempFolder folder;
  fs::create_directory(folder / "taken");
  CHECK_THROWS_WITH_AS(write_atomically(folder / "taken", "1"), doctest::Contains("taken: Is a directory"), FileError);
  CHECK(std::distance(fs::directory_iterator(folder.path()), {}) == 1);
}

TEST_CASE("errors name the file and the reason") {
  TempFolder folder;
  write_atomically(folder / "file", "");
  CHECK_THROWS_WITH_AS(write_atomically(folder / "file" / "x", "1"), doctest::Contains("Not a directory"), FileError);
  CHECK_THROWS_WITH_AS(read_file(folder / "missing"), doctest::Contains("No such file"), FileError);
  CHECK_THROWS_AS(read_file(folder.path()), FileError);
}
