// A deep DiT^DH in bf16: the errors of u, du/dt and the gradient of a MeanFlow step are compared with the errors of PyTorch's autocast for the same
// weights and inputs (golden/autocast_error.py writes golden/autocast_error.txt). The model has 28 blocks of width 256 and 2 of width 384. The batch
// has 2 samples of 64 tokens.
#include <doctest/doctest.h>

#include <cmath>
#include <fstream>
#include <map>
#include <sstream>

#include "autodiff/jvp.h"
#include "autodiff/rules/elementwise.h"
#include "nn/models/dit_dh.h"
#include "tensor/ops/reduce.h"
#include "tests/support/element_hash.h"
#include "tests/support/text.h"

using namespace fm;
using namespace fm::test;

namespace {

DitDhConfig config() {
  DitDhConfig c;
  c.input_size = 8, c.channels = 16, c.classes = 10, c.width = 256, c.depth = 28, c.heads = 4;
  c.head_width = 384, c.head_depth = 2, c.head_heads = 6, c.mean_flow = true;
  return c;
}

// The upper 53 bits of hash_of_element(o, i), scaled to [-sqrt 3, sqrt 3).
Tensor hashed(const Shape& shape, std::uint64_t o) {
  std::vector<float> values(static_cast<std::size_t>(shape.numel()));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>((2 * (static_cast<double>(hash_of_element(o, i) >> 11) / 9007199254740992.0) - 1) * std::sqrt(3.0));
  return Tensor::from(values, shape);
}

// Sets the same weights as weights() in the script.
void fill_by_hash(DitDh& model, double gate) {
  std::uint64_t number = 0;
  for_each_tensor(model, [&](const std::string& name, Tensor& t) {
    const std::uint64_t o = number++;
    if (has(name, "pos_embed") || has(name, "freqs_")) return;
    const Tensor h = hashed(t.shape(), o);
    const bool modulation = has(name, "adaLN");
    const double fan_in = static_cast<double>(t.numel()) / static_cast<double>(t.dim(0));
    const double scale = (modulation ? gate : 1) * (t.rank() > 1 ? 1 / std::sqrt(fan_in) : modulation ? 1 : 0.1);
    if (name.ends_with(".W")) t.copy_from(h);
    else if (has(name, "norm")) t.copy_from(h * 0.1 + 1.0);
    else t.copy_from(h * scale);
  });
}

using Results = std::map<std::string, std::vector<double>>;

Results step(const DitDh& net) {
  const Tensor z = hashed({2, 16, 8, 8}, 1000), v = hashed({2, 16, 8, 8}, 1001), labels = Tensor::from<std::int64_t>({3, 10}, {2});
  const Tensor s = Tensor::from<float>({0.3f, 0.2f}, {2}), t = Tensor::from<float>({0.9f, 0.6f}, {2});
  Tape tape;
  const auto [u, dudt] = jvp([&](const Var& x, const Var& a, const Var& b) { return net(x, a, b, labels); }, at(z, s, t), along(v, zero, 1.0));
  const Tensor target = v - (t - s).reshape({2, 1, 1, 1}) * dudt;
  Results out{{"u", u.value().to_vector<double>()}, {"du/dt", dudt.to_vector<double>()}};
  const Gradients gradients = backward(mean(square(u - target)));
  for_each_parameter(net, [&](const std::string& name, const Parameter& p) {
    if (!p.trainable) return;
    REQUIRE_MESSAGE(gradients[p].defined(), name);
    const std::vector<double> g = gradients[p].to_vector<double>();
    out["gradient"].insert(out["gradient"].end(), g.begin(), g.end());
  });
  return out;
}

double size(const std::vector<double>& x) {
  double sum = 0;
  for (const double v : x) sum += v * v;
  return std::sqrt(sum);
}

struct Golden {
  double gate, error, size;
  std::string quantity;
};

std::vector<Golden> golden() {
  std::ifstream in(std::string(FM_TESTS_FOLDER) + "/golden/autocast_error.txt");
  std::vector<Golden> out;
  for (std::string line; std::getline(in, line);) {
    Golden g;
    if (!line.starts_with('#') && std::istringstream(line) >> g.gate >> g.quantity >> g.error >> g.size) out.push_back(g);
  }
  return out;
}

}  // namespace

TEST_CASE("bf16 blocks on an f32 stream are as accurate as PyTorch's autocast") {
  const std::vector<Golden> all = golden();
  REQUIRE(all.size() == 6);
  DitDh wide(config()), half(config());
  half.config.precision = "bf16";
  for (const double gate : {0.2, 0.05}) {
    fill_by_hash(wide, gate);
    fill_by_hash(half, gate);
    const Results exact = step(wide), rounded = step(half);
    for (const Golden& g : all) {
      if (g.gate != gate) continue;
      CAPTURE(gate);
      CAPTURE(g.quantity);
      std::vector<double> error = rounded.at(g.quantity);
      const std::vector<double>& want = exact.at(g.quantity);
      REQUIRE(error.size() == want.size());
      for (std::size_t i = 0; i < error.size(); ++i) error[i] -= want[i];
      CHECK(std::abs(size(want) / g.size - 1) < 1e-5);                       // the same model in f32, and in the script in f64
      MESSAGE(g.quantity << " at gates of " << gate << ": error " << size(error) / size(want) << ", autocast " << g.error);
      CHECK(size(error) / size(want) < 1.1 * g.error);
      CHECK(size(error) / size(want) > 0.3 * g.error);                       // the model did compute in bf16
    }
  }
}
