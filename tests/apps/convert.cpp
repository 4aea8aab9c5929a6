// The program that converts weights, run as a user would, on the encoder that comes with the configs.
#include <doctest/doctest.h>

#include "tensor/io/atomic_file.h"
#include "tensor/io/npy.h"
#include "tensor/io/safetensors.h"
#include "tests/support/child.h"
#include "tests/support/text.h"

using namespace fm;
using namespace fm::test;

namespace {

const std::string encoder_file = FM_TESTS_FOLDER "/../configs/weights/fashion_mnist_encoder.safetensors";

Result convert(const Arguments& arguments) { return run_program_file(own_folder().parent_path() / "apps" / "convert", arguments); }

void refused(const Arguments& arguments, int code, const std::string& message) {
  const Result result = convert(arguments);
  CHECK(result.code == code);
  CHECK_MESSAGE(result.err.find(message) != std::string::npos, result.err);
}

}  // namespace

TEST_CASE("convert changes names and types, and converting the names back gives the same weights") {
  const TempFolder folder;
  const std::string meta = (folder / "meta.safetensors").string(), back = (folder / "back.safetensors").string(),
                    half = (folder / "half.safetensors").string();
  REQUIRE(convert({"--from", encoder_file, "--part", "encoder", "--names", "meta", "--to", meta}).code == 0);
  REQUIRE(convert({"--from", meta, "--part", "encoder", "--to", back}).code == 0);
  REQUIRE(convert({"--from", meta, "--dtype", "bf16", "--to", half}).code == 0);
  const Safetensors before(encoder_file), after(back), small(half);
  CHECK(Safetensors(meta).has("blocks.0.attn.qkv.weight"));
  REQUIRE(before.size() == after.size());
  for (const auto& [name, t] : before.tensors()) CHECK(after[name].to_vector<float>() == t.to_vector<float>());
  CHECK(small["blocks.0.attn.qkv.weight"].dtype() == DType::bf16);
}

TEST_CASE("convert writes npz, and refuses bf16 for it") {
  const TempFolder folder;
  const std::string npz = (folder / "a.npz").string();
  REQUIRE(convert({"--from", encoder_file, "--to", npz}).code == 0);
  const Safetensors before(encoder_file);
  const NpzReader after(npz);
  CHECK(after.names().size() == before.size());
  CHECK(after.read("embeddings.cls_token").to_vector<float>() == before["embeddings.cls_token"].to_vector<float>());
  refused({"--from", encoder_file, "--dtype", "bf16", "--to", npz}, 2, "which .npz does not have: add --dtype f32");
}

TEST_CASE("convert leaves out unreadable tensors with a warning and converts the rest") {
  const TempFolder folder;
  const std::string from = FM_TESTS_FOLDER "/golden/foreign/types.safetensors", to = (folder / "a.npz").string();
  const Result result = convert({"--from", from, "--to", to, "--dtype", "f32"});
  CHECK(result.code == 0);
  CHECK(has(result.err, "\"complex\" of " + from + " is left out: elements of complex64 cannot be read: save its real"));
  CHECK(has(result.err, "\"nine\" of " + from + " is left out: it has 9 dimensions"));
  const NpzReader after(to);
  CHECK(after.names().size() == Safetensors(from).size() - 3);
  CHECK(!after.has("complex"));
  CHECK(after.read("negative.int8").to_vector<std::int32_t>() == std::vector<std::int32_t>{-128, -1, 0, 127});
  CHECK(after.read("all.float8_e4m3fn").to_vector<float>()[0x7e] == 448);
}

TEST_CASE("convert removes temporary files of a killed conversion to the same file, and keeps those of other files") {
  const TempFolder folder;
  for (const char* name : {"a.npz", "a.safetensors"}) {
    const std::string to = (folder / name).string();
    write_atomically(to + ".tmp-12345", "half");
    write_atomically((folder / "other.npz.tmp-12345").string(), "half");
    REQUIRE(convert({"--from", encoder_file, "--to", to}).code == 0);
    CHECK(!std::filesystem::exists(to + ".tmp-12345"));
    CHECK(std::filesystem::exists(folder / "other.npz.tmp-12345"));
  }
}

TEST_CASE("convert reads a PyTorch checkpoint, or one of its entries, and writes safetensors or npz") {
  const TempFolder folder;
  const std::string file = FM_TESTS_FOLDER "/golden/torch/training-2.pt";
  const std::string ema = (folder / "ema.safetensors").string(), model = (folder / "model.npz").string();
  REQUIRE(convert({"--from", file, "--to", ema}).code == 0);
  REQUIRE(convert({"--from", file + ":model", "--to", model}).code == 0);
  const Safetensors averaged(ema);
  CHECK(averaged.size() == 7);
  CHECK(averaged["0.weight"].select(0, 0).to_vector<float>()[0] == NpzReader(model).read("0.weight").to_vector<float>()[0] / 2);
  REQUIRE(convert({"--from", model, "--to", ema}).code == 0);
  CHECK(Safetensors(ema)["0.bias"].to_vector<float>() == NpzReader(model).read("0.bias").to_vector<float>());
  refused({"--from", file + ":weights", "--to", ema}, 3, "no entry \"weights\"; there are \"step\" (int)");
  refused({"--from", file + ":optimizer", "--to", ema}, 3, "choose one of its entries as " + file + ":ENTRY");
}

TEST_CASE("convert refuses missing flags, unknown endings, missing files and missing parts, and writes no file") {
  const TempFolder folder;
  const std::string to = (folder / "a.safetensors").string();
  refused({"--from", encoder_file}, 2, "convert needs --from WEIGHTS and --to FILE");
  refused({"--from", encoder_file, "--to", (folder / "a.pickle").string()}, 2, "the name must end in .safetensors or .npz");
  refused({"--from", (folder / "none").string(), "--to", to}, 3, "does not exist");
  refused({"--from", encoder_file, "--part", "dit", "--to", to}, 3, "no dit in this file");
  CHECK(std::filesystem::is_empty(folder.path()));
}
