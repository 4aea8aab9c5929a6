// convert: weights from one file format, naming style or element type to another.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "apps/cli/program.h"
#include "flowmap/trained_jumps.h"
#include "nn/checkpoint.h"
#include "nn/models/dit_weights.h"
#include "nn/models/published_names.h"
#include "tensor/io/atomic_file.h"
#include "tensor/io/file_text.h"
#include "tensor/io/npy.h"

using namespace fm;

namespace {

struct ConvertCommand {
  std::string from, to, part, names = "ours", dtype = "same", origin = "auto";
  std::int64_t latent_size = 32;
  template <class V> void visit(V&& v) {
    v("from", from,
      "weights to read: a file (safetensors, PyTorch's .pt or .pth, .npz), an index of shards, a checkpoint or a run folder; with :ema for averaged weights",
      flag("from"), basic(), value_as("PATH"));
    v("to", to, "file to write: .safetensors or .npz", flag("to"), basic(), value_as("FILE"));
    v("part", part, "part to take from the file: encoder, decoder, dit, vae, or sit (SiT, REPA, REG, MeanFlow: on this project's clock); empty: all, as they are",
      one_of({"", weights_part::encoder, weights_part::decoder, weights_part::dit, weights_part::vae, weights_part::sit}), flag("part"), basic());
    v("names", names,
      "style of the tensor names in the new file: ours (Hugging Face's for encoders and a VAE), meta (Meta's DINOv2), rae (with RAE's prefixes), compvis (for a VAE)",
      one_of({"ours", "meta", "rae", "compvis"}), flag("names"), basic());
    v("origin", origin, "with --part sit, the code that wrote the file, if its tensors leave it open: sit (time 1 is data), repa (time 0 is data; also REG), mean_flow; auto: decided by the tensors",
      ChoiceRule{dit_origins()}, flag("origin"));
    v("latent_size", latent_size, "with --part sit, the side of the latents of a Flax file, which does not contain it", range(1, 4096), flag("latent-size"));
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

// The tensors of the part under our names, from a file with `in_file` tensors.
struct Part {
  Weights weights;
  std::size_t in_file;
};

Part read_part(const ConvertCommand& c, const Warn& warn) {
  Weights weights = load_weights(c.from, warn);
  const std::size_t in_file = weights.tensors.size() + weights.unread.size();
  if (c.part == weights_part::sit) return {load_dit(c.from, {c.origin, c.latent_size}, warn), in_file};
  if (c.origin != "auto") throw ConfigError(fmt::format("--origin {} needs --part sit: other files are copied as they are", c.origin));
  weights.tensors = to_our_names(weights.tensors, c.part);
  return {std::move(weights), in_file};
}

int convert(ConvertCommand& c, Context& context) {
  if (c.from.empty() || c.to.empty()) throw ConfigError("convert needs --from WEIGHTS and --to FILE");
  const bool npz = c.to.ends_with(".npz");
  if (!npz && !c.to.ends_with(".safetensors"))
    throw ConfigError(fmt::format("--to {}: the name must end in .safetensors or .npz", c.to));
  remove_stale_temporaries_of(c.to);             // left by a conversion that was killed: gigabytes
  const Part part = read_part(c, [&](const std::string& line) { context.log.warning("{}", line); });
  const Weights& weights = part.weights;
  warn_of_sampler(weights, context.log);
  for (const UnreadEntry& entry : weights.unread)
    context.log.warning("{} of {} is left out: {}", in_quotes(entry.name), weights.file.string(), entry.why);
  NamedTensors tensors = weights.tensors;
  if (c.names != "ours") tensors = to_published_names(tensors, c.names);
  for (auto& entry : tensors) entry.second = converted(entry.second, c.dtype);
  if (npz) save_npz(c.to, tensors);
  else save_safetensors(c.to, tensors, {{"format", "pt"}});
  std::int64_t values = 0;
  for (const auto& entry : tensors) values += entry.second.numel();
  context.log.info("{}: {} tensors, {} values, of {} in {}{}", c.to, tensors.size(), values, part.in_file, weights.file.string(),
                   weights.read_as.empty() ? "" : "; " + weights.read_as);
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
                                             "convert --from rae.safetensors --part encoder --dtype bf16 --to encoder.safetensors"},
                                            {"a SiT on this project's clock", "convert --from SiT-XL-2-256x256.pt --part sit --to sit.safetensors"}}},
                              convert);
  return run_program(program, argc, argv);
}
