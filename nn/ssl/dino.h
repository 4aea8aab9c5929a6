// DINO: self-distillation with no labels (Caron et al., "Emerging properties in self-supervised vision transformers", 2021).
//
// The student network sees several crops of an image, the teacher only the large ones. The student predicts the teacher's outputs. The teacher is the
// moving average of the student. Outputs are distributions over K learned prototypes:
//
//   p_t = softmax((h_t - c) / tau_t),   log p_s = log_softmax(h_s / tau_s),   loss = - mean over pairs (crop of t != crop of s) of sum_k p_t log p_s
//
// Two operations on the teacher's outputs h_t prevent a collapse. Centering subtracts their moving average c, so that no prototype always has the
// largest probability. Sharpening (tau_t < tau_s) keeps the probabilities from becoming equal.
#pragma once

#include <vector>

#include "autodiff/var.h"
#include "nn/init.h"
#include "nn/layers/linear.h"
#include "nn/module.h"
#include "tensor/collectives/communicator.h"

namespace fm {

// Three layers map to a bottleneck, whose outputs are scaled to norm 1. The results are the cosines of these outputs with K prototypes (paper,
// section 3.1 and appendix C).
struct DinoHead {
  Linear fc1, fc2, fc3;
  Parameter prototypes;                                   // (K, bottleneck); its rows are scaled to norm 1 when it is used

  DinoHead() = default;
  DinoHead(DinoHead&&) = default;                         // clone() copies
  DinoHead& operator=(DinoHead&&) = default;
  DinoHead(std::int64_t in, std::int64_t hidden, std::int64_t bottleneck, std::int64_t prototypes);
  Var operator()(const Var& x) const;                     // (B, in) -> (B, K)

  template <class V> void visit(V&& v) {
    v("fc1", fc1);
    v("fc2", fc2);
    v("fc3", fc3);
    v("prototypes", prototypes);
  }
  void reset(const Init& init);

 private:
  template <class M> friend M clone(const M& module);
  DinoHead(const DinoHead&) = default;
};

// The center c. It is constant while a step processes the parts of its batch; move() updates it at the end of the step.
class DinoCentre {
 public:
  explicit DinoCentre(std::int64_t prototypes, double momentum = 0.9)
      : value_(Tensor::zeros({1, prototypes})), sum_(Tensor::zeros({1, prototypes})), momentum_(momentum) {}
  const Tensor& value() const { return value_; }          // (1, K), always at the same address, because a checkpoint stores it (Stage::state)
  void see(const Tensor& h);                              // (rows, K) outputs of the teacher's head
  void add_over(Communicator& ranks);                     // adds the outputs of the other ranks; all ranks call it before move()
  void move();                                            // c <- m c + (1 - m) (mean of the rows seen since the last move)

 private:
  Tensor value_, sum_;
  double momentum_, rows_ = 0;
};

struct DinoLoss {
  double student_temperature = 0.1, teacher_temperature = 0.04;
  DinoCentre centre;

  explicit DinoLoss(std::int64_t prototypes) : centre(prototypes) {}

  // student[i] and teacher[j] are (B, K), the head's outputs for crop i and for large crop j. Crop j is the same part of the image for both. Returns the
  // mean cross-entropy, and passes the teacher's outputs to the center, which the caller moves at the end of the step.
  Var operator()(const std::vector<Var>& student, const std::vector<Tensor>& teacher);
};

// The momentum of the teacher: from `start` to 1 along a cosine (paper, section 3.1).
double dino_momentum(double start, std::int64_t step, std::int64_t steps);

}  // namespace fm
