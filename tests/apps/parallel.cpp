// configs/tiny_shapes.toml on several ranks: the same losses, data and checkpoints as on one; sharded optimizer state; signals to one rank; killed
// ranks. Ranks find each other by TCP, or with FM_TEST_LAUNCHER=mpirun by MPI.
#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <fstream>
#include <future>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>

#include "apps/cli/program.h"
#include "nn/training/parallel.h"
#include "tensor/collectives/file_rendezvous.h"
#include "tensor/collectives/hello.h"
#include "tensor/collectives/socket.h"
#include "tensor/collectives/threads.h"
#include "tests/support/child.h"
#include "tests/support/near.h"

using namespace fm;
using namespace fm::test;
namespace fs = std::filesystem;

namespace {

const std::string config_file = FM_TESTS_FOLDER "/../configs/tiny_shapes.toml";

bool by_mpi() {
  const char* launcher = std::getenv("FM_TEST_LAUNCHER");
  return launcher && std::string(launcher) == "mpirun";
}

fs::path program() { return own_folder().parent_path() / "apps" / "flowmap_train"; }

std::vector<pid_t> children_of(pid_t parent) {
  std::ifstream in("/proc/" + std::to_string(parent) + "/task/" + std::to_string(parent) + "/children");
  std::vector<pid_t> pids;
  for (pid_t p; in >> p;) pids.push_back(p);
  return pids;
}

// Called with the processes that were started, in the order of their ranks.
using During = std::function<void(const std::vector<pid_t>&)>;

struct Together {
  std::vector<Result> ranks;             // with mpirun: one, of mpirun itself
  double seconds;                        // seconds since the end of `during`
  std::string err() const {
    std::string all;
    for (const Result& r : ranks) all += r.err;
    return all;
  }
};

Together run_by_mpi(int n, const Arguments& arguments, const During& during, std::chrono::steady_clock::time_point& since) {
  const Arguments all = Arguments{"--allow-run-as-root", "--oversubscribe", "-np", std::to_string(n), program().string()} + arguments;
  const Result r = run_program_file(FM_MPIRUN, all, [&](pid_t mpirun) {
    if (during) {
      wait_until([&] { return static_cast<int>(children_of(mpirun).size()) >= n; });
      std::vector<pid_t> pids = children_of(mpirun);
      std::sort(pids.begin(), pids.end());                         // the launcher starts them in the order of the ranks
      during(pids);
    }
    since = std::chrono::steady_clock::now();
  });
  return {{r}, 0};
}

// Additional arguments of one rank, and its stage and folder if they differ from those of the others.
struct Other {
  Arguments more = {};
  std::string stage = {};
  fs::path out = {};
};

// Ranks find each other by a folder, because a port that is free now may be taken a moment later.
Together run_by_tcp(int n, Arguments arguments, const During& during, std::chrono::steady_clock::time_point& since, const Other& last) {
  const TempFolder meeting;
  if (n > 1) arguments = arguments + Arguments{"--world-size", std::to_string(n), "--rendezvous", "file:" + meeting.path().string()};
  Together t{std::vector<Result>(static_cast<std::size_t>(n)), 0};
  std::vector<std::promise<pid_t>> started(static_cast<std::size_t>(n));
  std::vector<std::thread> threads;
  for (int r = 0; r < n; ++r)
    threads.emplace_back([&, r] {
      const auto i = static_cast<std::size_t>(r);
      Arguments own = arguments;
      if (n > 1) own = own + Arguments{"--rank", std::to_string(r)};
      if (n > 1 && r == n - 1) own = own + last.more;
      if (n > 1 && r == n - 1 && !last.stage.empty()) own[0] = last.stage;
      if (n > 1 && r == n - 1 && !last.out.empty()) *(std::find(own.begin(), own.end(), "--out") + 1) = last.out.string();
      t.ranks[i] = run_program_file(program(), own, [&](pid_t p) { started[i].set_value(p); });
    });
  std::vector<pid_t> pids;
  for (auto& s : started) pids.push_back(s.get_future().get());
  if (during) during(pids);
  since = std::chrono::steady_clock::now();
  for (std::thread& thread : threads) thread.join();
  return t;
}

Together train(int n, const std::string& stage, const fs::path& out, const Arguments& more = {}, const During& during = {}, const Other& last = {}) {
  const Arguments arguments = Arguments{stage, "--config", config_file, "--threads", "1", "--out", out.string()} + more;
  auto since = std::chrono::steady_clock::now();
  Together t = by_mpi() && n > 1 ? run_by_mpi(n, arguments, during, since) : run_by_tcp(n, arguments, during, since, last);
  t.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - since).count();
  return t;
}

void succeeds(const Together& t) {
  for (const Result& r : t.ranks) REQUIRE_MESSAGE(r.code == 0, t.err());
}

// A run of the stages up to cmt, made once by one rank.
const fs::path& chain() {
  static const TempFolder folder;
  static const fs::path run = [] {
    for (const char* stage : {"encoder", "fm", "cmt"}) succeeds(train(1, stage, folder / "run", {"--sample-every", "-1"}));
    return folder / "run";
  }();
  return run;
}

// Makes a new run with the stages that `stage` learns from.
void begin(const fs::path& out, const std::string& stage) {
  fs::create_directories(out);
  fs::copy(chain() / "stats.safetensors", out);
  for (const std::string& before : stage == "fm" ? std::vector<std::string>{"encoder"} : std::vector<std::string>{"encoder", "fm", "cmt"})
    fs::copy(chain() / before, out / before, fs::copy_options::recursive | fs::copy_options::copy_symlinks);
}

// A column of metrics.csv as a map from step to value.
std::map<int, double> column(const fs::path& csv, const std::string& name) {
  std::stringstream lines(read_file(csv));
  std::map<int, double> values;
  std::size_t at = 0;
  for (std::string line; std::getline(lines, line);) {
    std::vector<std::string> cells;
    std::stringstream in(line);
    for (std::string cell; std::getline(in, cell, ',');) cells.push_back(cell);
    if (cells[0] == "step") at = static_cast<std::size_t>(std::find(cells.begin(), cells.end(), name) - cells.begin());
    else if (at < cells.size() && !cells[at].empty()) values[std::stoi(cells[0])] = std::stod(cells[at]);
  }
  return values;
}

double largest_difference(const std::map<int, double>& a, const std::map<int, double>& b) {
  if (a.size() != b.size()) return HUGE_VAL;
  double worst = 0;
  for (const auto& [step, value] : a) worst = std::max(worst, b.contains(step) ? std::fabs(value - b.at(step)) / std::fabs(value) : HUGE_VAL);
  return worst;
}

// 12 samples can be divided among 1, 2, 3 and 4 ranks. The learning rate is typical of large models.
const Arguments fifty{"--steps", "50", "--batch", "12", "--lr", "1e-4", "--log-every", "1", "--ckpt-every", "10", "--sample-every", "-1"};

std::map<std::string, std::string> weights_of(const fs::path& stage) {
  std::map<std::string, std::string> files;
  for (const char* part : {"model", "ema", "optimizer"}) files[part] = read_file(stage / "checkpoints" / "latest" / (std::string(part) + ".safetensors"));
  return files;
}

// A new seed each time, printed if a check fails. FM_TEST_SEED repeats a seed.
unsigned test_seed() {
  const char* given = std::getenv("FM_TEST_SEED");
  return given ? static_cast<unsigned>(std::stoul(given)) : std::random_device()();
}

void at_checkpoint(const fs::path& stage, int step) {
  CHECK(wait_until([&] { return fs::exists(stage / "checkpoints" / step_name(step)); }));
}

}  // namespace

TEST_CASE("ranks split the rows of a batch in order without overlap, into micro-batches that are whole if the sizes allow it") {
  using Rows = std::vector<RowRange>;
  CHECK(rows_of_rank(12, 0, 0, 1) == Rows{{0, 12}});
  CHECK(rows_of_rank(12, 5, 0, 1) == Rows{{0, 5}, {5, 5}, {10, 2}});
  CHECK(rows_of_rank(12, 3, 1, 2) == Rows{{6, 3}, {9, 3}});
  CHECK(rows_of_rank(10, 3, 1, 2) == Rows{{6, 3}, {9, 1}});
  CHECK(rows_of_rank(12, 6, 2, 4) == Rows{{6, 3}});
  CHECK(rows_of_rank(7, 0, 1, 3) == Rows{{2, 2}});
  CHECK_THROWS_WITH_AS(rows_of_rank(3, 0, 0, 4), doctest::Contains("batch 3 is smaller than the number of ranks, 4: raise --batch"), ConfigError);
  for (int ranks = 1; ranks < 9; ++ranks)
    for (std::int64_t batch : {8, 12, 13, 64})
      for (std::int64_t micro : {0, 1, 3, 4, 100}) {
        std::int64_t at = 0;
        for (int r = 0; r < ranks; ++r)
          for (const RowRange& rows : rows_of_rank(batch, micro, r, ranks)) {
            CHECK(rows.first == at);
            CHECK(rows.count > 0);
            if (micro > 0) CHECK(rows.count <= micro);
            at += rows.count;
          }
        CHECK(at == batch);
      }
}

TEST_CASE("metrics combined over ranks equal those of the whole batch, even if a rank lacks a metric") {
  run_ranks(3, [](Communicator& ranks) {
    std::vector<StepMetric> own;
    add_metrics(own, {{"loss", 1.0 + ranks.rank(), 1}}, 1.0 / 3);
    if (ranks.rank() == 1) add_metrics(own, {{"rare", 7, 0.5}}, 1.0 / 3);
    const auto all = metrics_of_all(ranks, own);
    REQUIRE(all.size() == 2);
    CHECK(near(all[0].value.value(), 2, 1e-14));
    CHECK(all[1].name == "rare");
    CHECK(near(all[1].value.value(), 7, 1e-14));
  });
}

TEST_CASE("50 steps on 2 or 4 ranks have the losses of one rank, for flow matching and for MeanFlow with exact derivatives") {
  for (const std::string stage : {"fm", "mfd"}) {
    std::map<int, double> losses, norms;
    for (int n : {1, 2, 4}) {
      CAPTURE(stage);
      CAPTURE(n);
      const TempFolder folder;
      begin(folder / "run", stage);
      const Together t = train(n, stage, folder / "run", fifty);
      succeeds(t);
      const auto csv = folder / "run" / stage / "metrics.csv";
      if (n == 1) losses = column(csv, "loss"), norms = column(csv, "grad_norm");
      CHECK(losses.size() == 50);
      const double worst = largest_difference(losses, column(csv, "loss"));
      MESSAGE(stage << " on " << n << " ranks: losses within " << worst << ", gradient norms within " << largest_difference(norms, column(csv, "grad_norm")));
      CHECK(worst < 1e-6);
    }
  }
}

TEST_CASE("every kind of stage on two ranks with micro-batches has the loss of one rank") {
  const TempFolder folder;
  std::map<std::string, double> last;
  for (const std::string stage : {"judge", "encoder", "decoder", "fm", "cmt", "mfd", "mft"}) {
    CAPTURE(stage);
    fs::remove_all(folder / "ranks2");                                                                  // both runs start from the stages of one rank
    if (fs::exists(folder / "ranks1")) fs::copy(folder / "ranks1", folder / "ranks2", fs::copy_options::recursive | fs::copy_options::copy_symlinks);
    for (int n : {1, 2}) {
      const auto out = folder / ("ranks" + std::to_string(n));
      const Arguments shard = n == 1 ? Arguments{} : Arguments{"--shard-optimizer"};                  // with --shard-optimizer sample images need the averages of all ranks
      succeeds(train(n, stage, out, shard + Arguments{"--steps", "4", "--batch", "8", "--micro-batch", "2", "--log-every", "4", "--lr", "1e-4"}));
      const double loss = column(out / stage / "metrics.csv", "loss").at(4);
      // After 4 steps cmt and mfd have hardly moved. Their losses near 1e-7 are squares of f32 differences, which rounding changes from the 4th digit on.
      const double rounding = stage == "cmt" ? 5e-4 : stage == "mfd" ? 5e-5 : 5e-7;
      if (n == 1) last[stage] = loss;
      else CHECK(near(loss, last[stage], rounding));
      if (stage != "judge" && stage != "encoder") CHECK(fs::exists(out / stage / "samples" / "step-00000004.png"));
    }
  }
}

TEST_CASE("a sharded optimizer gives the same bits as a whole one; checkpoints load with any number of ranks") {
  const TempFolder folder;
  for (const std::string name : {"whole", "parts"}) begin(folder / name, "mfd");
  const Arguments shard{"--shard-optimizer"}, half{"--steps", "30"};
  succeeds(train(3, "mfd", folder / "whole", fifty));
  succeeds(train(3, "mfd", folder / "parts", fifty + half + shard));
  fs::copy(folder / "parts", folder / "others", fs::copy_options::recursive | fs::copy_options::copy_symlinks);
  succeeds(train(3, "mfd", folder / "parts", fifty + shard));
  CHECK(weights_of(folder / "whole" / "mfd") == weights_of(folder / "parts" / "mfd"));
  const auto losses = column(folder / "whole" / "mfd" / "metrics.csv", "loss");
  CHECK(losses == column(folder / "parts" / "mfd" / "metrics.csv", "loss"));
  for (int n : {1, 2}) {
    const fs::path out = folder / ("on" + std::to_string(n));
    fs::copy(folder / "others", out, fs::copy_options::recursive | fs::copy_options::copy_symlinks);
    succeeds(train(n, "mfd", out, fifty + shard));
    CHECK(largest_difference(losses, column(out / "mfd" / "metrics.csv", "loss")) < 1e-6);
  }
}

TEST_CASE("if a rank is killed, the others report it and exit within 30 s; 1, 2 or 3 ranks resume to the same losses") {
  const TempFolder folder;
  begin(folder / "whole", "fm");
  begin(folder / "run", "fm");
  const Arguments long_run = fifty + Arguments{"--steps", "3000", "--log-every", "100", "--ckpt-every", "100"};
  const unsigned seed = test_seed();
  CAPTURE(seed);
  std::mt19937 random(seed);
  const int victim = static_cast<int>(random() % 3);
  const Together t = train(3, "fm", folder / "run", long_run, [&](const std::vector<pid_t>& pids) {
    at_checkpoint(folder / "run" / "fm", 100);
    std::this_thread::sleep_for(std::chrono::milliseconds(random() % 200));
    REQUIRE(pids.size() == 3);
    kill(pids[static_cast<std::size_t>(victim)], SIGKILL);
  });
  CHECK(t.seconds < 30);
  if (by_mpi()) {
    CHECK_MESSAGE(t.ranks[0].code == 137, t.err());               // mpirun's exit code, 128 + SIGKILL; mpirun ends the other ranks
  } else {
    for (int r = 0; r < 3; ++r) {
      const Result& result = t.ranks[static_cast<std::size_t>(r)];
      if (r == victim) continue;
      CHECK_MESSAGE(result.code == exit_code::rank_lost, result.err);
      CHECK_MESSAGE(has(result.err, "rank " + std::to_string(victim) + " was lost: its process ended; the last checkpoint is "), result.err);
    }
  }
  const int reached = static_cast<int>(CheckpointFolder(folder / "run" / "fm" / "checkpoints", 1, 0).newest_first().at(0));
  CHECK(reached >= 100);
  const Arguments rest = fifty + Arguments{"--steps", std::to_string(reached + 50), "--log-every", "10", "--ckpt-every", "100"};
  succeeds(train(1, "fm", folder / "whole", rest));
  auto wanted = column(folder / "whole" / "fm" / "metrics.csv", "loss");
  for (int n : {1, 2, 3}) {
    const fs::path out = folder / ("on" + std::to_string(n));
    fs::copy(folder / "run", out, fs::copy_options::recursive | fs::copy_options::copy_symlinks);
    succeeds(train(n, "fm", out, rest));
    const auto found = column(out / "fm" / "metrics.csv", "loss");
    double worst = 0;
    for (int step = reached + 10; step <= reached + 50; step += 10) {
      REQUIRE(found.contains(step));
      worst = std::max(worst, std::fabs(found.at(step) - wanted.at(step)) / wanted.at(step));
    }
    MESSAGE("rank " << victim << " killed; from step " << reached << " on " << n << " ranks: losses within " << worst);
    CHECK(worst < 1e-6);                                           // a bound that holds after hundreds of steps
  }
}

TEST_CASE("SIGTERM to one rank stops all ranks at the same step with a checkpoint") {
  const TempFolder folder;
  begin(folder / "run", "fm");
  const Together t = train(2, "fm", folder / "run", fifty + Arguments{"--steps", "100000", "--log-every", "1000", "--ckpt-every", "500"},
                           [&](const std::vector<pid_t>& pids) {
                             at_checkpoint(folder / "run" / "fm", 500);
                             kill(pids.at(1), SIGTERM);
                           });
  for (const Result& r : t.ranks) CHECK_MESSAGE(r.code == exit_code::stopped_early, r.err);
  CHECK_MESSAGE(has(t.err(), "fm: SIGTERM at step "), t.err());
  CHECK(t.seconds < 30);
}

TEST_CASE("if training diverges, every rank exits with the code for divergence, not for a lost rank") {
  const TempFolder folder;
  begin(folder / "run", "fm");
  const Together t = train(3, "fm", folder / "run", fifty + Arguments{"--lr", "1e30"});
  for (const Result& r : t.ranks) CHECK_MESSAGE(r.code == exit_code::diverged, r.err);
}

TEST_CASE("if training diverges in the traced step, every rank exits with the code for divergence") {
  const TempFolder folder;
  begin(folder / "run", "fm");
  const Arguments second_is_drawn{"--steps", "2", "--batch", "12", "--lr", "1e30", "--trace", (folder / "trace.json").string()};
  const Together t = train(3, "fm", folder / "run", second_is_drawn);
  for (const Result& r : t.ranks) CHECK_MESSAGE(r.code == exit_code::diverged, r.err);
}

TEST_CASE("the trace of a step shows gradients being sent during the backward pass") {
  const TempFolder folder;
  const Arguments wide{"--set", "dit.width=192", "--set", "dit.head_width=192", "--set", "dit.depth=4"};
  begin(folder / "run", "fm");
  succeeds(train(2, "fm", folder / "run", wide + Arguments{"--steps", "4", "--batch", "64", "--sample-every", "-1", "--trace", (folder / "trace.json").string()}));
  const auto events = nlohmann::json::parse(read_file(folder / "trace.json")).at("traceEvents");
  double backward_ends = 0, first_sum_begins = HUGE_VAL, first_sum_ends = HUGE_VAL;
  int sums = 0;
  for (const auto& e : events) {
    if (e.at("ph") != "X") continue;
    const double begin = e.at("ts"), end = begin + e.at("dur").get<double>();
    if (e.at("name") == "backward") backward_ends = end;
    if (!e.at("name").get<std::string>().starts_with("all_reduce")) continue;
    ++sums;
    first_sum_begins = std::min(first_sum_begins, begin), first_sum_ends = std::min(first_sum_ends, end);
  }
  CHECK(sums > 3);
  CHECK(first_sum_begins < backward_ends);
  MESSAGE(sums << " sums; the first from " << first_sum_begins << " to " << first_sum_ends << " us, backward until " << backward_ends);
}

TEST_CASE("a batch smaller than the number of ranks is refused on every rank") {
  const TempFolder folder;
  begin(folder / "run", "fm");
  const Together few = train(4, "fm", folder / "run", fifty + Arguments{"--batch", "3"});
  CHECK_MESSAGE(has(few.err(), "batch 3 is smaller than the number of ranks, 4"), few.err());
  for (const Result& r : few.ranks) CHECK(r.code == exit_code::usage);
}

TEST_CASE("a rank started with another command, build or file is reported by both ranks before training") {
  if (by_mpi()) return;                                              // mpirun gives all ranks the same command
  const TempFolder folder;
  begin(folder / "run", "fm");
  const auto said = [&](const Other& last, const std::string& text) {
    const Together t = train(2, "fm", folder / "run", fifty, {}, last);
    for (const Result& r : t.ranks) {
      CHECK(r.code == exit_code::usage);
      CHECK_MESSAGE(has(r.err, "rank 1 was not started as rank 0 was: " + text), r.err);
      CHECK_MESSAGE(has(r.err, "; give all ranks the same command, build and files"), r.err);
    }
    CHECK_FALSE(fs::exists(folder / "run" / "fm"));
  };
  said({.more = {"--seed", "5"}}, "seed was 1, is 5");
  said({.more = {"--lr", "3e-4"}}, "fm.loop.rate.peak was 0.0001, is 0.0003");
  said({.stage = "decoder"}, "it runs flowmap_train decoder, not flowmap_train fm");
  said({.out = folder / "elsewhere"}, "its --out is " + (folder / "elsewhere").string() + ", not " + (folder / "run").string());
}

namespace {

Arguments one_of_two(int rank, const fs::path& out, const std::string& rendezvous, const Arguments& more = {}) {
  return Arguments{"fm", "--config", config_file, "--threads", "1", "--out", out.string(), "--world-size", "2", "--rank", std::to_string(rank), "--rendezvous", rendezvous} + more;
}

}  // namespace

TEST_CASE("missing ranks are listed, with exit code 76; a stop while ranks connect gives 75 and no run folder") {
  if (by_mpi()) return;
  const TempFolder folder;
  const std::string meeting = "file:" + folder.path().string();
  const Result alone = run_program_file(program(), one_of_two(0, folder / "run", meeting, {"--rendezvous-timeout", "0.3s"}));
  CHECK_MESSAGE(alone.code == exit_code::rank_lost, alone.err);
  CHECK_MESSAGE(has(alone.err, "rank 1 of 2 did not connect to "), alone.err);
  CHECK_FALSE(fs::exists(FileRendezvous{folder.path(), "///"}.file()));                              // the file with the address has been removed

  for (int signal : {SIGTERM, SIGINT}) {
    const Result stopped = run_program_file(program(), one_of_two(0, folder / "run", meeting), [&](pid_t child) {
      CHECK(wait_until([&] { return fs::exists(FileRendezvous{folder.path(), "///"}.file()); }));    // rank 0 listens
      kill(child, signal);
    });
    CHECK_MESSAGE(stopped.code == exit_code::stopped_early, stopped.err);
    CHECK_MESSAGE(has(stopped.err, "before all ranks had connected; no work was begun"), stopped.err);
  }
  CHECK_FALSE(fs::exists(folder / "run"));

  // Stops rank 1 while the test takes the place of rank 0, reads rank 1's hello and lets it wait.
  const auto listeners = listen_at("127.0.0.1", 0, {steady_seconds() + 60});
  Socket rank_1;
  const Result one = run_program_file(program(), one_of_two(1, folder / "run", "127.0.0.1:" + std::to_string(port_of(listeners.front()))), [&](pid_t child) {
    std::string hello;
    CHECK(wait_until([&] { return (rank_1 = accept_now(listeners.front())).open(); }));
    CHECK(wait_until([&] { return receive_some(rank_1, hello, hello_bytes - hello.size()) == Io::done; }));
    const std::string challenge = encode_challenge("");
    send_all(rank_1, challenge.data(), challenge.size(), {steady_seconds() + 60});
    kill(child, SIGTERM);
  });
  CHECK_MESSAGE(one.code == exit_code::stopped_early, one.err);
}

TEST_CASE("a web server at the address of rank 0 is reported with exit code 2 and little memory") {
  if (by_mpi()) return;
  const TempFolder folder;
  const auto listeners = listen_at("127.0.0.1", 0, {steady_seconds() + 60});
  const std::string at = "127.0.0.1:" + std::to_string(port_of(listeners.front())), bytes = "HTTP/1.1 400 Bad Request\r\n\r\n";
  Socket s;
  const Result r = run_program_file(program(), one_of_two(1, folder / "run", at), [&](pid_t) {
    CHECK(wait_until([&] { return (s = accept_now(listeners.front())).open(); }));
    send_all(s, bytes.data(), bytes.size(), {steady_seconds() + 60});
  });
  CHECK_MESSAGE(r.code == exit_code::usage, r.err);
  CHECK_MESSAGE(has(r.err, "the program at " + at + " is not rank 0 of flowmap: its first bytes are \"HTTP/1.1 400 Bad Request\""), r.err);
}
