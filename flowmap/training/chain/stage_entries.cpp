// The recipe's keys and sections that a stage reads.
#include <fmt/format.h>

#include <algorithm>

#include "flowmap/training/chain/stages.h"
#include "tensor/error.h"

namespace fm {
namespace {

using Names = std::vector<std::string>;

bool has(const Names& names, const std::string& name) { return std::find(names.begin(), names.end(), name) != names.end(); }

template <class Visit> Names entries_of(const Visit& visit_fields) {
  std::vector<Field> fields;
  FieldLister lister(fields);
  visit_fields(lister);
  Names names;
  for (const Field& field : fields)
    if (std::string name = field.path.substr(0, field.path.find('.')); !has(names, name)) names.push_back(std::move(name));
  return names;
}

void append(Names& names, const Names& more) { names.insert(names.end(), more.begin(), more.end()); }

}  // namespace

std::vector<std::string> entries_besides(const std::vector<std::string>& names) {
  Recipe recipe;
  Names rest = entries_of([&](FieldLister& lister) { recipe.visit(lister); });
  for (const std::string& name : names)
    if (std::erase(rest, name) == 0) throw Error(fmt::format("the recipe has no key or section '{}'", name));
  return rest;
}

std::vector<std::string> entries_unread(const StageSpec& stage) {
  const bool generator = stage.is_generator(), prepares = stage.makes == Makes::latents || stage.makes == Makes::statistics;
  const bool on_latents = generator || prepares;
  Names names{"evaluate", "judge_weights"};
  for (const StageSpec& other : stage_table())
    if (other.loop != nullptr && std::string_view(other.name) != stage.name && !(on_latents && other.makes == Makes::autoencoder)) names.emplace_back(other.name);
  if (stage.makes != Makes::flow_map) names.emplace_back("teacher_weights");
  if (stage.makes != Makes::flow_map && stage.makes != Makes::latents) names.emplace_back("class_token_weights");
  if (!generator) {
    append(names, {"network", "conditional", "guidance", "guidance_from", "guidance_to", "compat", "dit_size"});
    NetworkConfig network;
    append(names, entries_of([&](FieldLister& lister) { network.visit_sections(lister); }));
  }
  if (!generator && !prepares) append(names, {"latents", "identity", "stats_file"});
  if (stage.makes == Makes::classifier || stage.makes == Makes::encoder) append(names, {"encoder_weights", "decoder_weights", "decoder_size", "vae_weights"});
  if (stage.makes == Makes::classifier) append(names, {"space", "rae", "encoder_model"});
  return names;
}

}  // namespace fm
