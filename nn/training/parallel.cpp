#include "nn/training/parallel.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "nn/config/toml_text.h"
#include "tensor/error.h"

namespace fm {
namespace {

std::vector<RowRange> cut(std::int64_t begin, std::int64_t end, std::int64_t micro) {
  std::vector<RowRange> parts;
  for (std::int64_t first = begin; first < end; first += micro) parts.push_back({first, std::min(micro, end - first)});
  return parts;
}

// For each metric: its name, a zero byte, value and weight.
std::string packed(const std::vector<StepMetric>& metrics) {
  std::string text;
  for (const StepMetric& m : metrics) {
    const double numbers[] = {double(m.value), m.weight};
    text += m.name + '\0' + std::string(reinterpret_cast<const char*>(numbers), sizeof numbers);
  }
  return text;
}

std::vector<StepMetric> unpacked(const std::string& text) {
  std::vector<StepMetric> metrics;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\0', at);
    double numbers[2];
    if (end == std::string::npos || text.size() - end - 1 < sizeof numbers) throw Error("the metrics received from another rank are truncated");
    std::memcpy(numbers, text.data() + end + 1, sizeof numbers);
    metrics.push_back({text.substr(at, end - at), numbers[0], numbers[1]});
    at = end + 1 + sizeof numbers;
  }
  return metrics;
}

}  // namespace

bool same_parts_as_alone(std::int64_t batch, std::int64_t micro, int ranks) {
  return ranks == 1 || (micro > 0 && (batch + micro - 1) / micro % ranks == 0);
}

std::vector<RowRange> rows_of_rank(std::int64_t batch, std::int64_t micro_batch, int rank, int ranks) {
  if (batch < ranks) throw ConfigError(fmt::format("batch {} is smaller than the number of ranks, {}: raise --batch or start fewer", batch, ranks));
  const std::int64_t micro = micro_batch > 0 ? std::min(micro_batch, batch) : batch;
  if (!same_parts_as_alone(batch, micro, ranks)) return cut(batch * rank / ranks, batch * (rank + 1) / ranks, micro);
  const std::int64_t each = (batch + micro - 1) / micro / ranks * micro;
  return cut(each * rank, std::min(batch, each * (rank + 1)), micro);
}

Agreed agree(Communicator& ranks, double own_loss, const std::string& own_stop, bool own_save) {
  const std::vector<double> sums = sum_over_ranks(ranks, {own_loss, own_stop.empty() ? 0.0 : 1.0, own_save ? 1.0 : 0.0});
  Agreed agreed{sums[0], "", sums[2] > 0};
  if (sums[1] == 0) return agreed;
  for (const std::string& reason : gather_texts(ranks, own_stop))
    if (agreed.stop.empty()) agreed.stop = reason;
  return agreed;
}

void add_metrics(std::vector<StepMetric>& into, const std::vector<StepMetric>& more, double share) {
  for (const StepMetric& m : more) {
    auto it = std::find_if(into.begin(), into.end(), [&](const StepMetric& known) { return known.name == m.name; });
    if (it == into.end()) it = into.insert(it, {m.name, 0, 0});
    const double weight = share * m.weight;
    it->weight += weight;
    if (it->weight > 0) it->value = double(it->value) + (double(m.value) - double(it->value)) * weight / it->weight;
  }
}

std::vector<StepMetric> metrics_of_all(Communicator& ranks, const std::vector<StepMetric>& own) {
  if (ranks.size() == 1) return own;
  std::vector<StepMetric> all;
  for (const std::string& text : gather_texts(ranks, packed(own))) add_metrics(all, unpacked(text), 1);
  return all;
}

void check_same_start(Communicator& ranks, const std::string& config, const std::string& facts) {
  if (ranks.size() == 1) return;
  const auto configs = gather_texts(ranks, config), all_facts = gather_texts(ranks, facts);
  for (std::size_t r = 1; r < configs.size(); ++r) {
    if (configs[r] == configs[0] && all_facts[r] == all_facts[0]) continue;
    const auto changes = toml_changes(configs[0], configs[r]);
    ranks.finish();                      // all ranks end here, so that none reports others as lost
    throw ConfigError(fmt::format("rank {} was not started as rank 0 was: {}; give all ranks the same command, build and files", r,
                                  changes.empty() ? fmt::format("{}, not {}", all_facts[r], all_facts[0]) : fmt::format("{}", fmt::join(changes, ", "))));
  }
}

void save_from_owners(Communicator& ranks, CheckpointFolder& checkpoints, std::int64_t step, std::vector<CheckpointPart> parts,
                      const nlohmann::ordered_json& state, const OwnerOf& owner) {
  if (ranks.first()) {
    for (CheckpointPart& part : parts)
      part.fetch = [&ranks, &owner, name_of_part = part.name](const std::string& name, const Tensor& t) {
        const int from = owner(name_of_part, name);
        if (from <= 0) return t;
        const Tensor here = Tensor::empty(t.shape(), t.dtype(), Device{});
        ranks.receive(here, from);
        return here;
      };
    return save_checkpoint(checkpoints, step, parts, state);
  }
  for (const CheckpointPart& part : parts)
    for (const auto& [name, t] : in_file_order(part.tensors, part.name))
      if (owner(part.name, name) == ranks.rank()) ranks.send(t.to(Device{}).contiguous(), 0);
}

}  // namespace fm
