// Who a process is: every launcher's variables, which goes before which, and what is half said.
#include "apps/support/ranks.h"

#include <doctest/doctest.h>

#include <map>

using namespace fm;

namespace {

using Values = std::map<std::string, std::string>;

RankPlace find(const Values& values, Launch launch = {}, bool have_mpi = true) {
  return find_ranks(launch, [&](const char* name) { return values.contains(name) ? values.at(name).c_str() : nullptr; }, have_mpi);
}

std::string refusal(const Values& values, Launch launch = {}, bool have_mpi = true) {
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

Launch by_hand(int rank, int size, const std::string& rendezvous) {
  Launch launch;
  launch.rank = rank, launch.world_size = size, launch.rendezvous = rendezvous;
  return launch;
}

const Values torchrun{{"RANK", "3"}, {"WORLD_SIZE", "4"}, {"LOCAL_RANK", "1"}, {"LOCAL_WORLD_SIZE", "2"}, {"MASTER_ADDR", "node1"}, {"MASTER_PORT", "29500"}};
const Values mpirun{{"OMPI_COMM_WORLD_RANK", "1"}, {"OMPI_COMM_WORLD_SIZE", "2"}, {"OMPI_COMM_WORLD_LOCAL_RANK", "1"}, {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}};
const Values srun{{"SLURM_PROCID", "5"}, {"SLURM_NTASKS", "8"}, {"SLURM_LOCALID", "1"}, {"SLURM_STEP_ID", "0"}, {"SLURM_JOB_ID", "1234567"}, {"SLURM_JOB_NODELIST", "gpu[07-09,12],cpu1"}};

}  // namespace

TEST_CASE("alone, and a Slurm shell that srun did not start") {
  CHECK(find({}).size == 1);
  CHECK(find({}).source == "alone");
  Values shell = srun;
  shell.erase("SLURM_STEP_ID");
  const RankPlace p = find(shell);
  CHECK(p.size == 1);
  CHECK(p.warning == "a Slurm job of 8 tasks, but this process was not started by srun: it runs alone");
  CHECK(find(srun + Values{{"SLURM_JOB_NAME", "bash"}}).size == 1);
}

TEST_CASE("each launcher, and flags before torchrun before MPI before Slurm") {
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

TEST_CASE("lists of hosts") {
  CHECK(first_host("node1") == "node1");
  CHECK(first_host("a,b") == "a");
  CHECK(first_host("n[3,5-7]") == "n3");
  CHECK(first_host("n[007-012],m[1-2]") == "n007");
  CHECK(first_host("login,n[1-2]") == "login");
}

TEST_CASE("wrong combinations are told in one line") {
  CHECK(refusal({}, by_hand(1, 0, "")) == "--rank and --world-size belong together: give both or none");
  CHECK(refusal({}, by_hand(-1, 2, "")) == "--rank and --world-size belong together: give both or none");
  CHECK(refusal({}, by_hand(2, 2, "a:1")) == "--rank 2 --world-size 2: ranks are 0 to 1");
  CHECK(refusal({}, by_hand(1, 2, "")) == "rank 1 of 2 (--rank) does not know where rank 0 is: give --rendezvous HOST:PORT, or set MASTER_ADDR and MASTER_PORT");
  CHECK(refusal({}, by_hand(1, 2, "host")) == "--rendezvous host: takes HOST:PORT, where rank 0 listens");
  CHECK(refusal({}, by_hand(-1, 0, "a:1")).starts_with("--rendezvous: this process is alone"));
  CHECK(refusal({{"RANK", "1"}}).starts_with("RANK is set and WORLD_SIZE is not"));
  CHECK(refusal({{"RANK", "x"}, {"WORLD_SIZE", "2"}}) == "RANK = 'x' is not a number");
  CHECK(refusal({{"RANK", "2"}, {"WORLD_SIZE", "2"}}) == "RANK = 2 and WORLD_SIZE = 2: ranks are 0 to WORLD_SIZE - 1");
  CHECK(refusal(mpirun, {}, false).starts_with("mpirun started 2 ranks, but this build has no MPI"));
}
