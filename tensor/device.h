// Where a tensor's memory lies.
#pragma once

namespace fm {

struct Device {
  enum class Kind { cpu };
  Kind kind = Kind::cpu;
  int index = 0;
  bool operator==(const Device&) const = default;
};

}  // namespace fm
