// Publishing and rotating checkpoints so that a crash at any point leaves at least one whole.
#include "nn/checkpoint_folder.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdio>

#include "tensor/error.h"
#include "tensor/io/atomic_file.h"

namespace fm {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view prefix = "step-";

// The step of "step-00001000", -1 for any other name.
int64_t step_of(const std::string& name) {
  int64_t step = -1;
  if (name.rfind(prefix, 0) != 0) return -1;
  const auto [stop, error] = std::from_chars(name.data() + prefix.size(), name.data() + name.size(), step);
  return error == std::errc() && stop == name.data() + name.size() ? step : -1;
}

// False where the file system cannot (some network file systems).
bool exchange(const fs::path& a, const fs::path& b) { return renameat2(AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE) == 0; }

}  // namespace

std::string step_name(int64_t step) { return fmt::format("{}{:08}", prefix, step); }

fs::path CheckpointFolder::begin(int64_t step) {
  const fs::path temporary = temporary_name(path(step));
  std::error_code error;
  fs::remove_all(temporary, error);
  if (!error) fs::create_directories(temporary, error);
  if (error) throw FileError(fmt::format("cannot create {}: {}", temporary.string(), error.message()));
  return temporary;
}

void CheckpointFolder::publish(int64_t step) {
  const fs::path temporary = temporary_name(path(step));
  flush_to_disk(temporary);
  // Saved again at the same step, after a resume for instance: the old and the new one change places, so that one is always there.
  if (fs::exists(path(step)) && !exchange(temporary, path(step))) remove(step);
  if (fs::exists(path(step))) {
    std::error_code error;
    fs::remove_all(temporary, error);  // the old one; a leftover is swept on the next start
    flush_to_disk(folder_);
  } else {
    fm::publish(temporary, path(step));
  }
  link_atomically(folder_ / "latest", step_name(step));
  rotate();
}

std::vector<int64_t> CheckpointFolder::newest_first() const {
  std::vector<int64_t> steps;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder_, error))
    if (const int64_t step = step_of(entry.path().filename().string()); step >= 0 && entry.is_directory()) steps.push_back(step);
  std::sort(steps.rbegin(), steps.rend());
  return steps;
}

void CheckpointFolder::forget_after(int64_t step) {
  bool changed = false;
  for (int64_t present : newest_first())
    if (present > step) remove(present), changed = true;
  if (const auto left = newest_first(); changed && !left.empty()) link_atomically(folder_ / "latest", step_name(left.front()));
}

// Renamed first: a half-deleted folder must not look like a checkpoint.
void CheckpointFolder::remove(int64_t step) {
  const fs::path doomed = temporary_name(folder_ / fmt::format("old-{}", step));
  std::error_code error;
  fs::remove_all(doomed, error);
  fs::rename(path(step), doomed, error);
  if (error) throw FileError(fmt::format("cannot remove {}: {}", path(step).string(), error.message()));
  fs::remove_all(doomed, error);  // a leftover is swept on the next start
}

void CheckpointFolder::rotate() {
  const auto steps = newest_first();
  for (size_t i = size_t(std::max<int64_t>(1, keep_)); i < steps.size(); ++i)
    if (keep_every_ <= 0 || steps[i] % keep_every_ != 0) remove(steps[i]);
}

}  // namespace fm
