#include "flowmap/training/judge_features.h"

#include "nn/loaded.h"
#include "tensor/ops/reduce.h"

namespace fm {

Features judge_features(std::shared_ptr<const Judge> judge) {
  std::string fingerprint = checksum(state_dict(*judge));
  return {"judge", std::move(fingerprint), [judge = std::move(judge)](const Tensor& images) {
            const PauseTape pause;
            const Var h = judge->features(images.to(default_device()));
            return Seen{h.value().to(Device{}), argmax(judge->classify(h).value(), 1).to_vector<std::int64_t>()};
          }};
}

}  // namespace fm
