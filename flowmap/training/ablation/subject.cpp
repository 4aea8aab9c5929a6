// The networks and batches that ablate measures.
#include <cmath>

#include "flowmap/training/ablation/measure.h"
#include "tensor/random/fill.h"

namespace fm {
namespace {

class TrainedSubject : public Subject {
 public:
  explicit TrainedSubject(TrainingRun& run) : run_(run) {}

  Network student(const std::string& start) override {
    Network& found = students_[start];
    if (!found) found = run_.start_of_flow_map(start);
    return found;
  }
  TeacherVelocity velocity(const Recipe& recipe, bool on_data) override {
    Network& teacher = teachers_[recipe.teacher_weights];
    if (!teacher) teacher = recipe.teacher_weights == run_.recipe().teacher_weights ? run_.load_teacher() : loaded(recipe);
    const auto [v, beside] = teacher_velocity(teacher, recipe.latent_shape());
    if (beside > 0 && on_data) run_.open_class_tokens(beside);
    return {guided(v, recipe.guidance, recipe.classes, recipe.guided_times()), beside};
  }
  Batch batch(std::int64_t rows, std::uint64_t seed) override { return run_.flow_batch({0, 0, rows}, rows, seed); }

 private:
  Network loaded(const Recipe& recipe) {
    Weights weights = recipe.network.read(recipe.teacher_weights, run_.warner());
    recipe.network.check(weights, false, "the teacher");
    return recipe.network.load(false, std::move(weights));
  }

  TrainingRun& run_;
  std::map<std::string, Network> students_, teachers_;     // students by the stage that they start from, teachers by their file
};

// Returns a network with Gaussian weights whose derivative is about as large as its value: deviation 1 / sqrt(fan-in) for matrices, 0.02 for biases,
// modulations and embeddings.
Network random_network(const Recipe& recipe, bool two_times, std::uint64_t key) {
  Network network = recipe.network.make(two_times, key);
  std::uint32_t number = 0;
  for (const NamedParameter& p : network.parameters()) {
    const auto has = [&](const char* part) { return p.name.find(part) != std::string::npos; };
    Tensor& value = p.parameter->value;
    if (!p.parameter->trainable || has("norm")) continue;
    const double fan_in = static_cast<double>(value.numel()) / static_cast<double>(value.dim(0));
    value.copy_from(random_normal(value.shape(), {key, ++number}) * (value.rank() < 2 || has("adaLN") || has("embedding_table") ? 0.02 : 1 / std::sqrt(fan_in)));
  }
  return network;
}

class UntrainedSubject : public Subject {
 public:
  explicit UntrainedSubject(const Recipe& recipe)
      : recipe_(recipe), teacher_(random_network(recipe, false, 1)), student_(random_network(recipe, true, 2)) {
    teacher_.freeze();
  }

  Network student(const std::string&) override { return student_; }
  TeacherVelocity velocity(const Recipe& recipe, bool) override { return {guided(teacher_.v(), recipe.guidance, recipe_.classes, recipe.guided_times())}; }
  Batch batch(std::int64_t rows, std::uint64_t seed) override { return random_batch(recipe_, rows, seed); }

 private:
  const Recipe& recipe_;
  Network teacher_, student_;
};

}  // namespace

std::unique_ptr<Subject> trained_subject(TrainingRun& run) { return std::make_unique<TrainedSubject>(run); }
std::unique_ptr<Subject> untrained_subject(const Recipe& recipe) { return std::make_unique<UntrainedSubject>(recipe); }

}  // namespace fm
