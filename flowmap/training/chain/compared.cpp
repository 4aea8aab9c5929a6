#include "flowmap/training/chain/compared.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "flowmap/training/chain/stages.h"
#include "tensor/error.h"

namespace fm {
namespace fs = std::filesystem;
namespace {

constexpr std::size_t most_compared = 16;    // curves in one plot
constexpr const char* what_to_name = "name the --out folder of a run, a stage's folder in it (runs/a/mfd) or a variant's (runs/a/ablate/objective/lsd)";

bool has_metrics(const fs::path& folder) { return fs::is_regular_file(folder / "metrics.csv"); }

std::vector<fs::path> folders_in(const fs::path& folder) {
  std::vector<fs::path> out;
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.is_directory()) out.push_back(entry.path());
  std::sort(out.begin(), out.end());
  return out;
}

// Returns "seed 1" for "seed-1-5f7456e94dde90b0", the form that ablations give to names of folders, and other names unchanged.
std::string shown_name(const std::string& name) {
  const std::size_t end = name.find('-', 5);
  return name.starts_with("seed-") && end != std::string::npos ? "seed " + name.substr(5, end - 5) : name;
}

// Returns the absolute path without links, dots and a slash at the end, so that all names of one folder become equal.
fs::path plain(const fs::path& folder) {
  const fs::path whole = fs::weakly_canonical(fs::absolute(folder));
  return whole.has_filename() ? whole : whole.parent_path();
}

[[noreturn]] void refuse_folder(const std::string& argument, const fs::path& folder) {
  std::vector<std::string> variants;
  if (fs::exists(folder / "trials.csv"))
    for (const fs::path& variant : folders_in(folder)) variants.push_back((fs::path(argument) / variant.filename()).string());
  if (!variants.empty()) throw FileError(fmt::format("{} is a whole ablation: name its variants: {}", argument, fmt::join(variants, " ")));
  throw FileError(fmt::format("{} is no run, no stage and no variant: neither the folder nor a stage's folder in it has a metrics.csv; {}", argument, what_to_name));
}

Compared compared_of(const std::string& argument) {
  std::error_code none;
  if (!fs::is_directory(argument, none)) throw FileError(fmt::format("{}: there is no such folder; {}", argument, what_to_name));
  Compared out{.folder = plain(argument)};
  if (has_metrics(out.folder)) {
    out.trainings.push_back({.stage = out.folder.filename().string(), .folder = out.folder});
    return out;
  }
  for (const StageSpec& stage : stage_table())
    if (has_metrics(out.folder / stage.name)) out.trainings.push_back({.stage = stage.name, .folder = out.folder / stage.name});
  out.is_run = !out.trainings.empty();
  if (out.is_run) return out;
  for (const fs::path& seed : folders_in(out.folder))
    if (seed.filename().string().starts_with("seed-") && has_metrics(seed)) out.trainings.push_back({.stage = out.folder.filename().string(), .folder = seed});
  if (out.trainings.empty()) refuse_folder(argument, out.folder);
  return out;
}

// Returns the number of folder names that all paths begin with. The last name of each path is never counted.
std::size_t common_names(const std::vector<std::vector<std::string>>& paths) {
  std::size_t n = 0;
  const auto same = [&] { return std::all_of(paths.begin(), paths.end(), [&](const auto& p) { return n + 1 < p.size() && p[n] == paths.front()[n]; }); };
  while (same()) ++n;
  return n;
}

void label(std::vector<Compared>& all) {
  std::vector<std::vector<std::string>> paths;
  for (const Compared& c : all) {
    paths.emplace_back();
    for (const fs::path& name : c.folder) paths.back().push_back(name.string());
  }
  const std::size_t skipped = common_names(paths);
  for (std::size_t i = 0; i < all.size(); ++i) {
    std::vector<std::string> names(paths[i].begin() + static_cast<std::ptrdiff_t>(skipped), paths[i].end());
    for (std::string& name : names) name = shown_name(name);
    all[i].label = fmt::format("{}", fmt::join(names, "/"));
    for (ComparedTraining& t : all[i].trainings) {
      const bool itself = t.folder == all[i].folder;
      t.label = itself ? all[i].label : all[i].label + (all[i].is_run ? "/" : ", ") + shown_name(t.folder.filename().string());
    }
  }
}

}  // namespace

std::vector<Compared> find_compared(const std::vector<std::string>& arguments) {
  if (arguments.size() < 2)
    throw ConfigError(fmt::format("compare takes two folders or more, {} {} given: flowmap_train compare runs/a runs/b; {}", arguments.size(),
                                  arguments.size() == 1 ? "is" : "are", what_to_name));
  std::vector<Compared> out;
  std::size_t trainings = 0;
  for (const std::string& argument : arguments) {
    out.push_back(compared_of(argument));
    for (std::size_t i = 0; i + 1 < out.size(); ++i)
      if (out[i].folder == out.back().folder) throw ConfigError(fmt::format("{} and {} are one folder: give each once", arguments[i], argument));
    trainings += out.back().is_run ? 1 : out.back().trainings.size();
  }
  if (trainings > most_compared)
    throw ConfigError(fmt::format("{} trainings are too many for one page, because a plot shows at most {} curves: name fewer folders (a variant counts once for each seed)", trainings,
                                  most_compared));
  label(out);
  return out;
}

}  // namespace fm
