// Arrays as samples: the rows of one array (N, ...) of a .npy or .npz file, with labels from another (N) or none. Files are mapped, and a row is
// converted when it is read, so a file may be larger than memory.
//
// u8 values stay u8, the levels of images; every other type that element_type.h reads becomes f32. Reading throws a FileError with file, row and
// position for a value that is not finite, a float beyond f32's range, or an integer that f32 does not hold exactly.
#pragma once

#include <memory>
#include <string>

#include "data/data_spec.h"
#include "data/picture_store.h"
#include "data/source.h"

namespace fm {

// Names of files and, in a .npz, of arrays. The comments say what an empty string means.
struct ArrayOptions {
  std::string file, x;             // x "": the only array that is neither labels nor noise, else "x", else "arr_0"
  std::string noise;               // array of the .npz with the noise that belongs to each row of x, in x's shape; for training only. "": none
  std::string labels, y;           // labels: a file; y: an array of it, or of `file`. Both "": the array "y" or "labels" of `file`, if one exists
  std::string test, test_x;        // the test split: another file, or another array of `file`. Both "": every tenth row of a class is for the test
  std::string test_labels, test_y;
  // "hwc": rows (h, w, c) become (c, h, w); "hw": rows (h, w) become (1, h, w); "lc": rows (length, channels) become (channels, length)
  std::string layout = "as-is";
  std::int64_t limit = 0;          // number of rows of each class, the first ones; 0: all
  ClassOptions classes;
};

// Opens one split. ConfigError: a name or layout that does not fit; noise for samples of u8. FileError: the errors of npy.h; Fortran order; labels
// that are not whole numbers, or not one per row; noise of another shape.
std::shared_ptr<const SampleSource> array_source(const ArrayOptions& options, Split split);

// "arrays:FILE" (kinds.h).
std::shared_ptr<const SampleSource> open_arrays(DataSpec& spec, Split split);

}  // namespace fm
