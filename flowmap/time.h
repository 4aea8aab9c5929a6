// Times: distributions on [0, 1], the dimension-dependent shift, and pairs s <= t.
//   shift(t) = alpha t / (1 + (alpha-1) t),   alpha = max(1, sqrt(dim / 4096)): high-dimensional latents need more of the
// noisy end (Esser et al. 2024, used by RAE). The maximum with 1 leaves the times of small latents unshifted.
#pragma once

#include <string>
#include <vector>

#include "flowmap/draws.h"
#include "flowmap/trained_jumps.h"
#include "nn/config/visit.h"

namespace fm {

inline double shift_time(double t, double alpha) { return alpha * t / (1 + (alpha - 1) * t); }
double normal_below(double x);                               // P(N(0, 1) < x)
double shift_for_dimension(std::int64_t dim);                // max(1, sqrt(dim / 4096))

struct TimeConfig {
  std::string distribution = "uniform";
  double mean = 0;
  double deviation = 1;
  double upper = 0.999;
  double shift = 0;
  template <class V> void visit(V&& v) {
    v("distribution", distribution, "distribution of the time before the shift", one_of({"uniform", "logit_normal"}));
    v("mean", mean, "mean of log(t / (1-t)), for logit_normal");
    v("deviation", deviation, "standard deviation of log(t / (1-t)), for logit_normal", above(0));
    v("upper", upper, "largest time before the shift", range(0, 1));
    v("shift", shift, "factor alpha of the time shift; 0: max(1, sqrt(dim / 4096)) for dim elements per sample; 1: no shift", at_least(0));
  }

  double alpha(std::int64_t dim) const { return shift > 0 ? shift : shift_for_dimension(dim); }
  // Maps a uniform number to a time. The logit-normal is truncated to [0, upper] through its inverse distribution function.
  double operator()(double uniform, std::int64_t dim) const;
};

struct PairConfig {
  TimeConfig time = {};
  double diagonal_share = 0.75;
  double zero_share = 0;
  double one_share = 0;
  bool exact_share = false;
  bool null_rows_diagonal = false;
  template <class V> void visit(V&& v) {
    v("time", time, "distribution of the two times of a row, before they are sorted into s <= t");
    v("diagonal_share", diagonal_share, "share of rows with s = t", range(0, 1));
    v("zero_share", zero_share, "share of rows with s = 0", range(0, 1));
    v("one_share", one_share, "share of jumps from noise (t = 1) among the rows with s < t; FreeFlow has 1",
      range(0, 1));
    v("exact_share", exact_share, "exact diagonal_share and zero_share in each batch (or micro-batch); false: each row is drawn with these probabilities");
    v("null_rows_diagonal", null_rows_diagonal,
      "s = t on rows with a dropped label, which with exact_share count among the diagonal_share (official JAX MeanFlow); false: these rows are drawn like the others");
  }

  // Returns the reason why the rows with s < t, or their number, depend on the step, or "" if they do not. `keys`: the path of these settings in the
  // config, such as "mfd.objective.pairs".
  std::string varies(const std::string& keys) const;

  Jumps jumps() const;                   // the jumps that rows with these shares train
};

// The times of a batch's rows. Rows with s < t come first, because derivatives are computed for the first rows only.
struct Pairs {
  std::vector<double> s, t;              // in the new order
  std::vector<std::int64_t> order;       // new row i is old row order[i]
  std::int64_t off_diagonal = 0;         // number of rows with s < t
};

// Draws two times per sample, shifts them and sorts them into (s, t). A row then gets s := t with probability diagonal_share, or s := 0 with probability
// zero_share. A row that is not on the diagonal gets t := 1 with probability one_share; its s is then the first of the two times, or 0 as before.
// Rows with force_diagonal[i] always get s = t. With exact_share they count among the round(diagonal_share * rows) rows with s = t, and other rows fill up
// the rest. dim: elements of one sample.
Pairs draw_pairs(const PairConfig& config, const Draws& draws, std::int64_t dim, const std::vector<bool>& force_diagonal = {});

}  // namespace fm
