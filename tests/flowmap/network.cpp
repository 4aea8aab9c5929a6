// Networks as functions: a network shares its model, code that would copy parameters does not compile, and an optimizer whose
// parameters were not in the loss throws.
#include "flowmap/network.h"

#include <doctest/doctest.h>

#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/linear.h"
#include "flowmap/velocity.h"
#include "nn/models/dit_dh.h"
#include "nn/models/flow_mlp.h"
#include "nn/models/judge.h"
#include "nn/models/rae.h"
#include "nn/optim/adamw.h"
#include "nn/ssl/dino.h"
#include "tests/support/tensors.h"

using namespace fm;
using namespace fm::test;

namespace {

// A module as a user would write it, for inputs (B, 2).
struct Scaling {
  Parameter factor{Tensor::ones({2})};
  template <class V> void visit(V&& v) { v("factor", factor); }
  Var operator()(const Var& z, const Var&, const Var&, const Labels&) const { return z * Var(factor); }
  Var operator()(const Var& z, const Var&, const Labels&) const { return z * Var(factor); }
};

template <class... M> constexpr bool moved_not_copied = ((!std::is_copy_constructible_v<M> && !std::is_copy_assignable_v<M> && std::is_move_constructible_v<M>) && ...);
static_assert(moved_not_copied<DitDh, FlowMlp, VitEncoder, RaeDecoder, Rae, Judge, DinoHead>);

template <class Function, class M>
constexpr bool refuses = !std::is_constructible_v<Function, M> && !std::is_constructible_v<Function, M&> && !std::is_constructible_v<Function, const M&> &&
                         !std::is_convertible_v<M, Function>;
static_assert(refuses<FlowMapNet, DitDh> && refuses<VelocityNet, DitDh> && refuses<FlowMapNet, FlowMlp> && refuses<FlowMapNet, Scaling> && refuses<VelocityNet, Scaling>);
static_assert(std::is_convertible_v<std::shared_ptr<DitDh>, FlowMapNet> && std::is_convertible_v<std::shared_ptr<const DitDh>, VelocityNet> &&
              std::is_convertible_v<std::shared_ptr<Scaling>, FlowMapNet>);
static_assert(!std::is_constructible_v<FlowMapNet, std::shared_ptr<Judge>> && !std::is_constructible_v<FlowMapNet, VelocityNet>);

const Tensor z = Tensor::from<float>({1, 2, 3, 4}, {2, 2}), t = Tensor::from<float>({0.5f, 1}, {2});

}  // namespace

TEST_CASE("training through a network function updates the module that it shares") {
  const auto model = std::make_shared<Scaling>();
  const FlowMapNet u = model;
  AdamW optimizer(named_parameters(*model));
  for (int step = 0; step < 5; ++step) {
    Tape tape;
    optimizer.step(backward(sum(square(u(z, t, t, {})))), {.lr = 0.1});
  }
  CHECK(model->factor.value.to_vector<double>()[0] < 0.6);
  CHECK(max_difference(u(z, t, t, {}).value(), z * model->factor.value) == 0);
}

TEST_CASE("a network function keeps its model alive") {
  FlowMapNet u;
  VelocityNet guided;
  {
    const auto model = std::make_shared<Scaling>();
    model->factor.value.fill(3);
    u = model;
    guided = autoguidance(model, std::make_shared<Scaling>(), 2);
  }
  CHECK(max_difference(u(z, t, t, {}).value(), z * 3.0) == 0);
  CHECK(max_difference(diagonal(u)(z, t, {}).value(), z * 3.0) == 0);
  CHECK(max_difference(guided(z, t, {}).value(), z * 5.0) == 0);                // z + 2 (3 z - z)
}

TEST_CASE("calling an empty network function is an error, and so is passing a null model") {
  CHECK_FALSE(FlowMapNet());
  CHECK_THROWS_WITH_AS(FlowMapNet()(z, t, t, {}), "an empty network function was called: assign a model or a lambda to it first", Error);
  CHECK_THROWS_WITH_AS(VelocityNet(std::shared_ptr<Scaling>()), "a network function was given a null model: pass a model made by std::make_shared", Error);
}

TEST_CASE("an optimizer step fails if only a copy of its model was called") {
  Scaling model;
  const FlowMapNet of_a_copy = [copy = model](const Var& x, const Var& s, const Var& at, const Labels& y) { return copy(x, s, at, y); };
  AdamW optimizer(named_parameters(model));
  Tape tape;
  const Gradients gradients = backward(sum(square(of_a_copy(z, t, t, {}))));
  CHECK_THROWS_WITH_AS(optimizer.step(gradients, {.lr = 0.1}), doctest::Contains("none of the 1 parameters (factor, ...) has a gradient"), Error);
  CHECK(max_difference(model.factor.value, Tensor::ones({2})) == 0);
}
