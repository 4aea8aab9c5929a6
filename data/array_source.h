// Arrays as samples: the rows of one array (N, ...) of a .npy or .npz file, with labels from another (N) or none. Files are mapped, and a row is
// converted when it is read, so a file may be larger than memory.
//
// u8 stays u8, image levels; every other type that element_type.h reads becomes f32. Refused when read, by file, row and position: a value
// that is not finite, a float beyond f32's range, an integer that f32 does not hold exactly.
#pragma once

#include <memory>
#include <string>

#include "data/data_spec.h"
#include "data/picture_store.h"
#include "data/source.h"

namespace fm {

// Arrays by file and, in a .npz, by name. The meaning of empty strings is given for each.
struct ArrayOptions {
  std::string file, x;             // x "": the only array beside labels, or "x", or "arr_0"
  std::string noise;               // of a .npz, the array of the noise that each row of x came from, of its shape: training only. "": none
  std::string labels, y;           // a .npy file, or an array of `file`; both "": "y" or "labels" of `file` where it is there
  std::string test, test_x;        // the test split, a file or another array of `file`; both "": every tenth row of a class is for it
  std::string test_labels, test_y;
  // "hwc": rows (h, w, c) become (c, h, w); "hw": rows (h, w) become (1, h, w); "lc": rows (length, channels) become (channels, length)
  std::string layout = "as-is";
  std::int64_t limit = 0;          // first rows of each class only; 0: all
  ClassOptions classes;
};

// ConfigError: a name or layout that does not fit; noise beside samples of u8. FileError: the errors of npy.h; Fortran order; labels of another number or type; noise of another shape.
std::shared_ptr<const SampleSource> array_source(const ArrayOptions& options, Split split);

// "arrays:FILE" (kinds.h).
std::shared_ptr<const SampleSource> open_arrays(DataSpec& spec, Split split);

}  // namespace fm
