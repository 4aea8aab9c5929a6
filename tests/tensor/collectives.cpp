// Collectives between threads against plain sums, operations in progress while the caller computes, and ranks that fail, die or fall silent.
#include <doctest/doctest.h>

#include <atomic>
#include <future>
#include <numeric>
#include <thread>

#include "tensor/collectives/tcp.h"
#include "tensor/collectives/threads.h"
#include "tests/support/shared_clock.h"
#include "tests/support/tcp_job.h"

using namespace fm;
using fm::test::SharedClock;
using fm::test::TcpJob;

namespace {

double value_of(int rank, std::int64_t i) { return 0.1 * static_cast<double>(i % 17) + rank * 1.7 - 0.3; }

Tensor values(DType dtype, std::int64_t n, int rank) {
  const Tensor x = Tensor::empty({n}, DType::f64, Device{});
  for (std::int64_t i = 0; i < n; ++i) x.data<double>()[i] = dtype == DType::i64 ? static_cast<double>(i * (rank + 1)) : value_of(rank, i);
  return x.to(dtype).clone();
}

// Returns the sum in the order of the ranks, rounded once.
std::vector<double> sums(DType dtype, std::int64_t n, int ranks) {
  std::vector<double> total(static_cast<std::size_t>(n), 0);
  for (int r = 0; r < ranks; ++r) {
    const auto part = values(dtype, n, r).to_vector<double>();
    for (std::size_t i = 0; i < total.size(); ++i) total[i] += part[i];
  }
  return Tensor::from(total, {n}).to(dtype).to_vector<double>();
}

std::string message_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const RankLostError& e) {
    return e.what();
  }
  return "";
}

}  // namespace

TEST_CASE("all_reduce adds in the order of the ranks and gives the same bits on each rank") {
  for (int n : {1, 2, 3, 4})
    for (DType dtype : {DType::f32, DType::f64, DType::i64})
      for (std::int64_t size : {1, 3, 1000, 5003})
        run_ranks(n, [&](Communicator& ranks) {
          const Tensor x = values(dtype, size, ranks.rank());
          ranks.all_reduce(x);
          CHECK(x.to_vector<double>() == sums(dtype, size, n));
        });
}

TEST_CASE("reduce_scatter and all_gather with uneven and empty parts") {
  run_ranks(3, [](Communicator& ranks) {
    const Communicator::Counts counts{5, 0, 2};
    const auto me = static_cast<std::size_t>(ranks.rank());
    const auto begin = std::accumulate(counts.begin(), counts.begin() + ranks.rank(), std::int64_t{0});
    const auto wanted = sums(DType::f32, 7, 3);
    const Tensor x = values(DType::f32, 7, ranks.rank());
    ranks.reduce_scatter(x, counts);
    for (std::int64_t i = begin; i < begin + counts[me]; ++i) CHECK(x.data<float>()[i] == static_cast<float>(wanted[static_cast<std::size_t>(i)]));
    ranks.all_gather(x, counts);
    CHECK(x.to_vector<double>() == wanted);
  });
}

TEST_CASE("broadcast, send, receive, gather_texts and sum_over_ranks") {
  run_ranks(3, [](Communicator& ranks) {
    const Tensor x = values(DType::f32, 9, ranks.rank());
    ranks.broadcast(x, 1);
    CHECK(x.to_vector<float>() == values(DType::f32, 9, 1).to_vector<float>());
    const Tensor y = values(DType::f64, 4, ranks.rank());
    if (ranks.rank() == 2) ranks.send(y, 0);
    if (ranks.rank() == 0) ranks.receive(y, 2);
    if (ranks.rank() == 0) CHECK(y.to_vector<double>() == values(DType::f64, 4, 2).to_vector<double>());
    const std::vector<std::string> said{"", "one", "number two"};
    CHECK(gather_texts(ranks, said[static_cast<std::size_t>(ranks.rank())]) == said);
    CHECK(sum_over_ranks(ranks, {1, static_cast<double>(ranks.rank())}) == std::vector<double>{3, 3});
  });
}

TEST_CASE("many all-reduces started at once each give their own sum") {
  run_ranks(4, [](Communicator& ranks) {
    std::vector<Tensor> xs;
    std::vector<Communicator::Work> under_way;
    for (int i = 0; i < 20; ++i) {
      xs.push_back(values(DType::f32, 100 + i, ranks.rank()));
      under_way.push_back(ranks.all_reduce_start(xs.back()));
    }
    for (int i = 0; i < 20; ++i) {
      under_way[static_cast<std::size_t>(i)].get();
      CHECK(xs[static_cast<std::size_t>(i)].to_vector<double>() == sums(DType::f32, 100 + i, 4));
    }
  });
}

TEST_CASE("with a single rank, collectives leave tensors unchanged, and send is an error") {
  SingleRank alone;
  const Tensor x = values(DType::f32, 5, 0);
  alone.all_reduce(x);
  alone.all_gather(x, {5});
  alone.broadcast(x, 0);
  alone.barrier();
  CHECK(x.to_vector<float>() == values(DType::f32, 5, 0).to_vector<float>());
  CHECK(gather_texts(alone, "me") == std::vector<std::string>{"me"});
  CHECK_THROWS_AS(alone.send(x, 1), Error);
}

TEST_CASE("tensors with a wrong layout, type or size are refused before anything is sent") {
  run_ranks(2, [](Communicator& ranks) {
    CHECK_THROWS_AS(ranks.all_reduce(Tensor::zeros({2, 3}).transpose(0, 1)), ShapeError);
    CHECK_THROWS_AS(ranks.all_reduce(Tensor::zeros({2}, DType::u8)), DTypeError);
    CHECK_THROWS_AS(ranks.all_gather(Tensor::zeros({3}), {1, 1}), ShapeError);
  });
}

TEST_CASE("a rank that fails sends the others the reason") {
  std::atomic<int> failed = 0;
  CHECK_THROWS_WITH_AS(run_ranks(3,
                                 [&](Communicator& ranks) {
                                   if (ranks.rank() == 0) throw FileError("no space left");
                                   const std::string text = message_of([&] { ranks.barrier(); });
                                   CHECK(text == "rank 0 was lost: no space left");
                                   ++failed;
                                   CHECK(message_of([&] { ranks.barrier(); }) == text);      // and every later operation fails
                                 }),
                       "no space left", FileError);
  CHECK(failed == 2);
}

namespace {

// Seconds of a clock that the test moves; the communicator's thread polls it a thousand times in a real second.
WatchOptions watch_of(SharedClock& clock, int rank) { return {.lost_after = 15, .beat_every = 1, .clock = clock.of(rank), .look_every = 0.001}; }

}  // namespace

TEST_CASE("a dead rank is reported at once, a silent one after lost_after; on_lost is called if the caller ignores the loss") {
  for (bool silently : {false, true}) {
    CAPTURE(silently);
    const auto hub = make_thread_hub(3);
    SharedClock clock(3);
    std::atomic<int> lost = 0, called = 0;
    std::promise<void> killed, end;
    const auto ended = end.get_future().share();
    double noticed[2] = {};
    std::vector<std::thread> threads;
    for (int r = 0; r < 3; ++r)
      threads.emplace_back([&, r] {
        WatchOptions watch = watch_of(clock, r);
        watch.grace = 10, watch.on_lost = [&](const std::string&) { ++called; };
        MessageCommunicator ranks([&] { return open_thread_channel(hub, r); }, watch);
        if (r == 2) {
          ranks.barrier();                                // the other ranks may notice the loss in this barrier already
          kill_rank(*hub, 2, silently);
          killed.set_value();
          return ranks.abandon("");
        }
        const std::string text = message_of([&] {
          for (;;) ranks.barrier();
        });
        noticed[r] = clock.now() - 1000;
        ++lost;
        CHECK(text == (silently ? "rank 2 was lost: no heartbeat for 15 s" : "rank 2 was lost: its process ended"));
        ended.wait();                                     // the caller ignores the loss
        ranks.abandon("");
      });
    killed.get_future().wait();
    while (lost < 2) clock.advance(0.5, {0, 1}, [&] { return lost == 2; });
    CHECK(called == 0);
    for (double seconds : noticed) CHECK((silently ? seconds > 14.5 && seconds < 19 : seconds < 5));
    const double before = clock.now();
    while (called < 2) clock.advance(0.5, {0, 1}, [&] { return called >= 2; });
    CHECK(clock.now() - before > 8);
    end.set_value();
    for (std::thread& t : threads) t.join();
  }
}

TEST_CASE("a rank is not reported lost while its caller is busy for long, or after its machine slept") {
  const auto hub = make_thread_hub(2);
  SharedClock clock(2);
  std::atomic<double> slept = 0;                          // seconds by which rank 0's clock is ahead
  std::atomic<bool> lost = false;
  std::promise<void> busy;
  const auto done = busy.get_future().share();
  std::vector<std::thread> threads;
  for (int r = 0; r < 2; ++r)
    threads.emplace_back([&, r] {
      WatchOptions watch = watch_of(clock, r);
      if (r == 0) watch.clock = [&slept, clock = clock.of(0)] { return clock() + slept; };
      watch.grace = 0, watch.on_lost = [&](const std::string&) { lost = true; };
      MessageCommunicator ranks([&] { return open_thread_channel(hub, r); }, watch);
      ranks.barrier();
      done.wait();
      if (lost) return ranks.abandon("");
      ranks.barrier();
      ranks.finish();
    });
  for (int i = 0; i < 100 && !lost; ++i) {
    if (i == 50) slept = 40;
    clock.advance(0.5, {0, 1}, [&] { return lost.load(); });
  }
  CHECK_FALSE(lost);
  busy.set_value();
  for (std::thread& t : threads) t.join();
}

TEST_CASE("a stop request to one rank reaches all ranks with its reason; a rank that leaves for it is not reported lost") {
  const auto hub = make_thread_hub(3);
  std::promise<std::string> heard[3];
  std::atomic<int> called = 0;
  std::atomic<bool> asked = false;
  std::vector<std::thread> threads;
  for (int r = 0; r < 3; ++r)
    threads.emplace_back([&, r] {
      WatchOptions watch{.grace = 0, .on_lost = [&](const std::string&) { ++called; }, .look_every = 0.001};
      if (r == 1) watch.stop_asked = [&] { return asked ? "SIGTERM" : ""; };
      watch.stop_heard = [&heard, r](const std::string& why) { heard[r].set_value(why); };
      MessageCommunicator ranks([&] { return open_thread_channel(hub, r); }, watch);
      ranks.barrier();
      if (r == 1) asked = true;
      if (r == 0) {                                       // the other ranks wait for the barrier of rank 0
        CHECK(heard[0].get_future().get() == "SIGTERM");
        CHECK(heard[2].get_future().get() == "SIGTERM");  // waits here, because no rank listens after rank 0 has left
        return ranks.abandon("stopped by SIGTERM", Ending::stopped);
      }
      CHECK_THROWS_WITH_AS(ranks.barrier(), doctest::Contains("rank 0 left: stopped by SIGTERM"), RankStoppedError);
      ranks.abandon("", Ending::stopped);
    });
  for (std::thread& t : threads) t.join();
  CHECK(called == 0);
}

TEST_CASE("texts from other ranks are limited in length, and their control characters are replaced") {
  for (std::int64_t length : {std::int64_t{-1}, std::int64_t{1} << 60, std::int64_t{5} << 20}) {
    CAPTURE(length);
    CHECK_THROWS_WITH_AS(run_ranks(2,
                                   [&](Communicator& ranks) {
                                     if (ranks.rank() == 0) gather_texts(ranks, "x");
                                     const Tensor lengths = Tensor::full({2}, static_cast<double>(length), DType::i64);
                                     ranks.all_gather(lengths, {1, 1});
                                     message_of([&] { ranks.barrier(); });
                                   }),
                         doctest::Contains("rank 1 announces a text of " ), Error);
  }
  const std::string text = message_of([] {
    run_ranks(2, [](Communicator& ranks) {
      if (ranks.rank() == 1) throw Error("\x1b[31mred\a" + std::string(10000, 'x'));
      ranks.barrier();
    });
  });
  CHECK(text.starts_with("rank 1 was lost: ?[31mred?xxx"));
  CHECK(text.size() < 400);
}

namespace {

void run_tcp(int size, const std::function<void(Communicator&)>& f, const std::string& secret = "") {
  TcpJob job(size, {.host = "localhost", .job = "test", .deadline = 60, .secret = secret});
  std::vector<std::thread> threads;
  for (int r = 0; r < size; ++r)
    threads.emplace_back([&, r] {
      MessageCommunicator ranks([&] { return open_tcp_channel(job.place(r)); });
      f(ranks);
      ranks.finish();
    });
  for (std::thread& t : threads) t.join();
}

}  // namespace

TEST_CASE("all_reduce and gather_texts by TCP, with small and large tensors") {
  for (int n : {2, 3, 4})
    run_tcp(n, [&](Communicator& ranks) {
      for (std::int64_t size : {1, 1000, 700001}) {
        const Tensor x = values(DType::f32, size, ranks.rank());
        ranks.all_reduce(x);
        CHECK(x.to_vector<double>() == sums(DType::f32, size, n));
      }
      CHECK(gather_texts(ranks, std::to_string(ranks.rank())).back() == std::to_string(n - 1));
    });
}

TEST_CASE("by TCP, a closed connection is a lost rank, and a message of the wrong size is an error") {
  TcpJob job(3, {.deadline = 60});
  std::promise<void> all_there[2];
  std::vector<std::thread> threads;
  for (int r = 0; r < 3; ++r)
    threads.emplace_back([&, r] {
      if (r == 2) {                                   // a connection that closes without a message, as when the process is killed
        auto channel = open_tcp_channel(job.place(r));
        for (auto& there : all_there) there.get_future().wait();
        return;
      }
      MessageCommunicator ranks([&] { return open_tcp_channel(job.place(r)); });
      all_there[r].set_value();
      CHECK(message_of([&] { ranks.barrier(); }) == "rank 2 was lost: its process ended");
      ranks.abandon("");
    });
  for (std::thread& t : threads) t.join();
  CHECK_THROWS_WITH_AS(
      [] {
        std::exception_ptr error;
        run_tcp(2, [&](Communicator& ranks) {
          try {
            if (ranks.rank() == 0) ranks.broadcast(Tensor::zeros({3}), 0);
            else ranks.broadcast(Tensor::zeros({2}), 0);
            message_of([&] { ranks.barrier(); });
          } catch (const Error&) {
            error = std::current_exception();
          }
          ranks.abandon("");
        });
        if (error) std::rethrow_exception(error);
      }(),
      "ranks disagree about the size of a message: rank 0 sends 12 bytes, this rank expects 8", Error);
}
