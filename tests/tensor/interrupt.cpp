// Interrupting long work: the threads that are interrupted, and those that are not.
#include "tensor/interrupt.h"

#include <doctest/doctest.h>

#include <stdexcept>
#include <thread>

#include "data/threads.h"
#include "tensor/io/atomic_file.h"
#include "tensor/ops/matmul.h"
#include "tests/support/temp_folder.h"

using namespace fm;

namespace {

struct Interrupted : std::runtime_error { using std::runtime_error::runtime_error; };
bool asked = false;

struct Checked {
  Checked() {
    asked = false;
    set_interrupt_check([] {
      if (asked) throw Interrupted("now");
    });
  }
  ~Checked() { set_interrupt_check(nullptr); }
};

}  // namespace

TEST_CASE("an interrupt check ends matrix products and file reads of its own thread") {
  const TempFolder folder;
  write_atomically(folder / "a", "text");
  const Tensor a = Tensor::ones({2, 2});
  const Checked checked;
  matmul(a, a);
  CHECK(read_file(folder / "a") == "text");
  asked = true;
  CHECK_THROWS_AS(matmul(a, a), Interrupted);
  Tensor sum = Tensor::zeros({2, 2});
  CHECK_THROWS_AS(matmul_into(sum, a, a), Interrupted);
  CHECK(sum.to_vector<float>() == std::vector<float>(4, 0.0f));
  CHECK_THROWS_AS(read_file(folder / "a"), Interrupted);
  CHECK_THROWS_AS(sum_of_file(folder / "a"), Interrupted);
  {
    const HoldInterrupts hold, again;
    matmul(a, a);
    CHECK(read_file(folder / "a") == "text");
  }
  CHECK_THROWS_AS(matmul(a, a), Interrupted);
  std::thread([&] { matmul(a, a); }).join();                // this thread has no check
}

TEST_CASE("the caller's interrupt check ends its work on other threads; later work runs in full") {
  const Checked checked;
  std::atomic<int> done = 0;
  CHECK_THROWS_AS(on_threads(10000000, 3, [&](std::int64_t i) {
    ++done;
    if (i == 100) asked = true;
    if (asked) std::this_thread::yield();
  }), Interrupted);
  CHECK(done >= 100);                                       // 0 to 100, except perhaps a number that this thread had taken when it was interrupted
  CHECK(done < 10000000);
  asked = false;
  done = 0;
  on_threads(1000, 3, [&](std::int64_t) { ++done; });
  CHECK(done == 1000);
}
