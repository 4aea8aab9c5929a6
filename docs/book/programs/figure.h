// Shared by the programs of the book: the files of a figure, a distance, and the frame of main().
#pragma once

#include <fmt/format.h>
#include <omp.h>

#include <cmath>
#include <exception>
#include <string>

#include "data/report/csv.h"
#include "data/report/plane.h"
#include "tensor/io/atomic_file.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/reduce.h"

// Writes FOLDER/NAME.csv, the numbers, and FOLDER/NAME.svg, their plot.
inline void write_figure(const std::string& folder, const std::string& name, const std::string& csv, const std::string& svg) {
  fm::write_atomically(folder + "/" + name + ".csv", csv);
  fm::write_atomically(folder + "/" + name + ".svg", fm::standalone_svg(svg));
}

// Root mean square of the rows' distances |a - b|.
inline double distance(const fm::Tensor& a, const fm::Tensor& b) { return std::sqrt(fm::sum_squares(a - b) / static_cast<double>(a.dim(0))); }

// Runs `chapter` with the program's argument, the folder for the figure's files, or with "". It runs on one thread: the arrays are small, and on a busy
// machine several threads, which wait for each other, took 30 times as long.
template <class F> int run_chapter(int argc, char** argv, F&& chapter) try {
  omp_set_num_threads(1);
  chapter(std::string(argc > 1 ? argv[1] : ""));
  return 0;
} catch (const std::exception& e) {
  fmt::print(stderr, "{}: {}\n", argv[0], e.what());
  return 1;
}
