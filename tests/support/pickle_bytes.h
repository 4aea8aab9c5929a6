// Pickles of protocol 2 composed by hand, as torch.save writes them or with faults.
#pragma once

#include <string>

#include "tensor/io/zip_records.h"

namespace fm::test::pickle {

template <class T>
std::string little(T value) {
  std::string out;
  zip_records::put(out, value);
  return out;
}

inline std::string text(const std::string& s) { return "X" + little(std::uint32_t(s.size())) + s; }
inline std::string whole(std::int64_t n) { return std::string("\x8a\x08") + little(std::uint64_t(n)); }
inline std::string global(const std::string& module, const std::string& name) { return "c" + module + "\n" + name + "\n"; }
inline std::string tuple(const std::string& items) { return "(" + items + "t"; }
inline std::string memo(std::uint32_t index) { return "r" + little(index); }
inline std::string recall(std::uint32_t index) { return "j" + little(index); }
inline std::string dict(const std::string& pairs) { return "}(" + pairs + "u"; }
inline std::string file(const std::string& value) { return "\x80\x02" + value + "."; }

inline std::string storage(const std::string& key, std::int64_t numel, const std::string& type = "FloatStorage") {
  return tuple(text("storage") + global("torch", type) + text(key) + text("cpu") + whole(numel)) + "Q";
}

inline std::string numbers(std::initializer_list<std::int64_t> list) {
  std::string items;
  for (const std::int64_t n : list) items += whole(n);
  return tuple(items);
}

inline std::string tensor(const std::string& storage, std::int64_t offset, const std::string& shape, const std::string& strides) {
  return global("torch._utils", "_rebuild_tensor_v2") +
         tuple(storage + whole(offset) + shape + strides + "\x89" + global("collections", "OrderedDict") + ")R") + "R";
}

}  // namespace fm::test::pickle
