// Curves of samples that are not images, generated ones beside real ones: sequences (C, L), vectors (D), arrays of more dimensions. Points of the plane
// have their own plots (plane.h).
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
  std::vector<std::int64_t> labels = {}; // one a sample; empty: they have none
};

struct PlotGroup {
  std::string heading, text;             // the text may be empty
  std::vector<Plot> plots;
};

// Rows of each set that statistics are computed of: the first ones, so that the cost is bounded. 2 or more.
std::int64_t rows_for_curves(const Shape& sample);

// For sequences: samples, mean and variance by position, autocorrelation by lag and power by frequency (flowmap/metrics/series.h). For vectors: samples,
// mean and variance by element; of up to three numbers their quantiles. Of other arrays: mean and variance by position, row by row. Of the first three
// channels. The first set is the data that the others are compared with. `class_names` by label are for legends; a label beyond them is shown as a number.
// Sets with a value that is not finite have no statistics. ShapeError for sets of other shapes than the first, fewer than 2 samples, or labels that are
// not one a sample.
std::vector<PlotGroup> sample_curves(const std::vector<NamedSamples>& sets, const std::vector<std::string>& class_names);

// Adds them at the end of the page.
void add_curves(HtmlReport& page, const std::vector<PlotGroup>& groups);

}  // namespace fm
