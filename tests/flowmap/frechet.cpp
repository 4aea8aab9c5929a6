// Frechet distance and precision/recall against closed forms.
#include <doctest/doctest.h>

#include <cmath>

#include "flowmap/metrics/frechet.h"
#include "tensor/ops/elementwise.h"
#include "tensor/ops/matmul.h"
#include "tensor/ops/reduce.h"
#include "tensor/random/fill.h"

using namespace fm;

TEST_CASE("eigenvectors rebuild the matrix") {
  const Tensor a = random_normal({9, 9}, {3, 1}, 0, DType::f64), m = matmul(a, a.transpose(0, 1));
  const Eigen e = symmetric_eigen(m);
  CHECK(sum_squares(matmul(e.vectors * e.values, e.vectors.transpose(0, 1)) - m) < 1e-22 * sum_squares(m));
  CHECK(sum_squares(matmul(e.vectors.transpose(0, 1), e.vectors)) == doctest::Approx(9.0).epsilon(1e-12));
}

TEST_CASE("Frechet distance of Gaussians with commuting covariances") {
  // S1 = Q diag(a) Q^T, S2 = Q diag(b) Q^T:  |m|^2 + sum (sqrt a - sqrt b)^2
  const Tensor x = random_normal({6, 6}, {5, 1}, 0, DType::f64);
  const Tensor r = symmetric_eigen(x + x.transpose(0, 1)).vectors;
  const Tensor a = Tensor::from(std::vector<double>{1, 2, 3, 4, 5, 0}, {6}), b = Tensor::from(std::vector<double>{2, 2, 1, 9, 0.5, 0}, {6});
  const Tensor m = Tensor::from(std::vector<double>{1, 0, -1, 0.5, 0, 0}, {6});
  const auto covariance = [&](const Tensor& d) { return matmul(r * d, r.transpose(0, 1)); };
  const double expected = sum_squares(m) + sum_squares(sqrt(a) - sqrt(b));
  // The tolerance is the square root of rounding: one eigenvalue is zero.
  CHECK(frechet_distance({m, covariance(a), 100}, {Tensor::zeros({6}, DType::f64), covariance(b), 100}) ==
        doctest::Approx(expected).epsilon(1e-7));
}

TEST_CASE("mean and covariance are those of the sample") {
  const Tensor x = Tensor::from(std::vector<double>{1, 2, 3, 6, 5, 1}, {3, 2});
  const GaussianFit g = fit_gaussian(x);
  CHECK(g.mean.to_vector<double>() == std::vector<double>{3, 3});
  CHECK(g.covariance.to_vector<double>()[0] == doctest::Approx(4.0));
  CHECK(g.covariance.to_vector<double>()[1] == doctest::Approx(-1.0));
  CHECK(g.covariance.to_vector<double>()[3] == doctest::Approx(7.0));
}

TEST_CASE("precision and recall see what is covered") {
  const Tensor real = random_normal({400, 3}, {1, 1}), far = real + 100.0;
  const PrecisionRecall same = precision_recall(real, real);
  CHECK(same.precision == 1.0);
  CHECK(same.recall == 1.0);
  CHECK(precision_recall(real, far).precision == 0.0);
  // Half the modes are missing: what is generated is real, but only half of what is real is generated.
  const Tensor both = [&] {
    Tensor t = Tensor::empty({800, 3});
    t.slice(0, 0, 400).copy_from(real);
    t.slice(0, 400, 800).copy_from(far);
    return t;
  }();
  const PrecisionRecall half = precision_recall(both, random_normal({400, 3}, {1, 2}));
  CHECK(half.precision > 0.9);
  CHECK(half.recall < 0.55);
  CHECK(half.recall > 0.4);
}
