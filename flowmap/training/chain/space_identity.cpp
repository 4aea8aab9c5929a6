// Samples as their own latents.
#include <fmt/format.h>

#include "data/source.h"
#include "flowmap/training/chain/spaces.h"
#include "flowmap/training/chain/training_run.h"
#include "tensor/error.h"

namespace fm {
namespace {

class IdentityOfRun : public RunSpace {
 public:
  explicit IdentityOfRun(TrainingRun& run) : run_(run) {}
  LatentCoder coder() override { return identity_coder(run_.recipe().sample_shape); }

 private:
  TrainingRun& run_;
};

bool uses(const Recipe& r, Makes what) { return what == Makes::statistics && r.identity.normalize; }

void take_sizes(Recipe& r, const SampleSource& source, const std::string&) {
  if (source.dtype() != DType::f32)
    throw ConfigError("space identity: samples of " + source.name() + " are " + std::string(name_of(source.dtype())) + " " + to_string(source.shape()) +
                      "; it needs f32 values: encode images (space = \"rae\"), or save the numbers as float32");
  r.sample_shape = source.shape();
  if (r.classes == 0) r.classes = static_cast<std::int64_t>(source.class_names().size());
}

bool has_sizes(const Recipe& r) { return r.sample_shape.rank() > 0 && r.classes > 0; }
void resolve(Recipe& r) { r.resolve_identity(); }
Shape shape(const Recipe& r) { return r.sample_shape; }
std::string samples(const Recipe& r) { return "samples of " + to_string(r.sample_shape); }
std::int64_t sample_bytes(const Recipe& r) { return 4 * r.sample_shape.numel(); }
std::unique_ptr<RunSpace> open(TrainingRun& run) { return std::make_unique<IdentityOfRun>(run); }

}  // namespace

SpaceSpec identity_row() {
  return {.name = "identity", .says = "the samples of the data as they are", .pictures = false, .encodes = false, .uses = uses,
                             .take_sizes = take_sizes, .has_sizes = has_sizes, .resolve = resolve, .shape = shape, .samples = samples,
                             .sample_bytes = sample_bytes, .encode_flops = nullptr, .decode_macs = nullptr, .parameters = nullptr, .open = open};
}

}  // namespace fm
