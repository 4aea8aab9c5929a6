// Curves of generated samples beside real ones, for samples that are not images: sequences (C, L), vectors (D), arrays of more dimensions. Points of the
// plane have their own plots (plane.h).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/report/html.h"
#include "data/report/svg_plot.h"
#include "tensor/tensor.h"

namespace fm {

struct NamedSamples {
  std::string name;                      // "test data", "mfd, 1 call"
  Tensor values;                         // f32 or f64 (n, shape of a sample) on any device
  std::vector<std::int64_t> labels = {}; // one for each sample; empty: no labels
};

struct PlotGroup {
  std::string heading, text;             // the text may be empty
  std::vector<Plot> plots;
};

// Number of rows of each set, from the first on, from which statistics are computed: at least 2, and fewer for larger samples, to bound the cost.
std::int64_t rows_for_curves(const Shape& sample);

// Plots by the kind of samples, for up to three channels:
//
//   sequences      samples; mean and variance by position; autocorrelation by lag; power by frequency (flowmap/metrics/series.h)
//   vectors        samples; mean and variance by element. Vectors of up to three numbers: only quantiles of each number
//   other arrays   mean and variance by position, row by row
//
// The first set is the data that the other sets are compared with. `class_names`, by label, are used in legends; a label without a name is shown as a
// number. Sets with a value that is not finite have no statistics. ShapeError if the samples of two sets differ in shape, if a set has fewer than 2 samples,
// or if its labels are not one for each sample.
std::vector<PlotGroup> sample_curves(const std::vector<NamedSamples>& sets, const std::vector<std::string>& class_names);

// Adds the groups at the end of the page.
void add_curves(HtmlReport& page, const std::vector<PlotGroup>& groups);

}  // namespace fm
