#include "nn/training/rank_place.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "tensor/collectives/nccl.h"
#include "tensor/error.h"
#include "tensor/narrow.h"

namespace fm {
namespace {

class Variables {
 public:
  explicit Variables(const Environment& environment) : environment_(environment) {}
  bool has(const char* name) const { return !text(name).empty(); }
  std::string text(const char* name) const {
    const char* value = environment_(name);
    return value ? value : "";
  }
  int number(const char* name) const {
    const std::string value = text(name);
    int n = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), n);
    if (error != std::errc() || end != value.data() + value.size() || n < 0)
      throw ConfigError(fmt::format("{} = '{}' is not a whole number from 0 on", name, value));
    return n;
  }
  int number_or(const char* name, int otherwise) const { return has(name) ? number(name) : otherwise; }

 private:
  const Environment& environment_;
};

constexpr int most_ranks = 1000000;

struct Names {
  const char *source, *rank, *size, *local_rank, *local_size;
};
constexpr Names torchrun{"torchrun", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"};
constexpr Names open_mpi{"Open MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"};
constexpr Names pmi{"PMI", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"};
constexpr Names slurm{"Slurm", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", "SLURM_NTASKS_PER_NODE"};

bool take(RankPlace& p, const Variables& env, const Names& names) {
  const bool rank = env.has(names.rank), size = env.has(names.size);
  if (rank != size)
    throw ConfigError(fmt::format("{} is set and {} is not: set both or none (--rank 0 --world-size 1 runs alone)", rank ? names.rank : names.size,
                                  rank ? names.size : names.rank));
  if (!rank) return false;
  p.source = names.source;
  p.rank = env.number(names.rank), p.size = env.number(names.size);
  p.local_rank = env.number_or(names.local_rank, 0);
  p.local_size = std::max(1, env.number_or(names.local_size, 1));
  if (p.size > most_ranks) throw ConfigError(fmt::format("{} = {}: at most {} ranks are possible", names.size, p.size, most_ranks));
  if (p.rank >= p.size)
    throw ConfigError(fmt::format("{} = {} and {} = {}: ranks are 0 to {} - 1", names.rank, p.rank, names.size, p.size, names.size));
  return true;
}

// Takes rank and size from Slurm, but only in a step that srun started: sbatch scripts and interactive shells are one process with SLURM_NTASKS too.
bool take_slurm(RankPlace& p, const Variables& env) {
  if (!env.has(slurm.size) || !env.has(slurm.rank)) return false;
  const std::string name = env.text("SLURM_JOB_NAME");
  if (!env.has("SLURM_STEP_ID") || name == "bash" || name == "interactive") {
    if (env.number(slurm.size) > 1)
      p.warning = fmt::format("a Slurm job of {} tasks, but this process was not started by srun: it runs alone", env.number(slurm.size));
    return false;
  }
  return take(p, env, slurm);
}

// The brackets in [::1]:29500 do not belong to the host.
void set_address(RankPlace& p, std::string host, int port) {
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  const bool own_machine = host == "localhost" || host == "::1" || host.starts_with("127.");
  p.transport = RankPlace::Transport::tcp;
  p.from_other_machines = p.source != "--rank" && p.local_size < p.size && !own_machine;
  p.host = std::move(host), p.port = port;
}

void take_rendezvous(RankPlace& p, const std::string& text) {
  if (text.starts_with("file:") && text.size() > 5) {
    p.transport = RankPlace::Transport::tcp;
    p.folder = text.substr(5);
    p.from_other_machines = true;
    return;
  }
  const std::size_t colon = text.rfind(':');
  const int port = colon == std::string::npos || colon == 0 ? 0 : parse_port(text.substr(colon + 1));
  if (port == 0) throw ConfigError(fmt::format("--rendezvous {}: takes HOST:PORT, where rank 0 listens, or file:FOLDER", text));
  set_address(p, text.substr(0, colon), port);
}

bool take_master(RankPlace& p, const Variables& env) {
  if (!env.has("MASTER_ADDR") || !env.has("MASTER_PORT")) return false;
  // With TORCHELASTIC_USE_AGENT_STORE the agent of torchrun uses MASTER_PORT itself, so rank 0 listens on the next port.
  const int port = env.number("MASTER_PORT") + (env.text("TORCHELASTIC_USE_AGENT_STORE") == "True" ? 1 : 0);
  if (port < 1 || port > 65535) throw ConfigError(fmt::format("MASTER_PORT = {}: ports are 1 to 65535", env.text("MASTER_PORT")));
  set_address(p, env.text("MASTER_ADDR"), port);
  return true;
}

bool take_slurm_address(RankPlace& p, const Variables& env) {
  const std::string host = env.has("SLURM_JOB_NODELIST") ? first_host(env.text("SLURM_JOB_NODELIST")) : env.text("SLURM_LAUNCH_NODE_IPADDR");
  const std::string job = env.text("SLURM_JOB_ID");
  if (host.empty() || job.empty()) return false;
  set_address(p, host, 15000 + std::atoi(job.substr(job.size() > 4 ? job.size() - 4 : 0).c_str()));
  return true;
}

// An empty secret is a mistake, for example $(cat FILE) of a file that could not be read. Accepted, it would let any process join.
void take_secret(RankPlace& p, const Environment& environment) {
  const char* secret = environment("FLOWMAP_RENDEZVOUS_SECRET");
  if (!secret) return;
  p.secret = secret;
  if (p.secret.empty()) throw ConfigError("FLOWMAP_RENDEZVOUS_SECRET is set and empty: give all ranks the same text (openssl rand -hex 16), or unset it");
}

void choose_transport(RankPlace& p, const RankOptions& options, const Variables& env, bool have_mpi) {
  p.job = env.text("TORCHELASTIC_RUN_ID") + "/" + env.text("TORCHELASTIC_RESTART_COUNT") + "/" + env.text("SLURM_JOB_ID") + "/" +
          env.text("SLURM_STEP_ID");
  if (!options.rendezvous.empty()) return take_rendezvous(p, options.rendezvous);
  if (p.source == open_mpi.source && have_mpi) {
    p.transport = RankPlace::Transport::mpi;
    return;
  }
  if (take_master(p, env) || (p.source != torchrun.source && take_slurm_address(p, env))) return;
  if (p.source == open_mpi.source)
    throw ConfigError(fmt::format("mpirun started {} ranks, but this build has no MPI: build with -Dmpi=enabled, or give --rendezvous HOST:PORT", p.size));
  throw ConfigError(fmt::format("rank {} of {} ({}) has no address of rank 0: give --rendezvous HOST:PORT, or set MASTER_ADDR and MASTER_PORT", p.rank,
                                p.size, p.source));
}

}  // namespace

int parse_port(std::string_view text) {
  int port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  return error == std::errc() && end == text.data() + text.size() && port >= 1 && port <= 65535 ? port : 0;
}

std::string first_host(const std::string& list) {
  const std::size_t bracket = list.find('['), comma = list.find(',');
  if (bracket == std::string::npos || comma < bracket) return list.substr(0, comma);
  const std::size_t end = list.find_first_of("-,]", bracket);
  return list.substr(0, bracket) + list.substr(bracket + 1, end - bracket - 1);
}

RankPlace find_ranks(const RankOptions& options, const Environment& environment, bool have_mpi) {
  const Variables env(environment);
  RankPlace p;
  if ((options.rank >= 0) != (options.world_size > 0)) throw ConfigError("--rank and --world-size belong together: give both or none");
  if (options.rank >= 0) {
    p.source = "--rank", p.rank = narrow<int>(options.rank, "--rank"), p.size = narrow<int>(options.world_size, "--world-size");
    if (p.rank >= p.size) throw ConfigError(fmt::format("--rank {} --world-size {}: ranks are 0 to {}", p.rank, p.size, p.size - 1));
  } else if (!take(p, env, torchrun) && !take(p, env, open_mpi) && !take(p, env, pmi)) {
    take_slurm(p, env);
  }
  p.deadline = options.rendezvous_timeout;
  if (p.size > 1) choose_transport(p, options, env, have_mpi);
  else if (!options.rendezvous.empty()) throw ConfigError("--rendezvous: this process is alone: give --rank and --world-size too");
  if (p.transport == RankPlace::Transport::tcp) take_secret(p, environment);
  return p;
}

Device device_of_rank(const RankPlace& p, const RankOptions& options, int gpus, bool have_nccl) {
  if (p.size == 1 || !options.device.is_cuda()) return options.device;
  if (!have_nccl)
    throw ConfigError(fmt::format("--device {}: {} ranks were started, and this build is without NCCL, which several ranks on GPUs need: build with "
                                  "-Dnccl=enabled, or use --device cpu or one rank", options.any_gpu ? "cuda" : to_string(options.device), p.size));
  if (!options.any_gpu) return options.device;
  if (gpus == 1) return Device::cuda(0);
  if (p.local_rank >= gpus)
    throw ConfigError(fmt::format("--device cuda: this is rank {} of {} on its machine, counted from 0, but the machine has {} GPUs: start at most {} ranks "
                                  "there", p.local_rank, std::max(p.local_size, p.local_rank + 1), gpus, gpus));
  return Device::cuda(p.local_rank);
}

std::string describe(const RankPlace& p) {
  const std::string how = p.transport == RankPlace::Transport::mpi   ? "by MPI"
                          : !p.folder.empty()                        ? fmt::format("by TCP through an address in {}", p.folder)
                          : p.transport == RankPlace::Transport::tcp ? fmt::format("by TCP through {}:{}", p.host, p.port)
                                                                     : "alone";
  const std::string gpu = p.device.is_cuda() ? fmt::format(", {} by NCCL {}", to_string(p.device), nccl_version()) : "";
  return fmt::format("rank {} of {} ({}), {}{}", p.rank, p.size, p.source, how, gpu);
}

}  // namespace fm
