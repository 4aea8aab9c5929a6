// The comparison that other tests use (tests/support/near.h): what it accepts, rejects and refuses to compare.
#include "tests/support/near.h"

#include <cmath>
#include <limits>
#include <string>

using fm::test::near;
using fm::test::near_within;
using fm::test::near_zero;

namespace {

constexpr double infinite = std::numeric_limits<double>::infinity(), not_a_number = std::numeric_limits<double>::quiet_NaN();

std::string message(const fm::test::Nearness& n) { return doctest::toString(n).c_str(); }

}  // namespace

TEST_CASE("near allows errors relative to the wanted number, at every magnitude") {
  for (const double wanted : {1e-300, 1e-12, 1e-4, 1.0, -3.0, 7e20}) {
    CAPTURE(wanted);
    CHECK(near(wanted, wanted, 1e-15));
    CHECK(near(wanted * (1 + 0.9e-3), wanted, 1e-3));
    CHECK(near(wanted * (1 - 0.9e-3), wanted, 1e-3));
    CHECK_FALSE(near(wanted * (1 + 1.1e-3), wanted, 1e-3));
    CHECK_FALSE(near(wanted * (1 - 1.1e-3), wanted, 1e-3));
    for (const double wrong : {0.0, -wanted, 2 * wanted, infinite, -infinite, not_a_number}) {
      CAPTURE(wrong);
      CHECK_FALSE(near(wrong, wanted, 1e-5));
      CHECK_FALSE(near(wrong, wanted, 0.9));
    }
  }
}

TEST_CASE("near refuses a comparison that could not fail") {
  for (const double wanted : {0.0, -0.0, infinite, not_a_number}) CHECK_THROWS_AS(near(1, wanted, 1e-3), std::invalid_argument);
  for (const double relative : {0.0, -1e-3, 1.0, 5.0, infinite, not_a_number}) CHECK_THROWS_AS(near(1, 1, relative), std::invalid_argument);
  for (const double bound : {0.0, -1e-3, infinite, not_a_number}) {
    CHECK_THROWS_AS(near_zero(0, bound), std::invalid_argument);
    CHECK_THROWS_AS(near_within(3, 3, bound), std::invalid_argument);
  }
  CHECK_THROWS_AS(near_within(1e-6, 1e-5, 1e-4), std::invalid_argument);       // 0 would pass
  CHECK_THROWS_AS(near_within(1, infinite, 0.1), std::invalid_argument);
}

TEST_CASE("near_zero and near_within accept errors up to their absolute bound and no larger ones") {
  CHECK(near_zero(-0.9e-6, 1e-6));
  CHECK(near_within(3.0009, 3, 1e-3));
  for (const double wrong : {1.1e-6, -1.1e-6, 1.0, infinite, not_a_number}) CHECK_FALSE(near_zero(wrong, 1e-6));
  for (const double wrong : {3.0011, 2.9989, 0.0, -3.0, infinite, not_a_number}) CHECK_FALSE(near_within(wrong, 3, 1e-3));
}

TEST_CASE("the message of a failure contains both numbers, the error and the allowed error") {
  CHECK(message(near(1.5, 1, 1e-3)) == "value 1.5, wanted 1, relative error 0.5, allowed 0.001");
  CHECK(message(near(0, 1e-7, 1e-5)) == "value 0, wanted 9.9999999999999995e-08, relative error 1, allowed 1e-05");
  CHECK(message(near_zero(0.25, 1e-6)) == "value 0.25, wanted 0, absolute error 0.25, allowed 1e-06");
  CHECK(message(near_within(not_a_number, 3, 1e-3)) == "value nan, wanted 3, absolute error nan, allowed 0.001");
}
