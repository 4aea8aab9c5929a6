// Measured limits of this machine, for stating speeds as shares of them. Best of several short runs on all threads that OpenMP
// uses; some tenths of a second each. Other work on the machine lowers them: measure them at the same time as the speeds.
#pragma once

namespace fm {

double measured_f32_peak();   // FLOP/s of multiply-adds on registers
double measured_bf16_peak();  // FLOP/s of bf16 pair products on registers; 0 where the machine has no such instruction
double measured_bandwidth();  // bytes/s of y = a x + y over arrays far larger than the caches: two reads and a write

}  // namespace fm
