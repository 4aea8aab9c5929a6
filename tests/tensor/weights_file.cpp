// Files of weights are told apart by what is in them, whatever they are called.
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

TEST_CASE("one state dict in each format") {
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

TEST_CASE("entries of checkpoints; what is no file of weights") {
  const TempFolder folder;
  const auto first = [](const std::string& entry) {
    return read_tensors(golden / "training-2.pt", entry).tensors.at(0).second.to_vector<float>().at(0);
  };
  CHECK(first("ema") == first("model") / 2);
  CHECK(refusal(golden / "training-2.pt", "weights")
            .find("no entry \"weights\"; there are \"step\" (int), \"epoch\" (int), \"model\" (dict of 7)") != std::string::npos);
  const fs::path file = folder / "old.pth";
  write_atomically(file, "\x80\x02\x8a\x0al\xfc\x9c\x46\xf9\x20j\xa8P\x19.and so on");
  CHECK(refusal(file) == file.string() + ": written by torch.save before PyTorch 1.6; load and save it again with a newer one");
  write_atomically(file, "<html>404</html>");
  CHECK(refusal(file).find("is this another kind of file?") != std::string::npos);
  save_safetensors(file, {{"x", Tensor::scalar(1)}});
  CHECK(refusal(file, "ema") == file.string() + " is one file and has no part \"ema\"");
  CHECK(refusal(folder / "none").find("cannot read") == 0);
}
