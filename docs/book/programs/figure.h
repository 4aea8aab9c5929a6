// What the programs of the book share: the files of a figure, and a distance.
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

// FOLDER/NAME.csv, the numbers, and FOLDER/NAME.svg, the plot of them.
inline void write_figure(const std::string& folder, const std::string& name, const std::string& csv, const std::string& svg) {
  fm::write_atomically(folder + "/" + name + ".csv", csv);
  fm::write_atomically(folder + "/" + name + ".svg", fm::standalone_svg(svg));
}

// Root mean square of the rows' distances |a - b|.
inline double distance(const fm::Tensor& a, const fm::Tensor& b) { return std::sqrt(fm::sum_squares(a - b) / static_cast<double>(a.dim(0))); }

// Runs a program of the book: CHAPTER [FOLDER]. With FOLDER the figure's files are written there. One thread: the arrays are small, and threads that wait
// for each other on a busy machine took 30 times as long.
template <class F> int run_chapter(int argc, char** argv, F&& chapter) try {
  omp_set_num_threads(1);
  chapter(std::string(argc > 1 ? argv[1] : ""));
  return 0;
} catch (const std::exception& e) {
  fmt::print(stderr, "{}: {}\n", argv[0], e.what());
  return 1;
}
