// The config fields that all training programs share. Derive from RunConfig and call its visit first, so that they stand at the top of
// config.toml and are plain flags (--steps, --batch).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "nn/config/visit.h"

namespace fm {

struct RunConfig {
  std::string data = "shapes";
  int64_t steps = 2000, batch = 64, micro_batch = 0;
  int64_t seed = 1;
  bool deterministic = true;
  int64_t log_every = 50, sample_every = 500, ckpt_every = 500;
  int64_t keep = 3, keep_every = 0;
  std::vector<std::string> log{"csv", "jsonl", "tb", "html"};

  template <class V>
  void visit(V&& v) {
    v("data", data, "what to learn: a data set's name or path");
    v("steps", steps, "optimizer steps", range(0, 1e9));
    v("batch", batch, "samples of one optimizer step", range(1, 1e6));
    v("micro_batch", micro_batch, "samples of one pass, gradients add up to the batch; 0: the whole batch", range(0, 1e6));
    v("seed", seed, "all random numbers follow from it", range(0, 9e15));
    v("deterministic", deterministic, "only kernels that give the same bits every time (on the CPU all do)");
    v("log_every", log_every, "log each so many steps; 0: never", range(0, 1e9));
    v("sample_every", sample_every, "draw sample grids each so many steps; 0: at the end only", range(0, 1e9));
    v("ckpt_every", ckpt_every, "save each so many steps; 0: at the end only", range(0, 1e9));
    v("keep", keep, "newest checkpoints to keep", range(1, 1e6));
    v("keep_every", keep_every, "never delete a checkpoint whose step this divides; 0: none", range(0, 1e9));
    v("log", log, "what to write besides log.txt: metrics.csv, metrics.jsonl, TensorBoard events, report.html",
      one_of({"csv", "jsonl", "tb", "html"}));
  }
};

// How objectives that need d/dt of the network get it.
struct DerivativeConfig {
  std::string derivative = "jvp";
  double fd_step = 0.005;

  template <class V>
  void visit(V&& v) {
    v("derivative", derivative, "exact forward-mode product or central finite difference", one_of({"jvp", "fd"}));
    v("fd_step", fd_step, "step of the finite difference", range(1e-6, 0.5), unit("time"));
  }
};

// True at the steps 1-based that a period of `every` hits; 0 hits none.
inline bool is_due(int64_t step, int64_t every) { return every > 0 && step % every == 0; }

}  // namespace fm
