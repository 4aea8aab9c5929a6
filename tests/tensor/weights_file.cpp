// Files of weights are recognized by their contents, whatever their names.
#include "tensor/io/weights_file.h"

#include <doctest/doctest.h>

#include "tensor/error.h"
#include "tensor/io/atomic_file.h"
#include "tensor/io/npy.h"
#include "tensor/io/safetensors.h"
#include "tests/support/temp_folder.h"

using namespace fm;
namespace fs = std::filesystem;

namespace {

const fs::path golden = fs::path(FM_TESTS_FOLDER) / "golden/torch";

std::string refusal(const fs::path& file, const std::string& entry = {}) {
  try {
    read_tensors(file, entry);
  } catch (const FileError& e) {
    return e.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("read_tensors reads the same state dict from safetensors, npz and PyTorch files") {
  const TempFolder folder;
  const NamedTensors tensors = read_tensors(golden / "bare-2.pt").tensors;
  REQUIRE(tensors.size() == 7);
  const fs::path file = folder / "weights";
  const auto check = [&] {
    const NamedTensors back = read_tensors(file).tensors;
    CHECK(back.size() == tensors.size());
    for (const auto& [name, t] : tensors)
      for (const auto& [other, u] : back)
        if (name == other) CHECK((u.dtype() == t.dtype() && u.shape() == t.shape() && u.to_vector<double>() == t.to_vector<double>()));
  };
  save_safetensors(file, tensors);
  check();
  NpzWriter npz(file);
  for (const auto& [name, t] : tensors) {
    const std::vector<std::int64_t> shape(t.shape().begin(), t.shape().end());
    if (t.dtype() == DType::i64)
      npz.add<std::int64_t>(name, shape, t.to_vector<std::int64_t>());
    else
      npz.add<float>(name, shape, t.to_vector<float>());
  }
  npz.finish();
  check();
  fs::copy_file(golden / "ema-1.13.pt", file, fs::copy_options::overwrite_existing);
  check();
  write_npy<float>(folder / "mean.npy", {2}, std::vector<float>{1, 2});
  CHECK(read_tensors(folder / "mean.npy").tensors.at(0).first == "mean");
}

TEST_CASE("an entry of a checkpoint is read by its name; files that hold no weights are refused with the reason") {
  const TempFolder folder;
  const auto first = [](const std::string& entry) {
    return read_tensors(golden / "training-2.pt", entry).tensors.at(0).second.to_vector<float>().at(0);
  };
  CHECK(first("ema") == first("model") / 2);
  CHECK(refusal(golden / "training-2.pt", "weights")
            .find("no entry \"weights\"; there are \"step\" (int), \"epoch\" (int), \"model\" (dict of 7)") != std::string::npos);
  const fs::path file = folder / "old.pth";
  const std::string start = file.string() + ": ";
  write_atomically(file, std::string("sys_info") + std::string(249, '\0') + "ustar\00000" + std::string(240, '\0'));
  CHECK(refusal(file) == start + "a tar archive, which torch.save wrote before PyTorch 0.1.10: load and save it again with a newer PyTorch");
  write_atomically(file, "\x80\x04K\x01NNNNNNNN.");
  CHECK(refusal(file) == start + "a pickle that torch.save did not write: load it in Python and save its tensors with torch.save or numpy.savez");
  write_atomically(file, "\x89HDF\r\n");
  CHECK(refusal(file) == start + "an HDF5 file: save its arrays with numpy.savez");
  write_atomically(file, std::string("PK\5\6") + std::string(18, '\0'));
  CHECK(refusal(file) == start + "the zip file has neither a data.pkl, as a PyTorch checkpoint has, nor .npy members, as a .npz has");
  write_atomically(file, "<html>404</html>");
  CHECK(refusal(file).find("is this another kind of file?") != std::string::npos);
  std::string header = R"({"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})";
  header.resize(0x280, ' ');  // the length begins like a pickle, and the data end like one
  write_atomically(file, std::string("\x80\2\0\0\0\0\0\0", 8) + header + ".");
  CHECK(read_tensors(file).tensors.at(0).second.item() == '.');
  save_safetensors(file, {{"x", Tensor::scalar(1)}});
  CHECK(refusal(file, "ema") == file.string() + " is one file and has no part \"ema\"");
  CHECK(refusal(folder / "none").find("cannot read") == 0);
}
