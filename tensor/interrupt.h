// Ends long work of the library early. Matrix products, file reads and loaders call check_interrupt(), which calls the program's check for
// this thread (for example a function that throws after a stop signal), so that encoding, statistics, sampling and evaluation
// end within a moment. Threads without a check, and the inside of parallel regions, are never interrupted.
#pragma once

namespace fm {

using InterruptCheck = void (*)();

// Sets the check of this thread, or removes it if `check` is null. The check may throw.
void set_interrupt_check(InterruptCheck check);

void check_interrupt();

// While an object of this class lives, its thread is not interrupted. For work whose state must be saved first.
class HoldInterrupts {
 public:
  HoldInterrupts();
  ~HoldInterrupts();
  HoldInterrupts(const HoldInterrupts&) = delete;
  HoldInterrupts& operator=(const HoldInterrupts&) = delete;
};

}  // namespace fm
