// convert: weights from one file format, naming style or element type to another.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "apps/cli/program.h"
#include "flowmap/trained_jumps.h"
#include "nn/checkpoint.h"
#include "nn/models/published_names.h"
#include "tensor/io/atomic_file.h"
#include "tensor/io/file_text.h"
#include "tensor/io/npy.h"

using namespace fm;

namespace {

struct ConvertCommand {
  std::string from, to, part, names = "ours", dtype = "same";
  template <class V> void visit(V&& v) {
    v("from", from,
      "weights to read: a file (safetensors, PyTorch's .pt or .pth, .npz), an index of shards, a checkpoint or a run folder; with :ema for averaged weights",
      flag("from"), basic(), value_as("PATH"));
    v("to", to, "file to write: .safetensors or .npz", flag("to"), basic(), value_as("FILE"));
    v("part", part, "part to take from a file that holds several: encoder, decoder, dit or vae; empty: all",
      one_of({"", weights_part::encoder, weights_part::decoder, weights_part::dit, weights_part::vae}), flag("part"), basic());
    v("names", names,
      "style of the tensor names in the new file: ours (Hugging Face's for encoders and a VAE), meta (Meta's DINOv2), rae (with RAE's prefixes), compvis (for a VAE)",
      one_of({"ours", "meta", "rae", "compvis"}), flag("names"), basic());
    v("dtype", dtype, "element type of floating-point tensors", one_of({"same", "f32", "bf16", "f64"}), flag("dtype"), basic());
  }
};

Tensor converted(const Tensor& t, const std::string& dtype) {
  if (dtype == "same" || !is_floating(t.dtype())) return t;
  return t.to(dtype == "f32" ? DType::f32 : dtype == "bf16" ? DType::bf16 : DType::f64);
}

// NumPy has no bf16: ConfigError names such a tensor rather than widening it silently.
void save_npz(const std::string& file, const NamedTensors& tensors) {
  NpzWriter npz(file);
  for (const auto& [name, t] : tensors) {
    const Tensor x = t.contiguous();
    const std::vector<std::int64_t> shape(x.shape().begin(), x.shape().end());
    switch (x.dtype()) {
      case DType::f32: npz.add<float>(name, shape, x.to_vector<float>()); break;
      case DType::f64: npz.add<double>(name, shape, x.to_vector<double>()); break;
      case DType::i32: npz.add<std::int32_t>(name, shape, x.to_vector<std::int32_t>()); break;
      case DType::i64: npz.add<std::int64_t>(name, shape, x.to_vector<std::int64_t>()); break;
      case DType::u8: npz.add<std::uint8_t>(name, shape, x.to_vector<std::uint8_t>()); break;
      default:
        throw ConfigError(
            fmt::format("{} is {}, which .npz does not have: add --dtype f32, or write .safetensors", in_quotes(name), name_of(x.dtype())));
    }
  }
  npz.finish();
}

// A checkpoint records how its flow map is sampled; a file of weights does not.
void warn_of_sampler(const Weights& weights, Messages& log) {
  if (weights.state == nullptr || !weights.state->contains("made_from")) return;
  const Jumps jumps = jumps_of_sampler((*weights.state)["made_from"].value("sampler", ""));
  if (jumps == Jumps::any || jumps == Jumps::off_diagonal) return;
  log.warning("{}: its flow map {}. The new file does not record this, so `flowmap_sample --dit` cannot refuse several jumps: use one call", weights.file.string(),
              sampler_of(jumps).text);
}

int convert(ConvertCommand& c, Context& context) {
  if (c.from.empty() || c.to.empty()) throw ConfigError("convert needs --from WEIGHTS and --to FILE");
  const bool npz = c.to.ends_with(".npz");
  if (!npz && !c.to.ends_with(".safetensors"))
    throw ConfigError(fmt::format("--to {}: the name must end in .safetensors or .npz", c.to));
  remove_stale_temporaries_of(c.to);             // left by a conversion that was killed: gigabytes
  const Weights weights = load_weights(c.from, [&](const std::string& line) { context.log.warning("{}", line); });
  warn_of_sampler(weights, context.log);
  for (const UnreadEntry& entry : weights.unread)
    context.log.warning("{} of {} is left out: {}", in_quotes(entry.name), weights.file.string(), entry.why);
  NamedTensors tensors = to_our_names(weights.tensors, c.part);
  if (c.names != "ours") tensors = to_published_names(tensors, c.names);
  for (auto& entry : tensors) entry.second = converted(entry.second, c.dtype);
  if (npz) save_npz(c.to, tensors);
  else save_safetensors(c.to, tensors, {{"format", "pt"}});
  std::int64_t values = 0;
  for (const auto& entry : tensors) values += entry.second.numel();
  const std::size_t all = weights.tensors.size() + weights.unread.size();
  context.log.info("{}: {} tensors, {} values, of {} in {}", c.to, tensors.size(), values, all, weights.file.string());
  return exit_code::finished;
}

}  // namespace

int main(int argc, char** argv) {
  Program program{.name = "convert", .summary = "Turns weights of one format, naming style or element type into another.",
                  .quickstart = "convert --from runs/quickstart/mfd:ema --to flow_map.safetensors"};
  program.add<ConvertCommand>({.name = "",
                               .help = "convert a file of weights",
                               .has_folder = false,
                               .examples = {{"a PyTorch checkpoint's averaged weights",
                                             "convert --from stage2_model.pt:ema --to dit.safetensors"},
                                            {"the encoder of a RAE file, in bf16",
                                             "convert --from rae.safetensors --part encoder --dtype bf16 --to encoder.safetensors"}}},
                              convert);
  return run_program(program, argc, argv);
}
