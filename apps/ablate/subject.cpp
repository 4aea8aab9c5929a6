// Where the networks and batches that ablate measures come from.
#include <cmath>

#include "apps/ablate/measure.h"
#include "tensor/random/fill.h"

namespace fm {
namespace {

// In f64 and in other precisions: what is known of one kind of network.
std::shared_ptr<const DitDh> dit_of(const Network& network) {
  if (auto dit = network.as<DitDh>()) return dit;
  throw ConfigError("ablate: compares derivatives of network = \"dit_dh\" alone; flowmap_train and its report compare others");
}

class TrainedSubject : public Subject {
 public:
  explicit TrainedSubject(TrainingRun& run) : run_(run) {}

  std::shared_ptr<const DitDh> student(const std::string& start) override {
    std::shared_ptr<const DitDh>& found = students_[start];
    if (!found) found = dit_of(run_.start_of_flow_map(start));
    return found;
  }
  VelocityNet velocity(double guidance) override {
    if (!teacher_) teacher_ = run_.load_teacher();
    return guided(teacher_.v(), guidance, run_.recipe().classes);
  }
  Batch batch(std::uint64_t seed) override {
    const std::int64_t rows = run_.recipe().mfd.loop.batch;
    return run_.flow_batch({0, 0, rows}, rows, seed);
  }

 private:
  TrainingRun& run_;
  std::map<std::string, std::shared_ptr<const DitDh>> students_;
  Network teacher_;
};

// Gaussian, products with the deviation 1 / sqrt(fan-in), modulations small: a network whose derivative is of the size of its value.
void fill_at_random(DitDh& model, std::uint64_t key) {
  std::uint32_t number = 0;
  for_each_parameter(model, [&](const std::string& name, Parameter& p) {
    if (!p.trainable || name.find("norm") != std::string::npos) return;
    const bool small = p.value.rank() < 2 || name.find("adaLN") != std::string::npos || name.find("embedding_table") != std::string::npos;
    const double fan_in = static_cast<double>(p.value.numel()) / static_cast<double>(p.value.dim(0));
    p.value.copy_from(random_normal(p.value.shape(), {key, ++number}) * (small ? 0.02 : 1 / std::sqrt(fan_in)));
  });
}

std::shared_ptr<DitDh> random_model(const DitDhConfig& config, std::uint64_t key) {
  auto model = std::make_shared<DitDh>(config, key);
  fill_at_random(*model, key);
  return model;
}

class UntrainedSubject : public Subject {
 public:
  explicit UntrainedSubject(const Recipe& recipe)
      : recipe_(recipe), teacher_(random_model(recipe.dit_net(false), 1)), student_(random_model(recipe.dit_net(true), 2)) {
    set_trainable(*teacher_, false);
  }

  std::shared_ptr<const DitDh> student(const std::string&) override { return student_; }
  VelocityNet velocity(double guidance) override { return guided(teacher_, guidance, recipe_.classes); }
  Batch batch(std::uint64_t seed) override {
    return random_batch(recipe_, recipe_.mfd.loop.batch, seed);
  }

 private:
  const Recipe& recipe_;
  std::shared_ptr<DitDh> teacher_, student_;
};

}  // namespace

std::unique_ptr<Subject> trained_subject(TrainingRun& run) { return std::make_unique<TrainedSubject>(run); }
std::unique_ptr<Subject> untrained_subject(const Recipe& recipe) { return std::make_unique<UntrainedSubject>(recipe); }

}  // namespace fm
