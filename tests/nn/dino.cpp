// DINO against formulas in f64: the head's unit rows, the center on one rank and several, the loss over pairs of crops, the cosine of the momentum.
#include "nn/ssl/dino.h"

#include <doctest/doctest.h>

#include <cmath>
#include <numeric>
#include <vector>

#include "autodiff/rules/elementwise.h"
#include "tensor/collectives/threads.h"
#include "tensor/random/fill.h"
#include "tests/support/near.h"

using namespace fm;
using fm::test::near;
using fm::test::near_zero;

namespace {

using Numbers = std::vector<double>;

Numbers numbers(const Tensor& x) { return x.to_vector<double>(); }

Numbers softmax_of(const Numbers& x, double temperature) {
  Numbers out;
  double sum = 0;
  for (const double v : x) out.push_back(std::exp(v / temperature)), sum += out.back();
  for (double& v : out) v /= sum;
  return out;
}

}  // namespace

TEST_CASE("the head's outputs are cosines between its bottleneck and its prototypes") {
  DinoHead head(3, 8, 4, 5);
  reset_parameters(head, 1);
  head.fc1.weight.value.copy_from(random_normal({8, 3}, {.seed = 1}));
  head.fc2.weight.value.copy_from(random_normal({8, 8}, {.seed = 2}));
  head.fc3.weight.value.copy_from(random_normal({4, 8}, {.seed = 3}));
  const Tensor x = random_normal({6, 3}, {.seed = 4}) * 3.0;
  const Var y = head(Var(x));
  REQUIRE(y.shape() == Shape{6, 5});
  // The bottleneck, computed element by element.
  const auto gelu_of = [](double v) { return 0.5 * v * (1 + std::erf(v / std::sqrt(2.0))); };
  const auto layer = [](const Numbers& in, const Tensor& weight, const Tensor& bias) {
    const Numbers w = numbers(weight), b = numbers(bias);
    const std::size_t n = in.size(), m = static_cast<std::size_t>(weight.dim(0));
    Numbers out(m);
    for (std::size_t i = 0; i < m; ++i) {
      out[i] = b[i];
      for (std::size_t j = 0; j < n; ++j) out[i] += w[i * n + j] * in[j];
    }
    return out;
  };
  const Numbers p = numbers(head.prototypes.value);
  for (std::size_t r = 0; r < 6; ++r) {
    Numbers h = numbers(x.select(0, static_cast<std::int64_t>(r)));
    for (const Linear* l : {&head.fc1, &head.fc2}) {
      h = layer(h, l->weight.value, l->bias.value);
      for (double& v : h) v = gelu_of(v);
    }
    h = layer(h, head.fc3.weight.value, head.fc3.bias.value);
    const double length = std::sqrt(std::inner_product(h.begin(), h.end(), h.begin(), 0.0));
    for (std::size_t k = 0; k < 5; ++k) {
      double dot = 0, size = 0;
      for (std::size_t j = 0; j < 4; ++j) dot += h[j] * p[4 * k + j], size += p[4 * k + j] * p[4 * k + j];
      CHECK(near_zero(numbers(y.value())[5 * r + k] - dot / length / std::sqrt(size), 1e-5));
    }
  }
  double squares = 0;
  for (const double v : numbers(head.prototypes.value)) squares += v * v;
  CHECK((squares > 5 && squares < 60));                            // sum of the squares of 20 numbers from N(0, 1)
}

TEST_CASE("a checkpoint of the head contains all of its parameters") {
  const DinoHead head(3, 8, 4, 5);
  std::int64_t values = 0;
  for (const auto& [name, tensor] : state_dict(head)) values += tensor.numel();
  CHECK(values == (3 * 8 + 8) + (8 * 8 + 8) + (8 * 4 + 4) + 5 * 4);
}

TEST_CASE("the center moves towards the mean of the step's rows, in one part or several, and stays if there are none") {
  DinoCentre centre(2, 0.75);
  CHECK(numbers(centre.value()) == Numbers{0, 0});
  const void* place = centre.value().raw();
  centre.move();
  CHECK(numbers(centre.value()) == Numbers{0, 0});
  centre.see(Tensor::from<float>({1, 2, 3, 4}, {2, 2}));
  centre.see(Tensor::from<float>({8, 0}, {1, 2}));
  CHECK(numbers(centre.value()) == Numbers{0, 0});                 // unchanged until the step ends
  centre.move();
  CHECK(near(numbers(centre.value())[0], 0.25 * 4, 1e-6));
  CHECK(near(numbers(centre.value())[1], 0.25 * 2, 1e-6));
  centre.move();
  CHECK(near(numbers(centre.value())[0], 1, 1e-6));
  centre.see(Tensor::from<float>({5, 1}, {1, 2}));                 // only the rows of this step count
  centre.move();
  CHECK(near(numbers(centre.value())[0], 0.75 * 1 + 0.25 * 5, 1e-6));
  CHECK(near(numbers(centre.value())[1], 0.75 * 0.5 + 0.25 * 1, 1e-6));
  CHECK(centre.value().raw() == place);                            // checkpoints refer to this memory
  DinoCentre usual(1);
  usual.see(Tensor::ones({3, 1}));
  usual.move();
  CHECK(near(numbers(usual.value())[0], 0.1, 1e-6));
}

TEST_CASE("the center of several ranks equals that of one rank with all rows") {
  for (const int n : {1, 2, 3})
    run_ranks(n, [&](Communicator& ranks) {
      DinoCentre centre(2, 0.5);
      for (int step = 0; step < 2; ++step) {
        // Rank r sees r + 1 rows of (r + 1, -r): unequal counts.
        for (int i = 0; i <= ranks.rank(); ++i) centre.see(Tensor::from<float>({static_cast<float>(ranks.rank() + 1), static_cast<float>(-ranks.rank())}, {1, 2}));
        centre.add_over(ranks);
        centre.move();
      }
      double rows = 0, first = 0, second = 0;
      for (int r = 0; r < n; ++r) rows += r + 1, first += (r + 1) * (r + 1), second -= (r + 1) * r;
      CHECK(near(numbers(centre.value())[0], 0.75 * first / rows, 1e-6));
      CHECK(near_zero(numbers(centre.value())[1] - 0.75 * second / rows, 1e-6));
    });
}

TEST_CASE("the loss is the mean cross-entropy over pairs of different crops; the teacher's outputs move the center") {
  const std::vector<Numbers> student{{0.1, 0.5, -0.2, 0.3, 0.0, 0.4}, {0.2, -0.1, 0.3, 0.9, 0.1, -0.4}, {-0.3, 0.2, 0.6, 0.5, -0.5, 0.1}};
  const std::vector<Numbers> teacher{{0.05, 0.1, -0.02, 0.3, 0.2, 0.0}, {0.12, -0.04, 0.1, 0.0, 0.15, 0.05}};
  const auto tensor = [](const Numbers& v) { return Tensor::from(v, {2, 3}); };
  DinoLoss loss(3);
  CHECK((loss.student_temperature == 0.1 && loss.teacher_temperature == 0.04));
  loss.student_temperature = 0.5, loss.teacher_temperature = 0.2;
  loss.centre.see(Tensor::from<float>({1, 0.5f, 0}, {1, 3}));
  loss.centre.move();                                              // (0.1, 0.05, 0)
  const Numbers centre{0.1, 0.05, 0};
  double wanted = 0;
  int pairs = 0;
  for (std::size_t i = 0; i < 3; ++i)
    for (std::size_t j = 0; j < 2; ++j) {
      if (i == j) continue;
      ++pairs;
      for (std::size_t row = 0; row < 2; ++row) {
        Numbers s(student[i].begin() + static_cast<std::ptrdiff_t>(3 * row), student[i].begin() + static_cast<std::ptrdiff_t>(3 * row + 3));
        Numbers t(teacher[j].begin() + static_cast<std::ptrdiff_t>(3 * row), teacher[j].begin() + static_cast<std::ptrdiff_t>(3 * row + 3));
        for (std::size_t k = 0; k < 3; ++k) t[k] -= centre[k];
        const Numbers p_s = softmax_of(s, 0.5), p_t = softmax_of(t, 0.2);
        for (std::size_t k = 0; k < 3; ++k) wanted -= p_t[k] * std::log(p_s[k]) / 2;
      }
    }
  CHECK(pairs == 4);
  std::vector<Var> crops;
  std::vector<Tensor> large;
  for (const Numbers& s : student) crops.emplace_back(tensor(s).to(DType::f32));
  for (const Numbers& t : teacher) large.push_back(tensor(t).to(DType::f32));
  CHECK(near(loss(crops, large).value().item(), wanted / pairs, 1e-5));
  loss.centre.move();
  for (std::size_t k = 0; k < 3; ++k) {                            // 0.9 of the old center and 0.1 of the mean of the four rows
    const double mean = (teacher[0][k] + teacher[0][3 + k] + teacher[1][k] + teacher[1][3 + k]) / 4;
    CHECK(near(numbers(loss.centre.value())[k], 0.9 * centre[k] + 0.1 * mean, 1e-5));
  }
}

TEST_CASE("the teacher's momentum rises from its start to 1 along a cosine") {
  CHECK(near(dino_momentum(0.9, 0, 100), 0.9, 1e-15));
  CHECK(near(dino_momentum(0.9, 50, 100), 0.95, 1e-15));
  CHECK(near(dino_momentum(0.9, 25, 100), 1 - 0.1 * (std::sqrt(0.5) + 1) / 2, 1e-15));
  CHECK(near(dino_momentum(0.9, 100, 100), 1, 1e-15));
}
