// `flowmap_train init`: a config for the user's own data, and an estimate of its time and memory on this machine.
#pragma once

#include "apps/cli/program.h"

namespace fm {

struct InitCommand {
  std::string data, budget = "30m";
  std::int64_t size = 0, seed = 1;
  template <class V> void visit(V&& v) {
    v("data", data, "data set of your own, images or arrays: folder:PATH, zip:FILE, tar:SHARDS, arrays:FILE (docs/own_pictures.md)",
      flag("data"), basic());
    v("budget", budget, "time that the whole pipeline may take on this machine, for example 30m or 8h", flag("budget"), basic());
    v("size", size, "side that images are cut to; 0: the largest that the budget allows, at most 256",
      range(0, 1024), unit("pixels"), flag("size"), basic());
    v("seed", seed, "seed of all random numbers of the run", range(0, 9e15), flag("seed"), basic());
  }
};

// Writes out/config.toml. ConfigError if that file exists.
int run_init(InitCommand& command, Context& context);

}  // namespace fm
