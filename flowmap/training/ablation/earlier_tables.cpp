#include "flowmap/training/ablation/earlier_tables.h"

#include <fmt/format.h>

#include "tensor/error.h"
#include "tensor/io/atomic_file.h"

namespace fm {

void keep_earlier_tables(const std::filesystem::path& folder, const std::string& comparison, Messages& log) {
  constexpr const char* what_they_are_of = "comparison.txt";
  const std::filesystem::path file = folder / what_they_are_of;
  if (std::filesystem::exists(file) && read_file(file) == comparison) return;
  if (std::filesystem::exists(folder / "table.csv")) {
    std::filesystem::path aside;
    for (int n = 1; aside.empty() || std::filesystem::exists(aside); ++n) aside = folder / fmt::format("earlier-{}", n);
    std::error_code error;
    std::filesystem::create_directory(aside, error);
    // table.csv last: if the move is interrupted, table.csv is still here and the next start moves the remaining files
    for (const char* name : {"report.html", "samples.png", "table.tex", "table.md", "trials.csv", what_they_are_of, "table.csv"})
      if (!error && std::filesystem::exists(folder / name)) std::filesystem::rename(folder / name, aside / name, error);
    if (error) throw FileError(fmt::format("{}: cannot move the tables of another comparison to {}: {}", folder.string(), aside.string(), error.message()));
    log.info("the tables of another comparison are kept in {}", aside.string());
  }
  write_atomically(file, comparison);
}

}  // namespace fm
