// Device memory: an arena for each device that the CPU may touch only while device work runs, with a red zone around each allocation.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace host_cuda {

constexpr std::size_t device_bytes = std::size_t{4} << 30;       // address space of a device; pages are added on use

void* take_block(int device, std::size_t bytes);                 // null when the device is full; filled with 0xFF: NaN in every float type
void give_block(int device, void* p);                            // throws Report if p is not a live allocation, or if its red zones were written
void check_red_zones(int device);                                // throws Report, with the size of the allocation, if a red zone was written
bool inside_block(int device, const void* p, std::size_t bytes); // whether all bytes are in one live allocation
int device_of(const void* p);                                    // -1: not device memory
std::size_t used_bytes(int device);
std::string describe(const void* p);                             // "byte 8 of an allocation of 64 bytes"; empty: not device memory
void* open_address(void* p);                                     // an address of the same byte that this library can always access; p itself if p is host memory

// While a DeviceAccess exists, device memory can be read and written. At other times an access by the host ends the program with a message.
class DeviceAccess {
 public:
  DeviceAccess();
  ~DeviceAccess();
  DeviceAccess(const DeviceAccess&) = delete;
  DeviceAccess& operator=(const DeviceAccess&) = delete;
};

int device_count();                                              // FLOWMAP_HOST_CUDA_DEVICES, 2 unless set

}  // namespace host_cuda
