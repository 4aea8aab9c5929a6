// Loss, residuals and parameter gradients of every objective of the list, in f64, against PyTorch on the papers' equations: golden/objectives.py, which
// describes the contents of objectives.txt. No random numbers here: points, networks and the entries' own numbers come from the file.
#include <algorithm>
#include <set>

#include "autodiff/rules/matmul.h"
#include "flowmap/objective/list.h"
#include "tensor/error.h"
#include "tests/support/golden.h"
#include "tests/support/near.h"
#include "tests/support/tensors.h"

using namespace fm;
using namespace fm::test;

namespace {

constexpr std::int64_t dim = 3, width = 5, labels = 3;
constexpr double allowed = 1e-11;        // as a share of the largest element; finite differences of u magnify rounding by 1/delta

using Numbers = std::map<std::string, std::vector<double>>;
using Words = std::map<std::string, std::string>;

const std::string golden_file = std::string(FM_TESTS_FOLDER) + "/golden/objectives.txt";

const Numbers& golden() {
  static const Numbers rows = golden_rows(golden_file);
  return rows;
}

const std::vector<double>& numbers_at(const std::string& name) {
  REQUIRE_MESSAGE(golden().count(name) == 1, name);
  return golden().at(name);
}

Tensor tensor_at(const std::string& name, const Shape& shape) {
  const std::vector<double>& x = numbers_at(name);
  REQUIRE_MESSAGE(static_cast<std::int64_t>(x.size()) == shape.numel(), name);
  return Tensor::from(x, shape);
}

// The numbers of the rows whose names begin with `prefix`, under the rest of their names.
Numbers of_case(const std::string& prefix) {
  Numbers found;
  for (auto it = golden().lower_bound(prefix); it != golden().end() && it->first.starts_with(prefix); ++it) found[it->first.substr(prefix.size())] = it->second;
  return found;
}

// The largest difference, as a share of the largest wanted number.
double relative_difference(const std::vector<double>& found, const std::vector<double>& wanted) {
  double largest = 0;
  for (double x : wanted) largest = std::max(largest, std::abs(x));
  return found.size() == wanted.size() && largest > 0 ? max_difference(found, wanted) / largest : 1;
}

// A line "case NAME KEY=VALUE ...".
struct Case {
  std::string name;
  Words words;                           // entry, inputs, w, variant, now; the others are settings of the entry

  std::string operator[](const std::string& key) const { return words.count(key) ? words.at(key) : ""; }
};

std::vector<Case> read_cases() {
  std::vector<Case> cases;
  std::ifstream in(golden_file);
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string word;
    words >> word;
    if (word != "case") continue;
    Case& c = cases.emplace_back();
    words >> c.name;
    while (words >> word) c.words[word.substr(0, word.find('='))] = word.substr(word.find('=') + 1);
  }
  return cases;
}

// A network of the file. Its parameters are in the order of the file's gradients.
struct GoldenNet {
  Parameter w1, b1, w2, b2, w3, table;

  explicit GoldenNet(const std::string& name)
      : w1{tensor_at(name + ".w1", {width, dim + 2})}, b1{tensor_at(name + ".b1", {width})}, w2{tensor_at(name + ".w2", {width, width})},
        b2{tensor_at(name + ".b2", {width})}, w3{tensor_at(name + ".w3", {dim, width})}, table{tensor_at(name + ".table", {labels, width})} {}
  GoldenNet(const GoldenNet&) = delete;

  // With `frozen` the parameters are constants.
  FlowMapNet net(bool frozen = false) const {
    return [this, frozen](const Var& z, const Var& s, const Var& t, const Labels& y) {
      const auto of = [frozen](const Parameter& p) { return frozen ? Var(p.value) : Var(p); };
      const Var h = linear(concat(std::vector<Var>{z, column(s, 2), column(t, 2)}, 1), of(w1), of(b1)) + gather(of(table), y);
      return linear(tanh(linear(tanh(h), of(w2), of(b2))), of(w3));
    };
  }
};

struct Computed {
  std::vector<double> loss, raw, gradient;
};

class Golden {
 public:
  Computed computed(const Case& c) const {
    ObjectiveConfig config;
    set_entry(config, c);
    const Objective objective = config.chosen("golden");
    objective.check(20000);                                      // 20,000 steps, because published warm-ups take 10,000
    const Nets nets = nets_of(c, objective.needs);
    const Drawn drawn = drawn_of(c, objective);
    Tape tape;
    const ObjectiveLoss out = objective.loss(nets, drawn);
    Gradients g = backward(out.loss);
    Computed found{out.loss.value().to_vector<double>(), out.raw.to_vector<double>(), {}};
    for (const Parameter* p : {&net_.w1, &net_.b1, &net_.w2, &net_.b2, &net_.w3, &net_.table}) append(found.gradient, g[*p]);
    if (objective.needs.row_weight) append(found.gradient, g[row_]);
    return found;
  }

 private:
  static void append(std::vector<double>& all, const Tensor& g) {
    for (double x : g.to_vector<double>()) all.push_back(x);
  }

  static void set_entry(ObjectiveConfig& config, const Case& c) {
    const std::vector<Field> fields = list_fields(config);
    set_from_text(find_field(fields, "name", c.name), c["entry"], c.name);
    for (const auto& word : c.words)
      if (!std::set<std::string>{"entry", "inputs", "w", "variant", "now"}.count(word.first))
        set_from_text(find_field(fields, c["entry"] + "." + word.first, c.name), word.second, c.name);
    config.set_null_label(labels - 1);
  }

  // Gives the entry only what its needs declare.
  Nets nets_of(const Case& c, const Needs& needs) const {
    Nets nets{.net = net_.net(), .velocity = velocity_source(c["w"], diagonal(teacher_.net(true))), .shape = {dim}, .dtype = DType::f64};
    if (needs.target_decay >= 0) nets.target = target_.net(true);
    if (needs.teacher) nets.teacher = diagonal(teacher_.net(true));
    if (needs.row_weight)
      nets.log_variance = [this](const Tensor& s, const Tensor& t) {
        const Tensor features = concat(std::vector<Tensor>{Tensor::ones({s.dim(0), 1}, s.dtype()), column(s, 2), column(t, 2), column(s * t, 2)}, 1);
        return reshape(linear(Var(features), Var(row_)), {s.dim(0)});
      };
    return nets;
  }

  static PathBatch points_of(const Case& c) {
    const std::string inputs = c["inputs"];
    const auto rows = static_cast<std::int64_t>(numbers_at(inputs + ".t").size());
    PathBatch p;
    p.z0 = tensor_at(inputs + ".z0", {rows, dim}), p.eps = tensor_at(inputs + ".eps", {rows, dim});
    p.s = tensor_at(inputs + ".s", {rows}), p.t = tensor_at(inputs + ".t", {rows});
    p.y = tensor_at(inputs + ".y", {rows}).to(DType::i64);
    p.z = golden().count(inputs + ".z") ? tensor_at(inputs + ".z", {rows, dim}) : interpolate(p.z0, p.eps, p.t);
    p.off_diagonal = static_cast<std::int64_t>(sum(1.0 - equal(p.s, p.t)).item());
    p.draws = {1, 0, consecutive(0, rows)};
    return p;
  }

  // The points and the numbers of the file. With `now` the entry makes its own numbers. They are compared with the file's numbers if it has any.
  static Drawn drawn_of(const Case& c, const Objective& objective) {
    PathBatch points = points_of(c);
    const std::int64_t rows = points.rows();
    Drawn drawn;
    const std::string now = c["now"];
    if (now.empty()) drawn.p = std::move(points);
    else drawn = objective.complete(std::move(points), {std::stol(now), std::stol(now.substr(now.find('/') + 1))});
    for (const auto& wanted : of_case(c.name + ".completed."))
      CHECK_MESSAGE(near_zero(relative_difference(drawn[wanted.first].to_vector<double>(), wanted.second), allowed), wanted.first);
    for (const auto& given : of_case(c.name + ".number.")) {
      const std::int64_t each = static_cast<std::int64_t>(given.second.size()) / rows;
      std::erase_if(drawn.numbers, [&](const auto& number) { return number.first == given.first; });
      drawn.numbers.emplace_back(given.first, Tensor::from(given.second, each == 1 ? Shape{rows} : Shape{rows, each}));
    }
    if (c.words.count("variant")) drawn.variant = std::stol(c["variant"]);
    return drawn;
  }

  GoldenNet net_{"net"}, target_{"target"}, teacher_{"teacher"};
  Parameter row_{tensor_at("row.r", {1, 4})};
};

}  // namespace

TEST_CASE("every objective has the loss and the gradient of its equation") {
  const Golden golden_nets;
  for (const Case& c : read_cases()) {
    CAPTURE(c.name);
    const Computed found = golden_nets.computed(c);
    CHECK(near_zero(relative_difference(found.loss, numbers_at(c.name + ".loss")), allowed));
    CHECK(near_zero(relative_difference(found.raw, numbers_at(c.name + ".raw")), allowed));
    CHECK(near_zero(relative_difference(found.gradient, numbers_at(c.name + ".gradient")), allowed));
  }
}

TEST_CASE("every objective of the list has a golden case") {
  std::set<std::string> covered;
  for (const Case& c : read_cases()) covered.insert(c["entry"]);
  for (const std::string& name : objective_names())
    CHECK_MESSAGE(covered.count(name) == 1, name << ": write its equation in tests/golden/objective_formulas.py, and cases in objectives.py");
}

TEST_CASE("the teacher's trajectory, from which CMT takes its chords, has the same states as in PyTorch") {
  const GoldenNet teacher("teacher");
  const auto rows = static_cast<std::int64_t>(numbers_at("pairs.t").size());
  const Tensor y = tensor_at("pairs.y", {rows}).to(DType::i64);
  const std::vector<Tensor> states = trajectory(diagonal(teacher.net(true)), tensor_at("pairs.eps", {rows, dim}), y, {1, 0.8, 0.45, 0.1});
  CHECK(near_zero(relative_difference(concat(states, 0).to_vector<double>(), numbers_at("trajectory")), allowed));
}
