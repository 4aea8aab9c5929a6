// The numbers one step reports. On the CPU they are available at once, on a GPU while the next step runs.
#pragma once

#include <vector>

#include "nn/training/observer.h"
#include "nn/training/stage.h"

namespace fm {

struct StepNumbers {
  struct Part {
    Late loss;
    double share;                          // of the batch
    std::vector<StepMetric> metrics;
  };
  std::int64_t step = 0;                   // counted from 1
  std::vector<Part> parts = {};
  Late gradient_norm = 0;
  double lr = 0;
  Tensor squares = {};                     // of gradients by parameter; undefined where the next step writes to them
  Arriving sent = {};                      // the parts' losses, the norm

  bool known() const;
  double loss() const;                     // of these parts
  void send();                             // requests losses and norm from the device
  StepReport received();                   // waits for them; once
  std::vector<StepMetric> metrics() const; // means over the parts; all are read in one wait
};

// DivergedError where the loss of this step (counted from 1) is not finite.
void check_finite(const std::string& stage, double loss, std::int64_t step);

}  // namespace fm
