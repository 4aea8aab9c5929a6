// DINO: self-distillation with no labels (Caron et al., "Emerging properties in self-supervised vision transformers", 2021).
//
// A student network sees several crops of an image and predicts the output of a teacher, its moving average, for the large crops. Outputs are
// distributions over K learned prototypes:
//
//   p_t = softmax((h_t - c) / tau_t),   log p_s = log_softmax(h_s / tau_s),   loss = - mean over pairs (crop of t != crop of s) of sum_k p_t log p_s
//
// Only two operations on the teacher prevent a collapse: centering (c, a moving average of h_t: no prototype wins always) and
// sharpening (tau_t < tau_s: not all the same).
#pragma once

#include <vector>

#include "autodiff/var.h"
#include "nn/init.h"
#include "nn/layers/linear.h"
#include "nn/module.h"
#include "tensor/collectives/communicator.h"

namespace fm {

// Three layers to a bottleneck on the unit sphere, then cosines to K unit prototypes (paper, section 3.1 and appendix C).
struct DinoHead {
  Linear fc1, fc2, fc3;
  Parameter prototypes;                                   // (K, bottleneck), used with unit rows

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

// c is constant while a step processes its batch, in one part or several, and moves when the step ends.
class DinoCentre {
 public:
  explicit DinoCentre(std::int64_t prototypes, double momentum = 0.9)
      : value_(Tensor::zeros({1, prototypes})), sum_(Tensor::zeros({1, prototypes})), momentum_(momentum) {}
  const Tensor& value() const { return value_; }          // (1, K), always the same memory: state that a checkpoint keeps
  void see(const Tensor& h);                              // (rows, K) outputs of the teacher's head
  void add_over(Communicator& ranks);                     // adds the other ranks' outputs; before move(), on all ranks
  void move();                                            // c <- m c + (1 - m) (mean of the rows seen since the last move)

 private:
  Tensor value_, sum_;
  double momentum_, rows_ = 0;
};

struct DinoLoss {
  double student_temperature = 0.1, teacher_temperature = 0.04;
  DinoCentre centre;

  explicit DinoLoss(std::int64_t prototypes) : centre(prototypes) {}

  // student[i], teacher[j]: (B, K) head outputs of crop i and of large crop j; crop j of both is the same part of the image. Returns the mean
  // cross-entropy and adds the teacher's outputs to the center's average; the caller moves the center at the end of the step.
  Var operator()(const std::vector<Var>& student, const std::vector<Tensor>& teacher);
};

// The momentum of the teacher: from `start` to 1 along a cosine (paper, section 3.1).
double dino_momentum(double start, std::int64_t step, std::int64_t steps);

}  // namespace fm
