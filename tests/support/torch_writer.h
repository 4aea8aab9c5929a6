// Writes a dict of tensors like torch.save: a zip of uncompressed members, <root>/data.pkl (pickle protocol 2) and one <root>/data/<k> per
// storage. Used for stand-ins of published files. Tensors are written in f32, contiguous. `wrapper` is a key under which another dict holds this
// one: {"ema": {...}}.
#pragma once

#include <cstdint>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "tensor/io/safetensors.h"
#include "tensor/io/zip.h"

namespace fm::test {

class TorchWriter {
 public:
  // `nones`: keys whose value is None.
  static void write(const std::filesystem::path& path, const NamedTensors& tensors, const std::string& wrapper = "",
                    const std::vector<std::string>& nones = {}) {
    const std::string root = path.stem().string();
    ZipWriter zip(path);
    const auto member = [&](const std::string& name, std::string_view bytes) {
      zip.begin(root + "/" + name);
      zip.write(bytes);
      zip.end();
    };
    member("data.pkl", TorchWriter().pickle(tensors, wrapper, nones));
    member("byteorder", "little");
    for (std::size_t k = 0; k < tensors.size(); ++k) {
      const Tensor t = tensors[k].second.to(DType::f32).contiguous();
      member("data/" + std::to_string(k), {static_cast<const char*>(t.raw()), t.bytes()});
    }
    member("version", "3\n");
    zip.finish();
  }

 private:
  std::string out_;

  void text(const std::string& s) {
    out_ += 'X';
    for (int i = 0; i < 4; ++i) out_ += static_cast<char>(s.size() >> 8 * i & 255);
    out_ += s;
  }
  void number(std::int64_t n) {                    // BININT, or LONG1 beyond 31 bits
    const bool wide = n > 0x7fffffff;
    out_ += wide ? "\x8a\x08" : "J";
    for (int i = 0; i < (wide ? 8 : 4); ++i) out_ += static_cast<char>(n >> 8 * i & 255);
  }
  void global(const std::string& module, const std::string& name) { out_ += "c" + module + "\n" + name + "\n"; }
  void tuple(const std::vector<std::int64_t>& numbers) {
    out_ += '(';
    for (std::int64_t n : numbers) number(n);
    out_ += 't';
  }
  void empty_ordered_dict() {
    global("collections", "OrderedDict");
    out_ += ")R";
  }
  void tensor(const Tensor& t, std::size_t key) {
    std::vector<std::int64_t> shape(t.shape().begin(), t.shape().end()), strides(shape.size(), 1);
    for (std::size_t i = shape.size(); i-- > 1;) strides[i - 1] = strides[i] * shape[i];
    global("torch._utils", "_rebuild_tensor_v2");
    out_ += "((";
    text("storage");
    global("torch", "FloatStorage");
    text(std::to_string(key));
    text("cpu");
    number(t.numel());
    out_ += "tQ";                                  // the persistent id of the storage
    number(0);
    tuple(shape);
    tuple(strides);
    out_ += "\x89";                                // requires_grad: False
    empty_ordered_dict();
    out_ += "tR";
  }
  std::string pickle(const NamedTensors& tensors, const std::string& wrapper, const std::vector<std::string>& nones) {
    out_ = "\x80\x02";
    if (!wrapper.empty()) {
      out_ += '}';
      text(wrapper);
    }
    empty_ordered_dict();
    out_ += '(';
    for (const std::string& name : nones) {
      text(name);
      out_ += 'N';
    }
    for (std::size_t k = 0; k < tensors.size(); ++k) {
      text(tensors[k].first);
      tensor(tensors[k].second, k);
    }
    out_ += 'u';
    if (!wrapper.empty()) out_ += 's';
    return out_ + '.';
  }
};

}  // namespace fm::test
