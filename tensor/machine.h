// Measured limits of this machine, so that a speed can be stated as a share of the limit. Each is the best of several short runs on all OpenMP
// threads and takes some tenths of a second. Other work on the machine lowers the limits: measure them at the same time as the speeds.
#pragma once

namespace fm {

double measured_f32_peak();   // FLOP/s of multiply-adds on registers
double measured_bf16_peak();  // FLOP/s of bf16 pair products on registers; 0 if the machine has no such instruction
double measured_bandwidth();  // bytes/s of y = a x + y over arrays far larger than the caches: two reads and a write

}  // namespace fm
