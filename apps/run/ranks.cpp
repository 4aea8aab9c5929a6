#include "apps/run/ranks.h"

#include <fmt/format.h>
#include <unistd.h>

#include <charconv>
#include <cstdlib>

#include "apps/cli/console.h"
#include "apps/run/run_folder.h"
#include "apps/run/signals.h"
#include "tensor/collectives/file_rendezvous.h"
#include "tensor/collectives/hello.h"
#include "tensor/collectives/message_communicator.h"
#include "tensor/collectives/nccl.h"
#include "tensor/collectives/tcp.h"
#include "tensor/narrow.h"
#ifdef FM_HAVE_MPI
#include "tensor/collectives/mpi.h"
#endif

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
      throw ConfigError(fmt::format("{} = '{}' is not a number", name, value));
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

// An sbatch script and an interactive shell have SLURM_NTASKS too, and are one process: only srun makes steps.
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

// 0: it is none.
int parse_port(std::string_view text) {
  int port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  return error == std::errc() && end == text.data() + text.size() && port >= 1 && port <= 65535 ? port : 0;
}

// Brackets as in [::1]:29500 are no part of the host.
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
  // The agent of torchrun may hold that port itself.
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

// Set and empty is a mistake (a file that could not be read), and would leave the door open without a word.
void take_secret(RankPlace& p, const Environment& environment) {
  const char* secret = environment("FLOWMAP_RENDEZVOUS_SECRET");
  if (!secret) return;
  p.secret = secret;
  if (p.secret.empty()) throw ConfigError("FLOWMAP_RENDEZVOUS_SECRET is set and empty: give all ranks the same text (openssl rand -hex 16), or unset it");
}

void choose_transport(RankPlace& p, const Launch& launch, const Variables& env, bool have_mpi) {
  p.job = env.text("TORCHELASTIC_RUN_ID") + "/" + env.text("TORCHELASTIC_RESTART_COUNT") + "/" + env.text("SLURM_JOB_ID") + "/" +
          env.text("SLURM_STEP_ID");
  if (!launch.rendezvous.empty()) return take_rendezvous(p, launch.rendezvous);
  if (p.source == open_mpi.source && have_mpi) {
    p.transport = RankPlace::Transport::mpi;
    return;
  }
  if (take_master(p, env) || (p.source != torchrun.source && take_slurm_address(p, env))) return;
  if (p.source == open_mpi.source)
    throw ConfigError(fmt::format("mpirun started {} ranks, but this build has no MPI: build with -Dmpi=enabled, or give --rendezvous HOST:PORT", p.size));
  throw ConfigError(fmt::format("rank {} of {} ({}) does not know where rank 0 is: give --rendezvous HOST:PORT, or set MASTER_ADDR and MASTER_PORT", p.rank,
                                p.size, p.source));
}

}  // namespace

std::string first_host(const std::string& list) {
  const std::size_t bracket = list.find('['), comma = list.find(',');
  if (bracket == std::string::npos || comma < bracket) return list.substr(0, comma);
  const std::size_t end = list.find_first_of("-,]", bracket);
  return list.substr(0, bracket) + list.substr(bracket + 1, end - bracket - 1);
}

RankPlace find_ranks(const Launch& launch, const Environment& environment, bool have_mpi) {
  const Variables env(environment);
  RankPlace p;
  if ((launch.rank >= 0) != (launch.world_size > 0)) throw ConfigError("--rank and --world-size belong together: give both or none");
  if (launch.rank >= 0) {
    p.source = "--rank", p.rank = narrow<int>(launch.rank, "--rank"), p.size = narrow<int>(launch.world_size, "--world-size");
    if (p.rank >= p.size) throw ConfigError(fmt::format("--rank {} --world-size {}: ranks are 0 to {}", p.rank, p.size, p.size - 1));
  } else if (!take(p, env, torchrun) && !take(p, env, open_mpi) && !take(p, env, pmi)) {
    take_slurm(p, env);
  }
  p.deadline = launch.rendezvous_timeout;
  if (p.size > 1) choose_transport(p, launch, env, have_mpi);
  else if (!launch.rendezvous.empty()) throw ConfigError("--rendezvous: this process is alone; --rank and --world-size say who it is");
  if (p.transport == RankPlace::Transport::tcp) take_secret(p, environment);
  return p;
}

bool built_with_mpi() {
#ifdef FM_HAVE_MPI
  return true;
#else
  return false;
#endif
}

Device device_of_rank(const RankPlace& p, const Launch& launch, int gpus, bool have_nccl) {
  if (p.size == 1 || !launch.device.is_cuda()) return launch.device;
  if (!have_nccl)
    throw ConfigError(fmt::format("--device {}: {} ranks were started, and this build is without NCCL, by which ranks on GPUs talk: build with "
                                  "-Dnccl=enabled, or use --device cpu or one rank", launch.any_gpu ? "cuda" : to_string(launch.device), p.size));
  if (!launch.any_gpu) return launch.device;
  if (gpus == 1) return Device::cuda(0);
  if (p.local_rank >= gpus)
    throw ConfigError(fmt::format("--device cuda: this is rank {} of {} on its machine, counted from 0, and that has {} GPUs: start at most {} ranks "
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

namespace {

FileRendezvous file_of(const RankPlace& p) { return {p.folder, p.job}; }

std::string own_host() {
  char host[256] = {};
  gethostname(host, sizeof host - 1);
  return host;
}

// "HOST:PORT SECRET"
TcpRendezvous::Found read_address(const FileRendezvous& file, const std::string& given_secret, std::string* why) {
  const std::string text = look_at(file, why);
  const std::size_t space = text.find(' '), colon = text.rfind(':', space);
  const int port = space == std::string::npos || colon == std::string::npos ? 0 : parse_port(text.substr(colon + 1, space - colon - 1));
  if (port == 0 && !text.empty()) *why = file.file().string() + " holds no address";
  if (port == 0) return {};
  return {text.substr(0, colon), port, given_secret.empty() ? text.substr(space + 1) : given_secret};
}

// `left`: what rank 0 leaves in the folder.
TcpRendezvous rendezvous_of(const RankPlace& p, std::function<void(const std::string&)> warn, std::string& left) {
  TcpRendezvous w{p.host, p.port, p.job, p.rank, p.size, p.deadline, p.secret, p.from_other_machines};
  w.stop_asked = stop_reason;
  w.warn = std::move(warn);
  if (p.folder.empty()) return w;
  const FileRendezvous file = file_of(p);
  w.called = "the address in " + file.file().string();
  w.host = own_host();
  if (p.secret.empty() && p.rank == 0) w.secret = to_hex(random_bytes(32));
  // With a secret that was given the file holds the address alone.
  w.listening = [file, &left, secret = p.secret.empty() ? w.secret : ""](int port) {
    left = fmt::format("{}:{} {}", own_host(), port, secret);
    leave_at(file, left);
  };
  w.find = [file, given = p.secret](std::string* why) { return read_address(file, given, why); };
  return w;
}

// What rank 0 left is of no use once all have met, or it has given up. Another rank 0 may have put its own in its place: that stays.
class ClearedAddress {
 public:
  explicit ClearedAddress(const RankPlace& p) : place_(p) {}
  ~ClearedAddress() {
    if (left.empty()) return;
    std::string why;
    if (look_at(file_of(place_), &why) == left) clear(file_of(place_));
  }
  std::string left;

 private:
  const RankPlace& place_;
};

// The first thing that is not alike; empty: all is.
std::string difference(const StartFacts& own, const StartFacts& first) {
  const auto differs = [](const char* what, const std::string& a, const std::string& b) { return a == b ? "" : fmt::format("{} {}, not {}", what, a, b); };
  std::string text = differs("it runs", own.command, first.command);
  if (text.empty()) text = differs("it is build", own.build, first.build);
  if (text.empty()) text = differs("its --out is", own.out, first.out);
  if (text.empty() && own.host == first.host) text = differs("its --out is", own.folder, first.folder);      // started in another folder
  if (text.empty()) text = fmt::format("{}", fmt::join(config_changes(first.config, own.config), ", "));
  return text;
}

}  // namespace

void check_same_command(Communicator& ranks, const StartFacts& own) {
  if (ranks.size() == 1) return;
  constexpr std::string StartFacts::*fields[] = {&StartFacts::command, &StartFacts::build, &StartFacts::out, &StartFacts::host, &StartFacts::folder, &StartFacts::config};
  std::vector<StartFacts> all(static_cast<std::size_t>(ranks.size()));
  for (const auto field : fields) {
    const auto texts = gather_texts(ranks, own.*field);
    for (std::size_t r = 0; r < all.size(); ++r) all[r].*field = texts[r];
  }
  for (std::size_t r = 1; r < all.size(); ++r) {
    const std::string text = difference(all[r], all[0]);
    if (text.empty()) continue;
    ranks.finish();                      // all ranks end here, for the same reason: none takes the others for lost
    throw ConfigError(printable(fmt::format("rank {} was not started as rank 0 was: {}", r, text), 1000) + "; give all ranks the same command, build and files");
  }
}

Ranks::Ranks(const RankPlace& p, double lost_after, const std::string& program, std::function<void(const std::string&)> warn) {
  const auto end = [this, program](const std::string& what) {
    print_error(program.c_str(), (what + remedy()).c_str());
    std::fflush(stderr);
    std::_Exit(exit_code::rank_lost);
  };
  const WatchOptions watch{.lost_after = lost_after, .beat_every = std::min(1.0, lost_after / 5), .grace = std::min(10.0, lost_after), .on_lost = end,
                           .stop_asked = stop_reason, .stop_heard = request_stop};
  std::unique_ptr<ClearedAddress> address = std::make_unique<ClearedAddress>(p);
  const auto open = [&]() -> std::unique_ptr<Channel> {
#ifdef FM_HAVE_MPI
    if (p.transport == RankPlace::Transport::mpi) return open_mpi_channel(p.rank, p.size);
#endif
    return open_tcp_channel(rendezvous_of(p, warn, address->left));
  };
  ranks_ = std::make_unique<SingleRank>();
  if (p.size == 1) return;
  ranks_ = std::make_unique<MessageCommunicator>(open, watch);
  if (!p.folder.empty()) ranks_->barrier();
  address.reset();
  if (p.device.is_cuda()) ranks_ = open_nccl(std::move(ranks_), p.device, {.stop_asked = stop_reason});
}

void Ranks::set_remedy(std::function<std::string()> remedy) {
  const std::lock_guard lock(mutex_);
  remedy_ = std::move(remedy);
}

std::string Ranks::remedy() const {
  const std::lock_guard lock(mutex_);
  try {
    return remedy_ ? remedy_() : "";
  } catch (const std::exception& e) {    // the folder of checkpoints may be lost too
    return std::string("; where it stands is unknown: ") + e.what();
  }
}

}  // namespace fm
