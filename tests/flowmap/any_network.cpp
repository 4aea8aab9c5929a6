// Network: one interface for every kind of network, with the numbers of the network itself. Copies share the weights, clones have their own.
#include "flowmap/training/network.h"

#include <doctest/doctest.h>

#include "nn/models/dit_dh.h"
#include "nn/models/flow_mlp.h"
#include "tensor/error.h"
#include "tests/support/near.h"
#include "tests/support/tensors.h"

using namespace fm;
using namespace fm::test;

namespace {

std::shared_ptr<FlowMlp> mlp(bool mean_flow, std::uint64_t seed = 1) {
  return std::make_shared<FlowMlp>(FlowMlpConfig{.width = 8, .depth = 2, .mean_flow = mean_flow}, seed);
}

const Tensor z = random_normal({3, 2}, {.seed = 1}), s = Tensor::from<float>({0.1f, 0.2f, 0.3f}, {3}), t = Tensor::from<float>({0.5f, 0.6f, 0.9f}, {3});

bool same_bits(const Tensor& a, const Tensor& b) { return a.to_vector<float>() == b.to_vector<float>(); }

double first_number(const Network& n) { return n.state().front().second.reshape({-1}).select(0, 0).item(); }

}  // namespace

TEST_CASE("a one-time network gives its velocity for any s; a two-time network's velocity is u(z, t, t)") {
  const auto one = mlp(false), two = mlp(true);
  const Network v(one), u(two);
  CHECK(!v.two_times());
  CHECK(u.two_times());
  CHECK(same_bits(evaluate(v.v(), z, t, {}), (*one)(z, t, Tensor()).value()));
  CHECK(same_bits(evaluate(v.u(), z, s, t, {}), (*one)(z, t, Tensor()).value()));
  CHECK(same_bits(evaluate(u.u(), z, s, t, {}), (*two)(z, s, t, Tensor()).value()));
  CHECK(same_bits(evaluate(u.v(), z, t, {}), evaluate(u.u(), z, t, t, {})));
  CHECK(!same_bits(evaluate(u.u(), z, s, t, {}), evaluate(u.v(), z, t, {})));
}

TEST_CASE("a copy of a Network shares its tensors, a clone does not; using an empty Network is an error") {
  const Network a(mlp(true)), same = a, other = a.clone();
  const double before = first_number(a);
  a.state()[1].second.fill(0.25);
  CHECK(same_bits(same.state()[1].second, a.state()[1].second));
  CHECK(!same_bits(other.state()[1].second, a.state()[1].second));
  CHECK(first_number(other) == before);
  CHECK(!Network());
  CHECK_THROWS_AS(Network().u(), Error);
}

TEST_CASE("follow() gives decay * own weights + (1 - decay) * the leader's; a network of another kind is refused") {
  const Network leader(mlp(true, 1)), follower(mlp(true, 2));
  const Tensor a = follower.state()[1].second.clone(), b = leader.state()[1].second.clone();
  follower.follow(leader, 0.75);
  const auto found = follower.state()[1].second.to_vector<float>(), x = a.to_vector<float>(), y = b.to_vector<float>();
  for (std::size_t i = 0; i < found.size(); ++i) CHECK(near(found[i], 0.75 * x[i] + 0.25 * y[i], 1e-6));
  const auto dit = std::make_shared<DitDh>(
      DitDhConfig{.input_size = 4, .channels = 2, .width = 16, .depth = 1, .heads = 2, .head_width = 16, .head_depth = 1, .head_heads = 2, .classes = 3});
  CHECK_THROWS_WITH_AS(follower.follow(Network(dit), 0.5), doctest::Contains("of its own kind"), Error);
}

TEST_CASE("a frozen network has no parameters to train") {
  const Network a(mlp(true));
  CHECK(a.parameters().size() == 6);
  a.freeze();
  for (const NamedParameter& p : a.parameters()) CHECK(!p.parameter->trainable);
}
