// The numbers one step reports. On the CPU they are available at once, on a GPU while the next step runs.
#pragma once

#include <vector>

#include "nn/training/observer.h"
#include "nn/training/stage.h"

namespace fm {

struct StepNumbers {
  struct Part {
    Late loss;
    double share;                          // the part's share of the batch
    std::vector<StepMetric> metrics;
  };
  std::int64_t step = 0;                   // counted from 1
  std::vector<Part> parts = {};
  Late gradient_norm = 0;
  double lr = 0;
  Tensor squares = {};                     // sums of squares of the gradients, by parameter; undefined in recorded steps
  Arriving sent = {};                      // the losses of the parts and the gradient norm, on their way to the host

  bool known() const;                      // loss and norm are on the host
  double loss() const;                     // loss over these parts
  void send();                             // requests losses and norm from the device
  StepReport received();                   // waits for losses and norm; call it once
  std::vector<StepMetric> metrics() const; // means over the parts; waits once for all of them
};

// DivergedError if the loss of this step (counted from 1) is not finite.
void check_finite(const std::string& stage, double loss, std::int64_t step);

}  // namespace fm
