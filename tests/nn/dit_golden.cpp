// Golden numbers of the published code of DiT, SiT and REG, at size S/2 with weights by rule A, and the exact change of SiT's clock.
#include <doctest/doctest.h>

#include "nn/models/dit_weights.h"
#include "tests/support/sit_golden.h"

using namespace fm;
using namespace fm::test;

namespace {

Tensor sit_times() { return Tensor::from<double>({0.9, 0.35}, {2}); }
Tensor labels() { return Tensor::from<std::int64_t>({3, 10}, {2}); }
Tensor latents() { return golden_input({2, 4, 8, 8}); }

// One model for all cases, because the fill takes longer than a call.
const Dit& filled() {
  static const Dit model = [] {
    Dit net = not_filled(golden_s2(false));
    fill_by_rule(net);
    return net;
  }();
  return model;
}

const Dit& in_f64() {
  static const Dit model = [] {
    Dit net = clone(filled());
    to_dtype(net, DType::f64);
    return net;
  }();
  return model;
}

const std::vector<double> sit_first{0.499213425, 0.116158654, 0.373239382, 0.106509344, 0.258989420, 0.224773458, 0.281455006, 0.432594112};
const std::vector<double> sit_last{-0.422600323, 4.563451622, -0.543973718, 4.684888581};

void check_dit(const Tensor& y, Tolerance tolerance) {
  CHECK(y.shape() == Shape{2, 8, 8, 8});
  check_elements(y, 0, {0.499034051, 0.117145729, 0.373094072, 0.107479302, 0.258878831, 0.225684886, 0.281346879, 0.433424343}, tolerance);
  check_last(y, {2.943764922, 3.551731281, 2.943738364, 3.725139455}, tolerance);
}

}  // namespace

TEST_CASE("DiT-S/2 and SiT-S/2 agree with the published code in f64") {
  const Dit& net = in_f64();
  const Tensor x = latents().to(DType::f64);
  const Tensor dit_out = net.all_channels(x, Tensor::from<double>({900, 350}, {2}), labels()).value();
  check_dit(dit_out, {});
  CHECK(near(mean_of(dit_out), -0.001870381910, 1e-6));
  CHECK(near(norm(dit_out), 71.4312571754, 1e-6));

  const Tensor v = net(x, sit_times(), labels()).value();
  CHECK(v.shape() == x.shape());
  check_elements(v, 0, sit_first);
  check_last(v, sit_last);
  check_elements(v, 3 * 64, {-0.302584145, -0.513829902, -0.239332364, -0.403401138});       // channel 3 of the first row
  CHECK(near(mean_of(v), 0.010290970007, 1e-6));
  CHECK(near(norm(v), 50.6136885273, 1e-6));
}

TEST_CASE("the null label is the last row of the table") {
  const Dit& net = in_f64();
  const Tensor x = latents().to(DType::f64).slice(0, 0, 1), t = Tensor::from<double>({0.9}, {1});
  const Tensor v = net(x, t, {}).value();
  check_elements(v, 0, {3.933344894, 3.099099911, 3.846576582, 2.967286878});
  CHECK(near(norm(v), 53.0751350384, 1e-6));
  CHECK(max_difference(v, net(x, t, Tensor::from<std::int64_t>({1000}, {1})).value()) == 0);
}

TEST_CASE("SiT's forward_with_cfg guides the first three channels") {
  const Dit& net = in_f64();
  const Tensor x = latents().to(DType::f64).slice(0, 0, 1), t = Tensor::from<double>({0.9}, {1});
  const Tensor v = net(x, t, Tensor::from<std::int64_t>({3}, {1})).value(), null = net(x, t, {}).value();
  const Tensor guided = null + (v - null) * 4.0, out = concat(std::vector<Tensor>{guided.slice(1, 0, 3), v.slice(1, 3, 4)}, 1);
  check_elements(out, 0, {-9.803180984, -8.832665117, -10.046772220, -8.475823259, -10.205994320, -7.892458762, -9.965740343, -7.332286236});
  CHECK(near(norm(out), 114.6665869964, 1e-6));
}

TEST_CASE("DiT-S/2 and SiT-S/2 agree with the published code in f32") {
  const Dit& net = filled();
  check_dit(net.all_channels(latents(), Tensor::from<float>({900, 350}, {2}), labels()).value(), {5 * 7.5e-6});
  const Tensor v = net(latents(), sit_times().to(DType::f32), labels()).value();
  check_elements(v, 0, sit_first, {5 * 5.2e-6});
  check_last(v, sit_last, {5 * 5.2e-6});
}

TEST_CASE("SiT's weights on this project's clock: v(z, t) = -SiT(z, 1 - t), exact in f64") {
  const Dit& sit = in_f64();
  const NamedTensors converted = with_reversed_clock(without_sigma(state_dict(sit)));
  DitConfig c = golden_s2(false);
  c.learn_sigma = false;
  Dit own = not_filled(c);
  adopt_state(own, converted);
  const Tensor x = latents().to(DType::f64);
  const Tensor v = own(x, Tensor::from<double>({0.1, 0.65}, {2}), labels()).value();
  check_elements(v, 0, {-0.499213425, -0.116158654, -0.373239382, -0.106509344});
  CHECK(near(mean_of(v), -0.010290970007, 1e-6));
  CHECK(near(norm(v), 50.6136885273, 1e-6));
  CHECK(max_difference(v, affine(sit(x, sit_times(), labels()).value(), -1, 0)) < 1e-12);
  const Tensor end = Tensor::ones({2}, DType::f64);
  CHECK(max_difference(own(x, end, labels()).value(), affine(sit(x, end * 0.0, labels()).value(), -1, 0)) < 1e-12);
  const NamedTensors twice = with_reversed_clock(converted), once = without_sigma(state_dict(sit));
  for (std::size_t i = 0; i < once.size(); ++i) CHECK(max_difference(twice[i].second, once[i].second) < 1e-15);       // its own inverse
}

namespace {

// REG's file has the six tensors of a projector between the blocks and the last layer, which are for training only.
Dit filled_reg() {
  DitConfig c = golden_s2(false);
  c.learn_sigma = false, c.class_token = 768;
  Dit net = not_filled(c);
  fill_by_rule(net, [](const std::string& name) { return name == "final_layer.linear.weight" ? 6 : 0; });
  return net;
}

struct JointGolden {
  Tensor velocity, class_token;

  JointGolden(const Dit& net, DType type) {
    const JointVelocity v = net.joint(latents().to(type), golden_noise({2, 768}).to(type), sit_times().to(type), labels());
    velocity = v.latent.value(), class_token = v.class_token.value();
  }
  void check(Tolerance of_latent, Tolerance of_token) const {
    CHECK(velocity.shape() == Shape{2, 4, 8, 8});
    CHECK(class_token.shape() == Shape{2, 768});
    check_elements(velocity, 0, {-1.581798929, 0.161063790, -1.604713474, 0.242310624, -1.476969561, 0.424293760, -1.249019260, 0.555460605}, of_latent);
    check_last(velocity, {0.234242089, 0.167296575, 0.209677820, 0.174873080}, of_latent);
    check_elements(class_token, 0, {0.443821602, -8.700192939, -3.805686846, 7.284878401, 6.699977551, -4.620108833, -8.439653973, 1.346565719}, of_token);
  }
};

}  // namespace

TEST_CASE("REG-S/2 agrees with the published code in f64: velocities of latent and class token") {
  Dit net = filled_reg();
  to_dtype(net, DType::f64);
  const JointGolden got(net, DType::f64);
  got.check({}, {});
  CHECK(near(mean_of(got.velocity), -0.099417811771, 1e-6));
  CHECK(near(norm(got.velocity), 23.4973602392, 1e-6));
  CHECK(near(norm(got.class_token), 196.1667734667, 1e-6));
}

TEST_CASE("REG-S/2 agrees with the published code in f32") {
  const Dit net = filled_reg();
  JointGolden(net, DType::f32).check({5 * 5.3e-6}, {5 * 7.6e-6});
}
