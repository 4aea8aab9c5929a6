// Times, shifts, pairs, labels and grids, against the numbers of the RAE and MF-RAE code.
#include "flowmap/time.h"

#include <algorithm>
#include <set>

#include "flowmap/objective/list.h"
#include "flowmap/sampler.h"
#include "tensor/error.h"
#include "tests/flowmap/support.h"
#include "tests/support/error_of.h"
#include "tests/support/near.h"

using namespace fm;
using namespace fm::test;

TEST_CASE("the time shift of RAE latents grows with the square root of their dimension and is never below 1") {
  CHECK(near(shift_for_dimension(768 * 16 * 16), 6.9282032, 5e-8));
  CHECK(near(shift_for_dimension(768 * 32 * 32), 13.8564065, 2e-8));
  CHECK(shift_for_dimension(64) == 1);                 // never below 1
  const TimeConfig uniform;
  const std::int64_t n = 196608;
  CHECK(near(uniform(1.0, n), 0.9998555, 1e-7));
  CHECK(near(shift_time(0.5, shift_for_dimension(n)), 0.8738680, 2e-7));
  CHECK(near(shift_time(0.1261320, shift_for_dimension(n)), 0.5, 5e-7));
  CHECK(shift_time(0.3, 1.0) == 0.3);
  CHECK(near(TimeConfig{.shift = 3}(1.0 / 0.999 / 2, n), shift_time(0.5, 3), 1e-14));
}

TEST_CASE("the teacher's grids of 16 points at 256 and 512 pixels have the golden values") {
  const std::vector<double> at_256 = {1, .9898062, .9783011, .9652144, .9501957, .9327832, .9123548, .8880531, .8586609, .8223915,
                                      .7765115, .7166178, .6351322, .5178119, .3343548, .0068869};
  const std::vector<double> at_512 = {1, .994877, .9890315, .9822993, .9744619, .9652227, .9541689, .9407078, .9239565, .9025409,
                                      .8741981, .8349183, .7768573, .6823136, .5011482, .0136795};
  const auto check = [](const Grid& grid, const std::vector<double>& golden) {
    REQUIRE(grid.size() == golden.size());
    for (std::size_t i = 0; i < grid.size(); ++i)
      CHECK(std::abs(grid[i] - golden[i]) < 2e-6);  // the golden numbers are f32, and a slope of 14 magnifies their rounding
  };
  check(teacher_grid(16, shift_for_dimension(196608)), at_256);
  check(teacher_grid(16, shift_for_dimension(786432)), at_512);
  CHECK(teacher_grid(50, shift_for_dimension(196608)).size() == 50);
  CHECK(plain_grid(2) == Grid{1, 0.5, 0});
  CHECK_THROWS_AS(plain_grid(0), ConfigError);
  CHECK_THROWS_AS(teacher_grid(1, 2), ConfigError);
}

TEST_CASE("the logit-normal distribution is truncated through its inverse distribution function") {
  TimeConfig config{.distribution = "logit_normal", .mean = -0.4, .deviation = 1, .upper = 1};
  CHECK(near(config(0.5, 1), 1 / (1 + std::exp(0.4)), 1e-14));
  CHECK(near(config(0.8413447460685429, 1), 1 / (1 + std::exp(-0.6)), 1e-14));      // one deviation above the mean
  config.upper = 0.7;
  CHECK(near(config(1.0, 1), 0.7, 1e-14));
  CHECK(config(0.0, 1) < 1e-3);
  CHECK_THROWS_AS((TimeConfig{.distribution = "cauchy"}(0.5, 1)), ConfigError);
}

TEST_CASE("time pairs are sorted, off-diagonal rows come first, and the shares are those of the config") {
  const Draws draws{3, 7, consecutive(0, 4000)};
  const PairConfig config{.diagonal_share = 0.6, .zero_share = 0.1};
  const Pairs p = draw_pairs(config, draws, 196608);
  CHECK(std::set<std::int64_t>(p.order.begin(), p.order.end()).size() == 4000);
  int zeros = 0;
  for (std::size_t i = 0; i < p.t.size(); ++i) {
    const bool off = static_cast<std::int64_t>(i) < p.off_diagonal;
    CHECK(off == (p.s[i] < p.t[i]));
    zeros += p.s[i] == 0;
  }
  CHECK(std::abs(static_cast<double>(p.off_diagonal) / 4000 - 0.4) < 0.03);
  CHECK(std::abs(zeros / 4000.0 - 0.1) < 0.02);
  // t is the larger of two numbers that are uniform on [0, 0.999] and then shifted, so P(t < shift(u)) = (u / 0.999)^2
  const double half = shift_time(0.999 * std::sqrt(0.5), shift_for_dimension(196608));
  CHECK(std::abs(std::count_if(p.t.begin(), p.t.end(), [&](double t) { return t < half; }) / 4000.0 - 0.5) < 0.03);
}

TEST_CASE("a sample's random times do not depend on its batch") {
  const PairConfig config;
  const Pairs whole = draw_pairs(config, {3, 7, consecutive(0, 64)}, 64), part = draw_pairs(config, {3, 7, consecutive(32, 32)}, 64);
  std::vector<double> t(64);
  for (std::size_t i = 0; i < 64; ++i) t[static_cast<std::size_t>(whole.order[i])] = whole.t[i];
  for (std::size_t i = 0; i < 32; ++i) CHECK(part.t[i] == t[static_cast<std::size_t>(part.order[i] + 32)]);
  CHECK(draw_pairs(config, {3, 8, consecutive(0, 64)}, 64).t != whole.t);
}

TEST_CASE("exact_share gives exact numbers of rows; rows can be forced to the diagonal") {
  const Draws draws{3, 7, consecutive(0, 40)};
  const Pairs p = draw_pairs({.diagonal_share = 0.75, .zero_share = 0.05, .exact_share = true}, draws, 64);
  CHECK(p.off_diagonal == 10);
  CHECK(std::count(p.s.begin(), p.s.end(), 0.0) == 2);
  CHECK(p.order[39] == 39);                              // no row has to move
  CHECK(draw_pairs({.diagonal_share = 0}, draws, 64, std::vector<bool>(40, true)).off_diagonal == 0);
  CHECK_THROWS_AS(draw_pairs({.diagonal_share = 0.8, .zero_share = 0.3}, draws, 64), ConfigError);
}

TEST_CASE("with exact_share, rows forced to the diagonal take its places first, so that the number of rows with s < t is constant") {
  const PairConfig config{.diagonal_share = 0.75, .zero_share = 0.05, .exact_share = true};
  const auto drawn = [&](std::uint32_t step, const std::vector<std::size_t>& rows) {
    std::vector<bool> forced(40, false);
    for (const std::size_t row : rows) forced[row] = true;
    const Pairs p = draw_pairs(config, {3, step, consecutive(0, 40)}, 64, forced);
    std::vector<std::int64_t> diagonal(p.order.begin() + p.off_diagonal, p.order.end());
    for (const std::size_t row : rows) CHECK(std::count(diagonal.begin(), diagonal.end(), static_cast<std::int64_t>(row)) == 1);
    return p;
  };
  for (std::uint32_t step = 0; step < 3; ++step) {
    const Pairs p = drawn(step, {0, 2, 9, 20 + step, 39});         // three rows among the first ten, which are off the diagonal without force
    CHECK(p.off_diagonal == 10);
    CHECK(std::count(p.s.begin(), p.s.end(), 0.0) == 2);
    CHECK(std::vector<std::int64_t>(p.order.begin(), p.order.begin() + 10) == std::vector<std::int64_t>{1, 3, 4, 5, 6, 7, 8, 10, 11, 12});
  }
  std::vector<std::size_t> most;
  for (std::size_t i = 0; i < 33; ++i) most.push_back(i);
  CHECK(drawn(1, most).off_diagonal == 7);               // more forced rows than the diagonal has places
  const Pairs all = draw_pairs(config, {3, 7, consecutive(0, 40)}, 64), kept = drawn(7, {0});
  for (std::size_t i = 0; i < 40; ++i)                   // a row keeps its time
    CHECK(kept.t[static_cast<std::size_t>(std::find(kept.order.begin(), kept.order.end(), all.order[i]) - kept.order.begin())] == all.t[i]);
}

TEST_CASE("null_rows_diagonal and exact_share: a quarter of each batch has s < t, and all rows with a dropped label are among the others") {
  Batch batch = gaussian_batch(64);
  const PairConfig config{.diagonal_share = 0.75, .exact_share = true, .null_rows_diagonal = true};
  std::int64_t dropped = 0;
  for (std::uint32_t step = 0; step < 4; ++step) {
    batch.draws.step = step;
    const PathBatch p = draw_path_batch(batch, config, {0.1, 4});
    CHECK(p.off_diagonal == 16);
    const auto y = p.y.to_vector<std::int64_t>();
    dropped += std::count(y.begin(), y.end(), 4);
    for (std::size_t i = 0; i < 16; ++i) CHECK(y[i] != 4);
  }
  CHECK(dropped > 0);
}

TEST_CASE("the shares of time pairs determine the trained jumps, in every objective that has pairs") {
  const auto jumps = [](double diagonal, double zero, double one) { return PairConfig{.diagonal_share = diagonal, .zero_share = zero, .one_share = one}.jumps(); };
  CHECK(jumps(0.75, 0, 0) == Jumps::any);
  CHECK(jumps(0.3, 0.6, 0.5) == Jumps::any);
  CHECK(jumps(0, 0.5, 0) == Jumps::off_diagonal);
  CHECK(jumps(0, 1, 0) == Jumps::to_data);
  CHECK(jumps(0.9, 0.1, 0) == Jumps::to_data);
  CHECK(jumps(0.5, 0.2, 1) == Jumps::from_noise);
  CHECK(jumps(1, 0, 1) == Jumps::none);
  CHECK(jumps(1 - 1e-12, 0, 0) == Jumps::none);                 // shares that add up to 1 but for rounding
  int entries = 0;
  const auto follows = [&](auto entry) {
    if constexpr (requires { entry.pairs.one_share; }) {
      entry.pairs = {.diagonal_share = 0.25, .one_share = 1};
      CHECK(make_objective(entry).needs.jumps == Jumps::from_noise);
      entry.pairs = {.diagonal_share = 0.25, .zero_share = 0.75};
      CHECK(make_objective(entry).needs.jumps == Jumps::to_data);
      ++entries;
    }
  };
  std::apply([&](const auto&... entry) { (follows(entry), ...); }, ObjectiveList());
  CHECK(entries == 12);
}

TEST_CASE("trains() and takes_calls(): the jumps that each kind covers, and the numbers of equal calls that it allows") {
  const auto trained = [](Jumps jumps) {
    std::string out;
    for (const auto& [s, t] : {std::pair{0.0, 1.0}, {0.5, 1.0}, {0.25, 0.5}, {0.25, 0.75}, {0.1, 0.7}, {0.4, 0.4}, {0.0, 1.0 / 3}}) out += trains(jumps, s, t) ? '1' : '0';
    return out;
  };
  CHECK(trained(Jumps::any) == "1111111");
  CHECK(trained(Jumps::off_diagonal) == "1111101");
  CHECK(trained(Jumps::dyadic) == "1110010");                   // from 3/4 to 1/4 the length is dyadic, 1/2, but the jump does not begin at a multiple of 1/2
  CHECK(trained(Jumps::to_data) == "1000001");
  CHECK(trained(Jumps::from_noise) == "1100000");
  CHECK(trained(Jumps::none) == "0000010");
  const auto calls = [](Jumps jumps) {
    std::string out;
    for (const int n : {1, 2, 3, 4, 6, 8}) out += takes_calls(jumps, n) ? '1' : '0';
    return out;
  };
  CHECK(calls(Jumps::any) == "111111");
  CHECK(calls(Jumps::to_data) == "111111");
  CHECK(calls(Jumps::none) == "111111");
  CHECK(calls(Jumps::from_noise) == "100000");
  CHECK(calls(Jumps::dyadic) == "110101");
  for (const Jumps jumps : {Jumps::any, Jumps::off_diagonal, Jumps::dyadic, Jumps::to_data, Jumps::from_noise, Jumps::none}) {
    CHECK(sampler_of(jumps).jumps == jumps);
    CHECK(jumps_of_sampler(sampler_of(jumps).name) == jumps);
  }
  // Checkpoints store these names, so they must not change.
  const std::vector<std::pair<std::string, std::string>> known{{"jumps", ""}, {"jumps of s < t", ""}, {"dyadic jumps", "takes 1, 2, 4 ... calls"},
                                                               {"renoised", "adds noise between calls"}, {"one call", "takes 1 call"}, {"ode", "follows the ODE of u(z, t, t)"}};
  std::vector<std::pair<std::string, std::string>> found;
  for (const Sampler& s : samplers) found.emplace_back(s.name, s.text);
  CHECK(found == known);
  CHECK((aim_name(true) == std::string("flow map") && aim_name(false) == std::string("other")));
  CHECK(jumps_of_sampler("") == Jumps::any);
  CHECK_THROWS_AS(jumps_of_sampler("leaps"), FileError);
}

TEST_CASE("one_share: its rows jump from t = 1 to one sampled time; all other rows stay as they are") {
  const Draws draws{3, 5, consecutive(0, 4000)};
  const TimeConfig plain{.upper = 1, .shift = 1};
  const Pairs all = draw_pairs({.time = plain, .diagonal_share = 0, .one_share = 1}, draws, 64);
  CHECK(all.off_diagonal == 4000);
  CHECK(all.t == std::vector<double>(4000, 1.0));
  double mean = 0, square = 0;
  for (const double s : all.s) mean += s / 4000, square += s * s / 4000;
  CHECK(near(mean, 0.5, 0.03));                                  // not 1/3, the mean of the smaller of two times
  CHECK(near(square, 1.0 / 3, 0.05));
  const PairConfig some{.time = plain, .diagonal_share = 0.4, .zero_share = 0.1}, mixed{.time = plain, .diagonal_share = 0.4, .zero_share = 0.1, .one_share = 0.3};
  const Pairs before = draw_pairs(some, draws, 64), after = draw_pairs(mixed, draws, 64);
  REQUIRE(before.order == after.order);
  CHECK(before.off_diagonal == after.off_diagonal);
  std::int64_t ones = 0, whole = 0;
  for (std::size_t i = 0; i < 4000; ++i) {
    const bool diagonal = static_cast<std::int64_t>(i) >= after.off_diagonal;
    if (after.t[i] == 1) ++ones, whole += after.s[i] == 0;
    else CHECK((after.s[i] == before.s[i] && after.t[i] == before.t[i]));
    CHECK((diagonal ? after.s[i] == after.t[i] : after.s[i] < after.t[i]));
  }
  CHECK(near(static_cast<double>(ones) / static_cast<double>(after.off_diagonal), 0.3, 0.1));
  CHECK(whole > 60);                                             // jumps from noise to data: about 0.3 of the 400 rows with s = 0 get t = 1
}

TEST_CASE("noise given with a batch stays with its sample on the path; otherwise the noise is random") {
  Batch batch = gaussian_batch(6);
  const Pairs pairs{{0.1, 0.2, 0.3, 0.4, 0.5, 0.6}, {0.7, 0.8, 0.9, 0.4, 0.5, 0.6}, {4, 2, 0, 5, 1, 3}, 3};
  const PathBatch drawn = place_on_path(batch, pairs, batch.y);
  CHECK(max_difference(drawn.eps, batch.draws.reordered(pairs.order).normal({dim}, DType::f64)) == 0);
  batch.eps = batch.z0 * 2.0 + 1.0;
  const PathBatch given = place_on_path(batch, pairs, batch.y);
  CHECK(max_difference(given.eps, given.z0 * 2.0 + 1.0) == 0);
  CHECK(max_difference(given.z0, drawn.z0) == 0);
  CHECK(max_difference(given.z0.slice(0, 0, 1), batch.z0.slice(0, 4, 5)) == 0);
  CHECK(max_difference(given.z, given.z0 + column(given.t, 2) * (given.eps - given.z0)) < 1e-15);
  batch.eps = batch.eps.slice(0, 0, 5);
  CHECK(error_of<ShapeError>([&] { place_on_path(batch, pairs, batch.y); }) == "batch: noise must have the shape of the data, but noise has [5, 5] and the data have [6, 5]");
}

TEST_CASE("labels are dropped once for each sample, and again only if requested") {
  const Draws draws{3, 7, consecutive(0, 5000)};
  const Labels y = Tensor::full({5000}, 2, DType::i64);
  const LabelDropout config{0.1, 10};
  const auto once = drop_labels(y, config, draws).to_vector<std::int64_t>();
  CHECK(once == drop_labels(y, config, draws).to_vector<std::int64_t>());
  CHECK(std::abs(static_cast<double>(std::count(once.begin(), once.end(), 10)) / 5000 - 0.1) < 0.015);
  CHECK(once != drop_labels(y, config, draws, Purpose::label_redrop, 1).to_vector<std::int64_t>());
  CHECK_FALSE(drop_labels({}, config, draws).defined());
}

TEST_CASE("a batch on the path keeps each sample's data, noise and label together") {
  Batch batch = gaussian_batch(32);
  const PathBatch p = draw_path_batch(batch, {}, {0, 4});
  CHECK(p.off_diagonal > 0);
  CHECK(max_difference(p.z, interpolate(p.z0, p.eps, p.t)) == 0);
  const Tensor noise = batch.draws.normal({dim}, DType::f64);
  for (std::size_t i = 0; i < 32; ++i) {
    const std::int64_t row = p.draws.samples[i] - 1000;
    const auto at = static_cast<std::int64_t>(i);
    CHECK(max_difference(p.z0.select(0, at), batch.z0.select(0, row)) == 0);
    CHECK(max_difference(p.eps.select(0, at), noise.select(0, row)) == 0);
    CHECK(p.y.to_vector<std::int64_t>()[i] == row % 4);
  }
  PairConfig diagonal_null{.diagonal_share = 0};
  diagonal_null.null_rows_diagonal = true;
  const PathBatch q = draw_path_batch(batch, diagonal_null, {0.5, 4});
  const auto y = q.y.to_vector<std::int64_t>();
  for (std::size_t i = 0; i < y.size(); ++i) CHECK((y[i] == 4) == (static_cast<std::int64_t>(i) >= q.off_diagonal));
  batch.draws.samples.pop_back();
  CHECK_THROWS_AS(draw_path_batch(batch, {}, {}), ShapeError);
}
