// Files of LPIPS: every published layout gives the same network; a file of something else is an error that says what it is.
#include "nn/models/lpips_weights.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <limits>

#include "tests/support/error_of.h"
#include "tests/support/lpips_stand_in.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tensors.h"
#include "tests/support/text.h"
#include "tests/support/torch_writer.h"

using namespace fm;
using namespace fm::test;

namespace {

const Warn no_warning = [](const std::string& text) { FAIL_CHECK(text); };

// slice k of the package begins behind the pool, or for AlexNet with the pool, and holds the layers up to the tap.
int slice_of(int index) { return index < 3 ? 1 : index < 6 ? 2 : index < 8 ? 3 : index < 10 ? 4 : 5; }

// The state dict of the package's module with AlexNet.
NamedTensors whole_module(const Lpips& model) {
  NamedTensors tensors{{"scaling_layer.shift", Tensor::from<float>({-.030f, -.088f, -.188f}, {1, 3, 1, 1})},
                       {"scaling_layer.scale", Tensor::from<float>({.458f, .448f, .450f}, {1, 3, 1, 1})}};
  for (const auto& [name, tensor] : state_dict(model))
    if (name.starts_with("features.")) tensors.emplace_back("net.slice" + std::to_string(slice_of(std::stoi(name.substr(9)))) + name.substr(8), tensor);
    else tensors.emplace_back(name, tensor);
  for (std::size_t l = 0; l < 5; ++l) tensors.emplace_back("lins." + std::to_string(l) + ".model.1.weight", model.heads.weights[l].value);
  return tensors;
}

Weights file_of(NamedTensors tensors, const std::string& name = "file.pth") { return {name, std::move(tensors), -1, nullptr}; }
Weights without(Weights weights, const std::string& name) {
  std::erase_if(weights.tensors, [&](const auto& entry) { return entry.first == name; });
  return weights;
}

}  // namespace

TEST_CASE("LPIPS loads torchvision's trunk with lpips' heads, a whole module, and one file of both") {
  const TempFolder folder;
  const Lpips model = hash_filled_lpips("alex", DType::f32);
  NamedTensors trunk = lpips_stand_in("alex", "features.").tensors;
  trunk.emplace_back("classifier.1.weight", Tensor::ones({4, 5}));
  TorchWriter::write(folder / "trunk.pth", trunk);
  TorchWriter::write(folder / "alex.pth", lpips_stand_in("alex", "lin").tensors);
  TorchWriter::write(folder / "module.pth", whole_module(model));
  save_safetensors(folder / "both.safetensors", state_dict(model));
  const LpipsConfig config{"alex"};
  for (const LpipsFiles& files : {LpipsFiles{folder / "trunk.pth", folder / "alex.pth"}, {folder / "module.pth", ""}, {folder / "both.safetensors", ""}}) {
    CAPTURE(files.trunk);
    const Lpips loaded = load_lpips(files, config, no_warning);
    CHECK(loaded.config.trunk == "alex");
    CHECK(same_in_any_order(state_dict(loaded), state_dict(model)));
    for_each_parameter(loaded, [](const std::string& name, const Parameter& p) { CHECK_MESSAGE(!p.trainable, name); });
  }
  CHECK(has(error_of<FileError>([&] { load_lpips({(folder / "trunk.pth").string(), ""}, config, no_warning); }), "trunk.pth: holds the features of AlexNet, but heads for AlexNet are needed, lin0 to lin4"));
  CHECK(has(error_of<FileError>([&] { load_lpips({(folder / "module.pth").string(), (folder / "alex.pth").string()}, config, no_warning); }), "leave out the second file"));
}

TEST_CASE("LPIPS refuses a file of something else and says what it holds") {
  const Weights alex = lpips_stand_in("alex", "features."), heads = lpips_stand_in("alex", "lin"), vgg_heads = lpips_stand_in("vgg", "lin");
  const Weights vgg = file_of({{"features.0.weight", Tensor::zeros({64, 3, 3, 3})}, {"features.28.weight", Tensor::zeros({512, 512, 3, 3})}}, "vgg.pth");
  const auto error = [&](const Weights& trunk, const Weights* of_heads, const std::string& kind) { return error_of<FileError>([&] { lpips_from(trunk, of_heads, {kind}); }); };
  CHECK(error(alex, &heads, "vgg") == "alex_features..pth: holds the features of AlexNet, but LPIPS is to use VGG16: choose trunk = \"alex\", or another file");
  CHECK(error(vgg, &heads, "alex") == "vgg.pth: holds the features of VGG16, but LPIPS is to use AlexNet: choose trunk = \"vgg\", or another file");
  CHECK(error(alex, &vgg_heads, "alex") == "vgg_lin.pth: holds heads for VGG16, but heads for AlexNet are needed, lin0 to lin4, such as lpips' alex.pth of v0.1");
  CHECK(error(heads, &alex, "alex") == "alex_lin.pth: holds heads for AlexNet, but the features of AlexNet are needed, such as torchvision's alexnet-owt-7be5be79.pth");
  CHECK(error(alex, &alex, "alex") == "alex_features..pth: holds the features of AlexNet, but heads for AlexNet are needed, lin0 to lin4, such as lpips' alex.pth of v0.1");
  CHECK(error(file_of({{"fc.weight", Tensor::zeros({2, 2})}}), &heads, "vgg") ==
        "file.pth: holds neither features nor heads of LPIPS, but the features of VGG16 are needed, such as torchvision's vgg16-397923af.pth");
  Weights vgg19 = vgg, norms = vgg, squeeze = heads;
  vgg19.tensors.emplace_back("features.34.weight", Tensor::zeros({512, 512, 3, 3}));
  norms.tensors.emplace_back("features.1.running_mean", Tensor::zeros({64}));
  for (const char* name : {"lin5.model.1.weight", "lin6.model.1.weight"}) squeeze.tensors.emplace_back(name, Tensor::zeros({1, 512, 1, 1}));
  CHECK(has(error(vgg19, &vgg_heads, "vgg"), "holds the features of VGG19, but LPIPS is to use VGG16"));
  CHECK(has(error(norms, &vgg_heads, "vgg"), "holds the features of a network with batch norm, but"));
  CHECK(has(error(alex, &squeeze, "alex"), "holds heads for SqueezeNet, but heads for AlexNet are needed"));
}

TEST_CASE("LPIPS refuses missing, unknown and unfitting tensors, negative heads, and another scaling") {
  const Weights alex = lpips_stand_in("alex", "features."), heads = lpips_stand_in("alex", "lin");
  const auto error = [&](const Weights& trunk, const Weights* of_heads) { return error_of<FileError>([&] { lpips_from(trunk, of_heads, {"alex"}); }); };
  CHECK(has(error(without(alex, "features.8.bias"), &heads), "features.8.bias"));
  const Weights four = without(heads, "lin2.model.1.weight");
  CHECK(has(error(alex, &four), "lin2.model.1.weight"));
  Weights more = alex, unfit = alex, more_heads = heads, negative = heads, nan = heads;
  more.tensors.emplace_back("features.12.weight", Tensor::zeros({3}));
  CHECK(has(error(more, &heads), "features.12.weight"));
  more_heads.tensors.emplace_back("lin7.bias", Tensor::zeros({3}));
  CHECK(has(error(alex, &more_heads), "lin7.bias"));
  unfit.tensors.back().second = Tensor::zeros({255});
  CHECK(has(error(unfit, &heads), "features.10.bias"));
  const auto fill = [](Weights& w, double value) { w.tensors.back().second = Tensor::full({1, 256, 1, 1}, value); };
  fill(negative, -0.25), fill(nan, std::numeric_limits<double>::quiet_NaN());
  CHECK(has(error(alex, &negative), "alex_lin.pth: lin4.model.1.weight has the element -0.25, but the weights of a distance must be 0 or more"));
  CHECK(has(error(alex, &nan), "lin4.model.1.weight"));
  NamedTensors scaled = whole_module(hash_filled_lpips("alex", DType::f32));
  scaled[1].second = Tensor::ones({1, 3, 1, 1});
  CHECK(has(error(file_of(scaled), nullptr), "scaling_layer.scale is [1, 1, 1], but [0.458, 0.448, 0.45] in LPIPS v0.1"));
}
