// Ending long work of the library. Products of matrices, file reads and loaders call check_interrupt(); it calls what the program has set for
// this thread (for example a function that throws when a signal has asked for a stop), so that encoding, statistics, sampling and evaluation
// end within a moment wherever they are. Threads for which nothing was set, and the inside of parallel regions, are never interrupted.
#pragma once

namespace fm {

using InterruptCheck = void (*)();

// Of this thread; null: none. The check may throw.
void set_interrupt_check(InterruptCheck check);

void check_interrupt();

// While one lives, this thread is not interrupted: for work whose state must be saved first.
class HoldInterrupts {
 public:
  HoldInterrupts();
  ~HoldInterrupts();
  HoldInterrupts(const HoldInterrupts&) = delete;
  HoldInterrupts& operator=(const HoldInterrupts&) = delete;
};

}  // namespace fm
