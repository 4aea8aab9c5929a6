// The judge (nn/models/judge.h) as features: the vectors of its penultimate layer, and the classes that it predicts.
#pragma once

#include <memory>

#include "flowmap/training/features.h"
#include "nn/models/judge.h"

namespace fm {

Features judge_features(std::shared_ptr<const Judge> judge);     // the fingerprint is the checksum of the judge's present weights

}  // namespace fm
