// The command line, exit codes, signals and resume, tested by running tests/apps/demo_program as a user would.
#include "apps/cli/program.h"

#include <doctest/doctest.h>

#include "apps/cli/console.h"
#include "tensor/io/mapped_file.h"
#include "tests/support/child.h"
#include "tests/support/sanitized.h"

using namespace fm;
using namespace fm::test;
namespace fs = std::filesystem;

namespace {

Result run(const Arguments& arguments, const std::function<void(pid_t)>& during = {}) {
  return run_program_file(own_folder() / "demo_program", arguments, during);
}

// The resolved config that the program prints.
std::string resolved(Arguments arguments) {
  arguments.push_back("--dry-run");
  const Result result = run(arguments);
  CHECK_MESSAGE(result.code == 0, result.err);
  return result.out;
}

void refused(const Arguments& arguments, const std::string& message) {
  const Result result = run(arguments);
  CHECK(result.code == 2);
  CHECK_MESSAGE(has(result.err, message), result.err);
  CHECK(lines(result.err) == 1);
}

}  // namespace

TEST_CASE("flags override the config file, and the config file the defaults; the last flag wins") {
  TempFolder folder;
  const std::string file = (folder / "a.toml").string();
  write_atomically(file, "lr = 0.25\n[model]\ndim = 32\n");
  CHECK(has(resolved({"train"}), "lr = 0.0001 "));
  const std::string from_file = resolved({"train", "--config", file});
  CHECK(has(from_file, "lr = 0.25 "));
  CHECK(has(from_file, "dim = 32 "));
  CHECK(has(from_file, "steps = 2000 "));
  const std::string all = resolved({"train", "--lr", "1", "--config", file, "--model.dim", "64"});
  CHECK(has(all, "lr = 1.0 "));
  CHECK(has(all, "dim = 64 "));
  CHECK(has(resolved({"train", "--lr", "1", "--set", "lr=2"}), "lr = 2.0 "));
  CHECK(has(resolved({"train", "--set", "lr=2", "--lr", "1"}), "lr = 1.0 "));
  CHECK(has(resolved({"train", "--lr=3", "--lr=4"}), "lr = 4.0 "));
}

TEST_CASE("flags accept both spellings, short names, lists, booleans and suffixes") {
  const std::string text = resolved({"--log-every", "10k", "--sample_every=1Ki", "--dim", "7", "--fd-step=0.01", "--derivative", "fd",
                                     "--log", "csv,tb", "--set", "model.objective.fd-step=0.02", "--deterministic=false"});
  CHECK(has(text, "log_every = 10000 "));
  CHECK(has(text, "sample_every = 1024 "));
  CHECK(has(text, "dim = 7 "));
  CHECK(has(text, "fd_step = 0.02 "));
  CHECK(has(text, "derivative = \"fd\" "));
  CHECK(has(text, "log = [\"csv\", \"tb\"] "));
  CHECK(has(text, "deterministic = false "));
  CHECK(has(resolved({"--log=[csv,jsonl]"}), "log = [\"csv\", \"jsonl\"] "));
  CHECK(has(resolved({"--no-deterministic"}), "deterministic = false "));
  CHECK(has(resolved({"--no-deterministic", "--deterministic", "--steps", "5"}), "deterministic = true "));
  CHECK(has(resolved({"--deterministic", "false"}), "deterministic = false "));
}

TEST_CASE("wrong flags, values and files are reported in one line, with exit code 2") {
  TempFolder folder;
  write_atomically(folder / "a.toml", "\nlearning_rate = 1\n");
  write_atomically(folder / "file", "");
  refused({"train", "--stpes", "3"}, "unknown flag --stpes; did you mean --steps?");
  refused({"train", "--stpes=3"}, "unknown flag --stpes; did you mean --steps?");
  refused({"train", "--set", "stpes=3"}, "--set: unknown key 'stpes'; did you mean 'steps'?");
  refused({"train", "--set", "steps"}, "--set steps: takes key=value");
  refused({"train", "--steps", "many"}, "--steps: steps takes an integer, not 'many'");
  refused({"train", "--lr", "-1"}, "lr = -1 is out of range (> 0)");
  refused({"train", "--steps"}, "--steps");
  refused({"train", "--config", (folder / "a.toml").string()}, "a.toml:2: unknown key 'learning_rate'");
  refused({"train", "--config", (folder / "none.toml").string()}, "--config: cannot read");
  if (cuda_device_count() == 0) refused({"train", "--device", "cuda:0"}, "--device cuda:0: no CUDA device: ");
  refused({"train", "--max-time", "90"}, "write it like 1h50m");
  refused({"train", "surplus"}, "unexpected argument 'surplus'");
  refused({"trian", "--steps", "3"}, "unknown command 'trian'; did you mean 'train'?");
  refused({"fail", "--resume", "auto"}, "unknown flag --resume");
  refused({"train", "--fresh", "--resume", "x"}, "contradict");
  refused({"train"}, "--out DIR is missing");
  refused({"train", "--out", (folder / "file/run").string()}, "cannot create the folder: Not a directory");
}

TEST_CASE("--help, --version and the usage message have the expected contents") {
  const Result usage = run({});
  CHECK(usage.code == 2);
  CHECK(has(usage.err, "quickstart: demo --steps 3 --out runs/tiny"));
  const Result general = run({"--help"});
  CHECK(general.code == 0);
  for (const char* part : {"train", "75   stopped early", "# train three steps"}) CHECK(has(general.out, part));
  const Result help = run({"train", "--help"});
  CHECK(help.code == 0);
  for (const char* part : {"--lr NUMBER", "learning rate [> 0] [default: 0.0001]", "[model] the network", "--model.dim, --dim INT",
                           "(channels) [1 to 4096] [default: 8]", "--model.objective.derivative, --derivative jvp|fd",
                           "--log csv|jsonl|tb|html,...", "--max-time TIME", "usage: demo train [--config FILE]",
                           "[env: FLOWMAP_OUT]", "130, 143", "demo train --steps 3"})
    CHECK_MESSAGE(has(help.out, part), part);
  const Result brief = run({"train", "-h"});
  CHECK((brief.code == 0 && brief.err.empty()));
  for (const char* part : {"--steps INT", "--dim INT", "--lr NUMBER", "--config FILE", "-n,--dry-run", "# train three steps", "--help: all "})
    CHECK_MESSAGE(has(brief.out, part), part);
  for (const char* part : {"--model.dim", "--batch", "--resume", "130, 143"}) CHECK_MESSAGE(!has(brief.out, part), part);
  CHECK(run({"train", "-h", "--help"}).out == help.out);
  const std::string other = run({"fail", "--help"}).out;
  CHECK_MESSAGE(!has(other, "--resume"), other);
  const Result version = run({"--version"});
  CHECK(version.code == 0);
  CHECK(has(version.out, "git "));
}

TEST_CASE("each type of error has its exit code") {
  CHECK(run({"fail", "--how", "config"}).code == 2);
  CHECK(run({"fail", "--how", "file"}).code == 3);
  CHECK(run({"fail", "--how", "diverged"}).code == 4);
  CHECK(run({"fail", "--how", "shape"}).code == 1);
  CHECK(run({"fail", "--how", "memory"}).code == 1);
  CHECK(run({"fail", "--how", "file"}).err == "demo: error: a file\n");
}

TEST_CASE("a run finishes, and the same command finds it finished") {
  TempFolder folder;
  const std::string out = (folder / "run").string();
  const Result first = run({"--steps", "3", "--lr", "0.5", "--out", out, "--log-every", "1"});
  CHECK(first.code == 0);
  CHECK(has(first.err, "step 3/3  100.0%  loss 0.3333  |g| 0.50  lr 5.0e-01"));
  CHECK(has(first.err, "log_every = 1 (--log-every)\n"));
  CHECK(lines(first.err) == 3 + 3);
  CHECK(first.out.empty());
  CHECK(has(read_file(folder / "run/config.toml"), "lr = 0.5 "));
  const std::string report = read_file(folder / "run/report.html");
  for (const char* part : {"<svg", "3, 0.333333</title>", "[model]", "demo_program --steps 3 --lr 0.5 --out"}) CHECK_MESSAGE(has(report, part), part);
  CHECK(run({"--steps", "3", "--lr", "0.5", "--out", out, "--log-every", "1"}).code == 0);
  CHECK(lines(read_file(folder / "run/metrics.csv")) == 4);
  CHECK(run({"--steps", "3", "--lr", "0.5", "--out", out, "--fresh", "-q"}).err.empty());
  CHECK(fs::exists(folder / "run.old-1/checkpoints/step-00000003"));
}

TEST_CASE("the first signal saves a checkpoint and exits with 75, and the run resumes there") {
  const std::pair<int, const char*> signals[] = {
      {SIGINT, "SIGINT"}, {SIGTERM, "SIGTERM"}, {SIGUSR1, "SIGUSR1"}, {SIGHUP, "SIGHUP"}, {SIGXCPU, "SIGXCPU"}};
  for (const auto& [signal, name] : signals) {
    TempFolder folder;
    const fs::path out = folder / "run";
    const Arguments command{"--steps", "100000", "--step-ms", "5", "--out", out.string(), "--log-every", "1"};
    const int signal_number = signal;
    const auto rows = [&] { return fs::exists(out / "metrics.jsonl") ? lines(read_file(out / "metrics.jsonl")) : 0; };
    const Result stopped = run(command, [&](pid_t child) {
      CHECK(wait_until([&] { return rows() >= 5; }));
      kill(child, signal_number);
    });
    CHECK(stopped.code == 75);
    CHECK(has(stopped.err, std::string("stopped by ") + name));
    const long done = rows();
    CHECK(has(read_file(out / "run.json"), "\"exit_code\": 75"));
    const Result resumed = run({"--steps", std::to_string(done + 2), "--out", out.string()});
    CHECK(resumed.code == 0);
    CHECK(rows() == done + 2);
    CHECK(has(read_file(out / "run.json"), "\"resumed_from_step\": " + std::to_string(done)));
  }
}

TEST_CASE("SIGUSR2 saves a checkpoint without stopping; --max-time stops with exit code 75") {
  TempFolder folder;
  const fs::path out = folder / "run";
  const auto rows = [&] { return fs::exists(out / "metrics.jsonl") ? lines(read_file(out / "metrics.jsonl")) : 0; };
  const Result saved = run({"--steps", "100000", "--step-ms", "5", "--ckpt-every", "0", "--out", out.string()}, [&](pid_t child) {
    CHECK(wait_until([&] { return rows() > 2; }));
    kill(child, SIGUSR2);
    CHECK(wait_until([&] { return fs::exists(out / "checkpoints/latest"); }));
    const long then = rows();
    CHECK(wait_until([&] { return rows() > then + 1; }));
    kill(child, SIGTERM);
  });
  CHECK(saved.code == 75);
  CHECK(has(saved.err, "stopped by SIGTERM"));
  const Result late = run({"--steps", "100000", "--step-ms", "5", "--ckpt-every", "0", "--out", (folder / "late").string(), "--max-time", "1s"});
  CHECK(late.code == 75);
  CHECK(has(late.err, "stopped by --max-time 0:01"));
}

TEST_CASE("a second signal ends the program at once, with exit code 130 or 143") {
  for (int signal : {SIGINT, SIGTERM}) {
    TempFolder folder;
    const fs::path ready = folder / "ready";
    const Result result = run({"hang", "--ready", ready.string()}, [&](pid_t child) {
      CHECK(wait_until([&] { return fs::exists(ready); }));
      kill(child, signal);
      CHECK(wait_until([&] { return fs::exists(ready.string() + ".stop"); }));       // the program continues after the first signal
      for (int again : {SIGUSR1, SIGHUP, SIGXCPU}) {                                 // the system may repeat these signals by itself, so they do not end the process
        kill(child, again);
        CHECK(wait_until([&] { return !is_pending(child, again); }));
      }
      kill(child, signal);
    });
    CHECK(result.code == (signal == SIGINT ? 130 : 143));
    CHECK(has(result.err, "nothing saved"));
  }
}

TEST_CASE("a SIGHUP that is ignored at the start stays ignored") {
  TempFolder folder;
  const fs::path out = folder / "run";
  const auto rows = [&] { return fs::exists(out / "metrics.jsonl") ? lines(read_file(out / "metrics.jsonl")) : 0; };
  const Result result = run_shell("trap '' HUP; exec \"$0\" --steps 100000 --step-ms 1 --out " + out.string(), own_folder() / "demo_program", [&](pid_t child) {
    CHECK(wait_until([&] { return rows() >= 3; }));
    kill(child, SIGHUP);
    const long then = rows();
    CHECK(wait_until([&] { return rows() >= then + 3; }));
    kill(child, SIGTERM);
  });
  CHECK(result.code == 75);
  CHECK_MESSAGE(has(result.err, "stopped by SIGTERM"), result.err);
}

TEST_CASE("training finishes although messages cannot be written (closed pipe, full disk, closed descriptors)") {
  const std::string options = " --steps 20 --ckpt-every 5 --log-every 1 --out ";
  for (const std::string how : {"2>&1 | true", "2>/dev/full", ">/dev/full 2>&1", "2>&-", ">&- 2>&- <&-"}) {
    CAPTURE(how);
    TempFolder folder;
    const std::string out = (folder / "run").string(), code = (folder / "code").string();
    run_shell("{ \"$0\"" + options + out + "; echo $? > " + code + "; } " + how, own_folder() / "demo_program");
    CHECK(read_file(code) == "0\n");
    CHECK(read_file(folder / "run/checkpoints/step-00000020/state") == "20");
    CHECK(has(read_file(folder / "run/run.json"), "\"exit_code\": 0"));
    CHECK(has(read_file(folder / "run/log.txt"), "step 20/20"));
    CHECK(read_file(folder / "run/run.lock").empty());           // no file gets the number of a closed standard descriptor
    CHECK(!has(read_file(folder / "run/metrics.csv"), "it/s"));
  }
}

TEST_CASE("a full disk under log.txt causes one warning") {
  TempFolder folder;
  fs::create_directories(folder / "run");
  fs::create_symlink("/dev/full", folder / "run/log.txt");
  const Result result = run({"--steps", "20", "--log-every", "1", "--out", (folder / "run").string()});
  CHECK(result.code == 0);
  CHECK_MESSAGE(has(result.err, "warning: cannot write " + (folder / "run/log.txt").string() + ": No space left on device"), result.err);
  CHECK(result.err.find("No space left") == result.err.rfind("No space left"));
  CHECK(has(result.err, "step 20/20"));
}

TEST_CASE("an error keeps its exit code although its message cannot be written") {
  for (const std::string how : {"2>&1 | true", "2>/dev/full", "2>&-"}) {
    TempFolder folder;
    const std::string code = (folder / "code").string();
    run_shell("{ \"$0\" fail --how file; echo $? > " + code + "; } " + how, own_folder() / "demo_program");
    CHECK(read_file(code) == "3\n");
    run_shell("{ \"$0\" --no-such-flag; echo $? > " + code + "; } " + how, own_folder() / "demo_program");
    CHECK(read_file(code) == "2\n");
  }
}

TEST_CASE("a result that cannot be written gives exit code 1; a closed pipe or closed standard output gives 0") {
  const Result full = run_shell("exec \"$0\" --help >/dev/full", own_folder() / "demo_program");
  CHECK(full.code == 1);
  CHECK(full.err == "demo: error: standard output cannot be written: No space left on device\n");
  for (const std::string how : {"--help >&-", "--version >&-"}) CHECK(run_shell("exec \"$0\" " + how, own_folder() / "demo_program").code == 0);
  TempFolder folder;
  const std::string code = (folder / "code").string();
  const Result gone = run_shell("{ \"$0\" --help; echo $? > " + code + "; } | true", own_folder() / "demo_program");
  CHECK(read_file(code) == "0\n");
  CHECK(gone.err.empty());
}

TEST_CASE("a file above the size limit gives exit code 3 instead of death by SIGXFSZ") {
  TempFolder folder;
  const Result result = run_shell("ulimit -f 4; exec \"$0\" --steps 400 --step-ms 0 --log jsonl --out " + (folder / "run").string(),
                                  own_folder() / "demo_program");
  CHECK(result.code == 3);
  CHECK_MESSAGE(has(result.err, "metrics.jsonl: File too large"), result.err);
}

TEST_CASE("a thread that cannot be started is reported with the limit, before the run folder exists") {
  if (sanitized) return;
  TempFolder folder;
  // The limit leaves address space for the program (and CUDA's libraries), but not for the stacks of a thousand threads, 8 GiB.
  const Result result = run_shell("ulimit -v 4000000; exec \"$0\" --threads 1000 --steps 1 --out " + (folder / "run").string(), own_folder() / "demo_program");
  CHECK(result.code == 1);
  CHECK_MESSAGE(has(result.err, "error: no thread could be started: Resource temporarily unavailable"), result.err);
  CHECK_MESSAGE(has(result.err, "ulimit -u"), result.err);
  CHECK(!fs::exists(folder / "run"));
}

TEST_CASE("a mapped file that is shortened while it is read gives exit code 3 and no core dump") {
  TempFolder folder;
  write_atomically(folder / "file", std::string(10000, 'x'));
  const pid_t child = fork();
  if (child == 0) {
    dup2(open((folder / "err").c_str(), O_WRONLY | O_CREAT, 0666), STDERR_FILENO);
    guard_standard_files();
    const MappedFile mapped = map_file(folder / "file");
    fs::resize_file(folder / "file", 0);
    _exit(mapped.bytes()[9000] == 'x' ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 3);
  CHECK(has(read_file(folder / "err"), "another program shortened the file"));
}
