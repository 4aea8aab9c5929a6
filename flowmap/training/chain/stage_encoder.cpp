// Self-supervised pre-training of the encoder: DINO on the class token with multi-crop and, as in DINOv2, the same loss on masked patches (iBOT: the
// student predicts the teacher's patch tokens where its own patches are masked).
#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/linear.h"
#include "autodiff/rules/softmax.h"
#include "data/crops.h"
#include "flowmap/training/chain/training_run.h"
#include "nn/optim/follow.h"
#include "nn/ssl/dino.h"
#include "nn/training/ranks.h"
#include "tensor/narrow.h"

namespace fm {
namespace {

constexpr std::uint32_t crop_stream = 0x43524F50, mask_stream = 0x4D41534B;

struct DinoNet {
  VitEncoder backbone;
  DinoHead head;
  template <class V> void visit(V&& v) {
    v("backbone", backbone);
    v("head", head);
  }
};

DinoNet make_net(const Recipe& r, std::uint64_t seed) {
  DinoNet net{VitEncoder(r.rae.encoder, seed), DinoHead(r.rae.encoder.width, r.encoder.hidden, r.encoder.bottleneck, r.encoder.prototypes)};
  reset_parameters(net, seed);
  return net;
}

struct Crops {
  Tensor global, local;        // (2 B, C, S, S) and (L B, C, s, s), crop by crop; local undefined without local crops
  Tensor mask;                 // (2 B, N): 1 where the student's patch is masked; drawn on the device

  template <class F> void each_tensor(F&& f) { f(global), f(local); }     // the tensors from the host
};

Tensor draw_mask(const Samples& samples, const Recipe& r, std::uint64_t seed) {
  const std::int64_t side = r.image_size / r.rae.encoder.patch_size;
  const auto draw = [&](std::uint32_t i) { return random_uniform_rows(samples, {side * side}, {seed, mask_stream}, i); };
  return less(concat(std::vector<Tensor>{draw(0), draw(1)}, 0), Tensor::scalar(r.encoder.mask_share));
}

// Makes crops on the CPU, without the mask. A BatchAhead uploads them.
Crops draw_crops(const Tensor& images, const Samples& samples, const Recipe& r, std::uint64_t seed) {
  const EncoderStage& e = r.encoder;
  const CropRecipe large{.size = r.image_size, .scale_low = e.global_low, .scale_high = 1, .jitter = e.jitter};
  const CropRecipe small{.size = e.local_size, .scale_low = e.local_low, .scale_high = e.local_high, .jitter = e.jitter};
  const RandomKey key{seed, crop_stream};
  const Tensor global = concat(std::vector<Tensor>{random_crops(images, samples, key, 0, large), random_crops(images, samples, key, 1, large)}, 0);
  std::vector<Tensor> local;
  for (std::int64_t i = 0; i < e.local_crops; ++i)
    local.push_back(random_crops(images, samples, key, narrow<std::uint32_t>(2 + i), small));
  return {global, local.empty() ? Tensor() : concat(local, 0), Tensor()};
}

// Splits (k B, K) into k of (B, K).
std::vector<Var> by_crop(const Var& x, std::int64_t batch) {
  std::vector<Var> out;
  for (std::int64_t i = 0; i < x.dim(0); i += batch) out.push_back(slice(x, 0, i, i + batch));
  return out;
}

// Returns -1/number times the sum over masked patches of p_teacher log p_student. `number`: the number of masked patches; for a part of a batch,
// the part's share of the number in the whole batch. Updates the center with the teacher's outputs.
Var patch_loss(const Var& student, const Tensor& teacher, const Tensor& mask, double number, DinoCentre& centre, const EncoderStage& e) {
  const Tensor target = softmax((teacher - centre.value()) / e.teacher_temperature);
  const Var cross = neg(sum(log_softmax(student / e.student_temperature) * target, {-1}));
  centre.see(teacher);
  return sum(cross * mask.reshape({-1})) / number;
}

// The number of masked patches per sample, averaged over the step's whole batch. The loss of a part is divided by this number, so that the parts add up to
// the loss of the batch.
double hidden_per_sample(const StepPart& part, const Recipe& r, std::uint64_t seed) {
  const DefaultDevice here{Device{}};            // on the CPU: reading the number from a GPU would wait for it
  const std::int64_t batch = r.encoder.loop.batch;
  return std::max(1.0, sum(draw_mask(consecutive(part.step * batch, batch), r, seed)).item()) / static_cast<double>(batch);
}

}  // namespace

Outcome TrainingRun::train_encoder() {
  refuse_init_from(stage_name::encoder);
  if (!recipe_.rae.encoder.is_dino())
    throw ConfigError(fmt::format("encoder: DINO trains rae.encoder.kind = dinov2, not {}; give its weights with encoder_weights",
                                  recipe_.rae.encoder.kind));
  const EncoderStage& config = recipe_.encoder;
  const std::uint64_t seed = stage_seed(stage_name::encoder);
  Loader loader = picture_loader(seed);
  DinoNet student = make_net(recipe_, seed), teacher{clone(student.backbone), clone(student.head)};
  DinoLoss dino(config.prototypes);
  dino.student_temperature = config.student_temperature;
  dino.teacher_temperature = config.teacher_temperature;
  DinoCentre patch_centre(config.prototypes);
  set_trainable(teacher, false);

  BatchAhead<Crops> batches([&](std::int64_t first, std::int64_t n, std::int64_t next) {
    return draw_crops(loader.take(first, n, next).x, consecutive(first, n), recipe_, seed);
  });
  Stage stage = make_stage<DinoNet>(stage_name::encoder, student, nullptr);
  for (const auto& [name, tensor] : state_dict(teacher)) stage.state.emplace_back("teacher." + name, tensor);
  stage.state.emplace_back("centre", dino.centre.value());
  stage.state.emplace_back("patch_centre", patch_centre.value());

  stage.loss = [&](const StepPart& part) {
    const std::int64_t first = part.step * config.loop.batch + part.first;
    Crops crops = batches.take(first, part.count, part.next);
    crops.mask = draw_mask(consecutive(first, part.count), recipe_, seed);
    std::vector<Tensor> targets;
    Tensor patch_targets;
    {
      const PauseTape pause;
      const VitTokens seen = teacher.backbone.encode(normalised(crops.global, recipe_.rae));
      for (const Var& h : by_crop(teacher.head(seen.cls), part.count)) targets.push_back(h.value());
      if (config.patch_weight > 0) patch_targets = teacher.head(reshape(seen.patches, {-1, seen.patches.dim(-1)})).value();
    }
    const VitTokens seen =
        student.backbone.encode(normalised(crops.global, recipe_.rae), config.patch_weight > 0 ? crops.mask : Tensor());
    std::vector<Var> outputs = by_crop(student.head(seen.cls), part.count);
    if (crops.local.defined())
      for (const Var& h : by_crop(student.head(student.backbone.encode(normalised(crops.local, recipe_.rae)).cls), part.count))
        outputs.push_back(h);
    const Var class_loss = dino(outputs, targets);
    if (config.patch_weight == 0) return StepLoss{class_loss, {{"class_loss", class_loss.value()}}};
    const double number = static_cast<double>(part.count) * hidden_per_sample(part, recipe_, seed);
    const Var predicted = student.head(reshape(seen.patches, {-1, seen.patches.dim(-1)}));
    const Var hidden = patch_loss(predicted, patch_targets, crops.mask, number, patch_centre, config);
    return StepLoss{class_loss + hidden * config.patch_weight,
                    {{"class_loss", class_loss.value()}, {"patch_loss", hidden.value()}}};
  };
  stage.after_step = [&](std::int64_t step) {
    dino.centre.add_over(*context_.ranks);
    dino.centre.move();
    patch_centre.add_over(*context_.ranks);
    patch_centre.move();
    follow(teacher, student, dino_momentum(config.momentum, step, config.loop.steps));
  };

  const Outcome outcome = train_loop(stage, config.loop, seed);
  if (outcome == Outcome::finished)
    context_.ranks.only_first([&] {
      save_safetensors(root_ / stage.name / stage_named(stage.name).file, state_dict(teacher.backbone),
                       {{"data", recipe_.data}, {"method", "DINO with patch loss"}});
    });
  return outcome;
}

}  // namespace fm
