// The rank of a process: the variables of every launcher, their priority, and incomplete settings.
#include "nn/training/ranks.h"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <map>
#include <thread>

#include "apps/run/signals.h"
#include "tensor/collectives/file_rendezvous.h"
#include "tensor/collectives/threads.h"
#include "tensor/io/atomic_file.h"
#include "tests/support/mentions.h"
#include "tests/support/temp_folder.h"

using namespace fm;

namespace {

using Values = std::map<std::string, std::string>;

RankPlace find(const Values& values, RankOptions launch = {}, bool have_mpi = true) {
  return find_ranks(launch, [&](const char* name) { return values.contains(name) ? values.at(name).c_str() : nullptr; }, have_mpi);
}

std::string refusal(const Values& values, RankOptions launch = {}, bool have_mpi = true) {
  try {
    find(values, launch, have_mpi);
  } catch (const ConfigError& e) {
    return e.what();
  }
  return "";
}

Values operator+(Values a, const Values& b) {
  a.insert(b.begin(), b.end());
  return a;
}

RankOptions by_hand(int rank, int size, const std::string& rendezvous) {
  RankOptions launch;
  launch.rank = rank, launch.world_size = size, launch.rendezvous = rendezvous;
  return launch;
}

const Values torchrun{{"RANK", "3"}, {"WORLD_SIZE", "4"}, {"LOCAL_RANK", "1"}, {"LOCAL_WORLD_SIZE", "2"}, {"MASTER_ADDR", "node1"}, {"MASTER_PORT", "29500"}};
const Values mpirun{{"OMPI_COMM_WORLD_RANK", "1"}, {"OMPI_COMM_WORLD_SIZE", "2"}, {"OMPI_COMM_WORLD_LOCAL_RANK", "1"}, {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}};
const Values srun{{"SLURM_PROCID", "5"}, {"SLURM_NTASKS", "8"}, {"SLURM_LOCALID", "1"}, {"SLURM_STEP_ID", "0"}, {"SLURM_JOB_ID", "1234567"}, {"SLURM_JOB_NODELIST", "gpu[07-09,12],cpu1"}};

}  // namespace

TEST_CASE("a process runs alone without a launcher, and with a warning in a Slurm job without srun") {
  CHECK(find({}).size == 1);
  CHECK(find({}).source == "alone");
  Values shell = srun;
  shell.erase("SLURM_STEP_ID");
  const RankPlace p = find(shell);
  CHECK(p.size == 1);
  CHECK(p.warning == "a Slurm job of 8 tasks, but this process was not started by srun: it runs alone");
  CHECK(find(srun + Values{{"SLURM_JOB_NAME", "bash"}}).size == 1);
}

TEST_CASE("ranks are found from each launcher; flags have priority over torchrun, then MPI, then Slurm") {
  const RankPlace t = find(torchrun);
  CHECK((t.rank == 3 && t.size == 4 && t.local_rank == 1 && t.local_size == 2 && t.host == "node1" && t.port == 29500));
  CHECK(describe(t) == "rank 3 of 4 (torchrun), by TCP through node1:29500");
  CHECK(find(torchrun + Values{{"TORCHELASTIC_USE_AGENT_STORE", "True"}}).port == 29501);

  const RankPlace m = find(mpirun);
  CHECK((m.rank == 1 && m.size == 2 && m.transport == RankPlace::Transport::mpi));
  CHECK(describe(m) == "rank 1 of 2 (Open MPI), by MPI");
  CHECK(find(mpirun + Values{{"MASTER_ADDR", "a"}, {"MASTER_PORT", "9"}}, {}, false).transport == RankPlace::Transport::tcp);
  const RankPlace p = find({{"PMI_RANK", "1"}, {"PMI_SIZE", "2"}, {"MASTER_ADDR", "a"}, {"MASTER_PORT", "9"}});
  CHECK((p.rank == 1 && p.size == 2 && p.source == "PMI" && p.transport == RankPlace::Transport::tcp));

  const RankPlace s = find(srun);
  CHECK((s.rank == 5 && s.size == 8 && s.local_rank == 1 && s.host == "gpu07" && s.port == 15000 + 4567));
  CHECK(find(srun + Values{{"SLURM_JOB_NAME", "training"}}).size == 8);

  CHECK(find(srun + mpirun).source == "Open MPI");
  CHECK(find(srun + mpirun + torchrun).source == "torchrun");
  const RankPlace f = find(srun + mpirun + torchrun, by_hand(0, 3, "here:77"));
  CHECK((f.source == "--rank" && f.rank == 0 && f.size == 3 && f.host == "here" && f.port == 77));
  CHECK(find(mpirun, by_hand(-1, 0, "here:77")).transport == RankPlace::Transport::tcp);
  CHECK(find(torchrun, by_hand(0, 1, "")).size == 1);
}

TEST_CASE("first_host gives the first host of a Slurm host list") {
  CHECK(first_host("node1") == "node1");
  CHECK(first_host("a,b") == "a");
  CHECK(first_host("n[3,5-7]") == "n3");
  CHECK(first_host("n[007-012],m[1-2]") == "n007");
  CHECK(first_host("login,n[1-2]") == "login");
}

TEST_CASE("wrong combinations of rank flags and variables are refused") {
  CHECK(test::mentions(refusal({}, by_hand(1, 0, "")), {"--rank", "--world-size", "together"}));
  CHECK(test::mentions(refusal({}, by_hand(-1, 2, "")), {"--rank", "--world-size", "together"}));
  CHECK(test::mentions(refusal({}, by_hand(2, 2, "a:1")), {"--rank 2 --world-size 2", "0 to 1"}));
  CHECK(test::mentions(refusal({}, by_hand(1, 2, "")), {"rank 1 of 2", "--rank", "rank 0", "--rendezvous HOST:PORT", "MASTER_ADDR", "MASTER_PORT"}));
  CHECK(test::mentions(refusal({}, by_hand(1, 2, "host")), {"--rendezvous host", "HOST:PORT", "0"}));
  CHECK(refusal({}, by_hand(-1, 0, "a:1")).starts_with("--rendezvous: this process is alone"));
  CHECK(refusal({{"RANK", "1"}}).starts_with("RANK is set and WORLD_SIZE is not"));
  CHECK(test::mentions(refusal({{"RANK", "x"}, {"WORLD_SIZE", "2"}}), {"RANK = 'x'", "number"}));
  CHECK(test::mentions(refusal({{"RANK", "2"}, {"WORLD_SIZE", "2"}}), {"RANK = 2", "WORLD_SIZE = 2", "0", "WORLD_SIZE", "1"}));
  CHECK(refusal(mpirun, {}, false).starts_with("mpirun started 2 ranks, but this build has no MPI"));
}

TEST_CASE("each rank gets the GPU with its local rank unless --device has a number; too few GPUs are refused") {
  const auto device = [](int local_rank, int gpus, const std::string& flag, bool have_nccl = true) {
    RankPlace p;
    p.size = 8, p.local_size = 4, p.local_rank = local_rank;
    RankOptions launch;
    launch.device = parse_device(flag), launch.any_gpu = flag == "cuda";
    try {
      return to_string(device_of_rank(p, launch, gpus, have_nccl));
    } catch (const ConfigError& e) {
      return std::string(e.what());
    }
  };
  CHECK(device(3, 4, "cuda") == "cuda:3");
  CHECK(device(3, 4, "cuda:1") == "cuda:1");
  CHECK(device(3, 1, "cuda") == "cuda:0");                 // the launcher makes one GPU visible to each rank
  CHECK(device(3, 0, "cpu", false) == "cpu");
  CHECK(device(3, 2, "cuda") == "--device cuda: this is rank 3 of 4 on its machine, counted from 0, but the machine has 2 GPUs: start at most 2 ranks there");
  CHECK(device(3, 4, "cuda", false).starts_with("--device cuda: 8 ranks were started, and this build is without NCCL"));
}

TEST_CASE("ranks find each other by a file although an old job's file exists; only_first may be nested") {
  for (const char* before : {"localhost:1", "a-machine-that-is-no-more.invalid:1"}) {
    const TempFolder folder;
    leave_at({folder.path(), "///"}, std::string(before) + " an-old-secret");
    std::vector<std::string> done(2);
    std::vector<std::thread> threads;
    for (int r = 1; r >= 0; --r)
      threads.emplace_back([&, r] {
        const RankPlace p = find({}, by_hand(r, 2, "file:" + folder.path().string()));
        CHECK(describe(p) == "rank " + std::to_string(r) + " of 2 (--rank), by TCP through an address in " + folder.path().string());
        const Ranks ranks(p, {.lost = [](const std::string&) { std::abort(); }, .stop_asked = stop_reason, .stop_heard = request_stop});
        std::string& own = done[static_cast<std::size_t>(r)];
        ranks.only_first([&] {
          own += "a";
          ranks.only_first([&] { own += "b"; });
        });
        own += std::to_string(static_cast<int>(sum_over_ranks(*ranks, {1.0 + r})[0]));
        ranks->finish();
      });
    for (std::thread& t : threads) t.join();
    CHECK(done == std::vector<std::string>{"ab3", "3"});
    CHECK(std::filesystem::is_empty(folder.path()));
  }
}

TEST_CASE("every rank takes the secret of the environment; an empty secret is refused") {
  const RankOptions by_address = by_hand(1, 2, "node:77"), by_folder = by_hand(1, 2, "file:/shared");
  CHECK(find({}, by_address).secret == "");
  CHECK(find({{"FLOWMAP_RENDEZVOUS_SECRET", "s"}}, by_address).secret == "s");
  CHECK(find({{"FLOWMAP_RENDEZVOUS_SECRET", "s"}}, by_folder).secret == "s");
  CHECK(find(torchrun + Values{{"FLOWMAP_RENDEZVOUS_SECRET", "s"}}).secret == "s");
  CHECK(refusal({{"FLOWMAP_RENDEZVOUS_SECRET", ""}}, by_address).starts_with("FLOWMAP_RENDEZVOUS_SECRET is set and empty"));
  CHECK(find({{"FLOWMAP_RENDEZVOUS_SECRET", ""}}).size == 1);
}

TEST_CASE("rank 0 listens at the given address; it expects other machines only if the launcher has ranks there") {
  CHECK_FALSE(find({}, by_hand(0, 2, "node:77")).from_other_machines);
  CHECK_FALSE(find({}, by_hand(0, 2, "127.0.0.1:77")).from_other_machines);
  CHECK(find(torchrun).from_other_machines);                                       // only 2 of the 4 ranks are on this machine
  Values here = torchrun;
  here["MASTER_ADDR"] = "localhost";
  CHECK_FALSE(find(here).from_other_machines);
  here = torchrun, here["LOCAL_WORLD_SIZE"] = "4";
  CHECK_FALSE(find(here).from_other_machines);
  const RankPlace six = find({}, by_hand(0, 2, "[::1]:77"));
  CHECK((six.host == "::1" && six.port == 77));
  for (const char* wrong : {"host:0", "host:65536", "host:77x", "host:", ":77", "host:-1", "host:99999999999"})
    CHECK(refusal({}, by_hand(1, 2, wrong)) == std::string("--rendezvous ") + wrong + ": takes HOST:PORT, where rank 0 listens, or file:FOLDER");
  here = torchrun, here["MASTER_PORT"] = "65536";
  CHECK(test::mentions(refusal(here), {"MASTER_PORT = 65536", "1 to 65535"}));
  here = torchrun, here["WORLD_SIZE"] = "2000000000";
  CHECK(test::mentions(refusal(here), {"WORLD_SIZE = 2000000000", "1000000 ranks", "possible"}));
}

TEST_CASE("ranks compare command, build, --out and config before they begin, the command first") {
  const StartFacts first{"flowmap_train fm", "1 (git a)", "runs/x", "node1", "/home/a/runs/x", "seed = 1\nfm.loop.steps = 2\n"};
  const auto difference = [&](const std::function<void(StartFacts&)>& change) {
    std::vector<std::string> texts(3);
    run_ranks(3, [&](Communicator& ranks) {
      StartFacts own = first;
      if (ranks.rank() == 2) change(own);
      try {
        check_same_command(ranks, own);
        ranks.barrier();
      } catch (const ConfigError& e) {
        texts[static_cast<std::size_t>(ranks.rank())] = e.what();
      }
    });
    CHECK((texts[1] == texts[0] && texts[2] == texts[0]));
    return texts[0];
  };
  const std::string begin = "rank 2 was not started as rank 0 was: ", end = "; give all ranks the same command, build and files";
  CHECK(difference([](StartFacts&) {}) == "");
  CHECK(difference([](StartFacts& f) { f.command = "flowmap_train mft", f.config = "seed = 9\n", f.out = "y"; }) == begin + "it runs flowmap_train mft, not flowmap_train fm" + end);
  CHECK(difference([](StartFacts& f) { f.build = "1 (git b)"; }) == begin + "it is build 1 (git b), not 1 (git a)" + end);
  CHECK(difference([](StartFacts& f) { f.out = "runs/y"; }) == begin + "its --out is runs/y, not runs/x" + end);
  CHECK(difference([](StartFacts& f) { f.folder = "/home/b/runs/x"; }) == begin + "its --out is /home/b/runs/x, not /home/a/runs/x" + end);
  CHECK(difference([](StartFacts& f) { f.folder = "/mnt/a/runs/x", f.host = "node2"; }) == "");       // another machine may have another name for the same folder
  CHECK(difference([](StartFacts& f) { f.config = "seed = 2\x1b[31m\nfm.loop.steps = 2\n"; }) == begin + "seed was 1, is 2?[31m" + end);
}

TEST_CASE("a stop request of another rank stops this rank too; an own signal after it still counts as the first") {
  install_signal_handlers();
  CHECK(stop_reason() == "");
  request_stop("--max-time 1h");
  request_stop("SIGINT");
  CHECK(stop_requested());
  CHECK(stop_reason() == "--max-time 1h");
  raise(SIGTERM);                                          // would end this process if the earlier stop request counted as a first signal
  CHECK(stop_reason() == "SIGTERM");
  CHECK_THROWS_AS(throw_if_stop_requested(), StopRequested);
  install_signal_handlers();
  CHECK_FALSE(stop_requested());
  for (int signal : {SIGINT, SIGTERM, SIGUSR1, SIGUSR2}) std::signal(signal, SIG_DFL);
}

TEST_CASE("only the owner can read the file of rank 0's address; a file that other users can access is rejected") {
  const TempFolder folder;
  const FileRendezvous file{folder.path(), "job"};
  leave_at(file, "node:1 secret");
  namespace fs = std::filesystem;
  CHECK((fs::status(file.file()).permissions() & fs::perms::all) == (fs::perms::owner_read | fs::perms::owner_write));
  std::string why;
  CHECK(look_at(file, &why) == "node:1 secret");
  for (fs::perms others : {fs::perms::group_read, fs::perms::others_read, fs::perms::group_write, fs::perms::others_write}) {
    fs::permissions(file.file(), fs::perms::owner_read | fs::perms::owner_write | others);
    CHECK(look_at(file, &why) == "");
    CHECK(why == file.file().string() + " is rejected: users other than its owner may read or write it");
  }
  leave_at(file, "node:2 secret");                         // replaces the rejected file
  CHECK(look_at(file, &why) == "node:2 secret");
  if (geteuid() == 0) {
    REQUIRE(chown(file.file().c_str(), 12345, 12345) == 0);
    CHECK(look_at(file, &why) == "");
    CHECK(why == file.file().string() + " is rejected: it belongs to user 12345, but this process runs as user 0");
  }
  fs::remove(file.file());
  leave_at({folder.path(), "elsewhere"}, "node:3 secret");
  fs::create_symlink(FileRendezvous{folder.path(), "elsewhere"}.file(), file.file());
  CHECK(look_at(file, &why) == "");
  fs::remove(file.file());
  REQUIRE(mkfifo(file.file().c_str(), 0600) == 0);         // a pipe that no process opens for writing
  CHECK(look_at(file, &why) == "");
  CHECK(why == file.file().string() + " is rejected: it is not a regular file");
}

TEST_CASE("an incomplete or damaged file of rank 0's address is rejected") {
  const TempFolder folder;
  const FileRendezvous file{folder.path(), "12/0//"};
  std::string why;
  CHECK((look_at(file, &why).empty() && why.ends_with("flowmap-rendezvous-12-0-- does not exist")));
  const std::string id(128, 'x');
  leave_at(file, id);
  CHECK(look_at(file, &why) == id);
  CHECK(look_at({folder.path(), "13/0//"}, &why).empty());
  std::string bytes = read_file(file.file());
  const auto left = [&](const std::string& text) {
    leave_at(file, "");
    std::ofstream(file.file(), std::ios::binary | std::ios::trunc) << text;
    CHECK(look_at(file, &why).empty());
    return why;
  };
  CHECK(left(bytes.substr(0, 100)).ends_with("has 84 bytes of 128"));
  CHECK(left(bytes.substr(0, 5)).ends_with("is not a rendezvous file of this program"));
  bytes[50] = 'y';
  CHECK(left(bytes).ends_with("has a wrong checksum"));
  clear(file);
  CHECK(std::filesystem::is_empty(folder.path()));
}
