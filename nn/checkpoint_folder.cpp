// Publishes and deletes checkpoints so that a crash at any point leaves at least one undamaged checkpoint.
#include "nn/checkpoint_folder.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <utility>

#include "tensor/io/atomic_file.h"
#include "tensor/io/system_error.h"

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

// Exchanges two paths atomically. Returns false if the file system does not support it (some network file systems).
bool exchange(const fs::path& a, const fs::path& b) { return renameat2(AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE) == 0; }

// The first unused path: path itself, "path-2", "path-3", ...
fs::path free_name(const fs::path& path) {
  fs::path name = path;
  for (int n = 2; fs::exists(fs::symlink_status(name)); ++n) name = path.string() + fmt::format("-{}", n);
  return name;
}

void rename_or_throw(const fs::path& from, const fs::path& to) {
  if (std::rename(from.c_str(), to.c_str()) != 0) throw SystemFileError("rename", from, errno);
}

// Returns true if two folders contain the same files with the same bytes.
bool same_files(const fs::path& a, const fs::path& b) {
  std::size_t files = 0;
  for (const auto& entry : fs::directory_iterator(a)) {
    const fs::path other = b / entry.path().filename();
    if (!entry.is_regular_file() || !fs::is_regular_file(other) || entry.file_size() != fs::file_size(other)) return false;
    if (sum_of_file(entry.path()).crc != sum_of_file(other).crc) return false;
    ++files;
  }
  return files == static_cast<std::size_t>(std::distance(fs::directory_iterator(b), {}));
}

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
  // If the step already has a checkpoint, for example after a resume, the old and the new one are exchanged, so that one always exists.
  if (fs::exists(path(step)) && !exchange(temporary, path(step))) remove(step);
  if (fs::exists(path(step))) {
    std::error_code error;
    fs::remove_all(temporary, error);  // the old checkpoint; the next start deletes leftovers
    flush_to_disk(folder_);
  } else {
    fm::publish(temporary, path(step));
  }
  point_latest(step);
  rotate();
}

std::vector<int64_t> CheckpointFolder::newest_first() const {
  std::vector<int64_t> steps;
  std::error_code error;
  fs::directory_iterator entry(folder_, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
    const int64_t step = step_of(entry->path().filename().string());
    std::error_code gone;                          // for an entry that was removed after it was listed
    if (step >= 0 && entry->is_directory(gone)) steps.push_back(step);
  }
  if (error && error != std::errc::no_such_file_or_directory && error != std::errc::not_a_directory)
    throw SystemFileError("read", folder_, error.value());
  std::sort(steps.rbegin(), steps.rend());
  return steps;
}

int64_t newest_step(const fs::path& folder) {
  const auto steps = CheckpointFolder(folder, 1, 0).newest_first();
  return steps.empty() ? -1 : steps.front();
}

std::vector<fs::path> CheckpointFolder::move_aside_after(int64_t step, std::string_view suffix) {
  std::vector<fs::path> moved;
  for (int64_t present : newest_first()) {
    if (present <= step) continue;
    moved.push_back(free_name(fmt::format("{}.{}", path(present).string(), suffix)));
    rename_or_throw(path(present), moved.back());
  }
  if (const auto left = newest_first(); !moved.empty() && !left.empty()) point_latest(left.front());
  return moved;
}

void CheckpointFolder::point_latest(int64_t step) {
  const fs::path link = folder_ / "latest";
  try {
    const bool is_link = fs::is_symlink(fs::symlink_status(link));
    if (is_link && fs::read_symlink(link) == step_name(step)) return;
    if (!is_link) clear_the_way(link);
    link_atomically(link, step_name(step));
  } catch (const std::exception& e) {              // FileError, filesystem_error
    warn_once(told_link_, fmt::format("{} is not set to {}: {}; programs find the newest checkpoint without it", link.string(), step_name(step), e.what()));
  }
}

void CheckpointFolder::keep_best(int64_t step) {
  std::error_code no_link;
  if (fs::read_symlink(folder_ / "best", no_link) == step_name(step)) return;
  try {
    link_atomically(folder_ / "best", step_name(step));
  } catch (const std::exception& e) {              // FileError, filesystem_error
    warn_once(told_best_, fmt::format("{} is not set to {}: {}", (folder_ / "best").string(), step_name(step), e.what()));
  }
}

void CheckpointFolder::clear_the_way(const fs::path& link) {
  if (!fs::exists(fs::symlink_status(link))) return;
  if (fs::is_directory(link))
    for (int64_t step : newest_first()) {
      if (!same_files(link, path(step))) continue;
      const fs::path doomed = temporary_name(folder_ / "old-latest");
      rename_or_throw(link, doomed);
      std::error_code ignored;                     // the next start deletes leftovers
      fs::remove_all(doomed, ignored);
      return;
    }
  const fs::path aside = free_name(link.string() + ".copy");
  rename_or_throw(link, aside);
  if (warn_) warn_(fmt::format("{} was not a link to a checkpoint: it was renamed to {}", link.string(), aside.string()));
}

void CheckpointFolder::warn_once(bool& warned, const std::string& line) {
  if (!std::exchange(warned, true) && warn_) warn_(line);
}

// Renames the folder before deleting it, because a half-deleted folder must not look like a checkpoint.
void CheckpointFolder::remove(int64_t step) {
  const fs::path doomed = temporary_name(folder_ / fmt::format("old-{}", step));
  std::error_code error;
  fs::remove_all(doomed, error);
  fs::rename(path(step), doomed, error);
  if (error) throw FileError(fmt::format("cannot remove {}: {}", path(step).string(), error.message()));
  fs::remove_all(doomed, error);  // the next start deletes leftovers
}

void CheckpointFolder::rotate() {
  const auto steps = newest_first();
  std::error_code no_link;
  const std::string best = fs::read_symlink(folder_ / "best", no_link).string();
  for (size_t i = size_t(std::max<int64_t>(1, keep_)); i < steps.size(); ++i)
    if (step_name(steps[i]) != best && (keep_every_ <= 0 || steps[i] % keep_every_ != 0)) try {
        remove(steps[i]);
      } catch (const FileError& e) {               // the new checkpoint is saved, so training continues
        warn_once(told_removal_, fmt::format("{}; old checkpoints are kept", e.what()));
      }
}

}  // namespace fm
