// Mean and deviation over repetitions: the contents of every cell in a table of measurements.
#pragma once

#include <cstddef>
#include <vector>

namespace fm {

struct Statistics {
  double mean = 0, deviation = 0;  // deviation: sample standard deviation, with n - 1 in the denominator; 0 if n < 2
  std::size_t n = 0;               // number of finite values; if it is 0, mean is NaN
};

Statistics statistics(const std::vector<double>& values);  // values that are not finite are left out

double median(std::vector<double> values);                 // the mean of the two middle values if their number is even; needs one value

// (largest - smallest) / median: how far repeated measurements lie apart.
double spread(const std::vector<double>& values);

}  // namespace fm
