// Collectives between threads against plain sums, what is under way while the caller computes, and ranks that fail, die or fall silent.
#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <numeric>
#include <thread>

#include "tensor/collectives/socket.h"
#include "tensor/collectives/tcp.h"
#include "tensor/collectives/threads.h"

using namespace fm;

namespace {

double value_of(int rank, std::int64_t i) { return 0.1 * static_cast<double>(i % 17) + rank * 1.7 - 0.3; }

Tensor values(DType dtype, std::int64_t n, int rank) {
  const Tensor x = Tensor::empty({n}, DType::f64, Device{});
  for (std::int64_t i = 0; i < n; ++i) x.data<double>()[i] = dtype == DType::i64 ? static_cast<double>(i * (rank + 1)) : value_of(rank, i);
  return x.to(dtype).clone();
}

// The sum in the order of the ranks, rounded once.
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

TEST_CASE("sums are those in the order of the ranks, the same bits on each") {
  for (int n : {1, 2, 3, 4})
    for (DType dtype : {DType::f32, DType::f64, DType::i64})
      for (std::int64_t size : {1, 3, 1000, 5003})
        run_ranks(n, [&](Communicator& ranks) {
          const Tensor x = values(dtype, size, ranks.rank());
          ranks.all_reduce(x);
          CHECK(x.to_vector<double>() == sums(dtype, size, n));
        });
}

TEST_CASE("pieces: scattered sums, gathered again; some of them empty") {
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

TEST_CASE("broadcast, send and receive, texts of all ranks") {
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

TEST_CASE("many operations under way at once run in the order that they were asked for") {
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

TEST_CASE("alone there is nothing to wait for") {
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

TEST_CASE("wrong tensors are refused before anything is sent") {
  run_ranks(2, [](Communicator& ranks) {
    CHECK_THROWS_AS(ranks.all_reduce(Tensor::zeros({2, 3}).transpose(0, 1)), ShapeError);
    CHECK_THROWS_AS(ranks.all_reduce(Tensor::zeros({2}, DType::u8)), DTypeError);
    CHECK_THROWS_AS(ranks.all_gather(Tensor::zeros({3}), {1, 1}), ShapeError);
  });
}

TEST_CASE("a rank that fails tells the others why") {
  std::atomic<int> told = 0;
  CHECK_THROWS_WITH_AS(run_ranks(3,
                                 [&](Communicator& ranks) {
                                   if (ranks.rank() == 0) throw FileError("no space left");
                                   const std::string text = message_of([&] { ranks.barrier(); });
                                   CHECK(text == "rank 0 was lost: no space left");
                                   ++told;
                                   CHECK(message_of([&] { ranks.barrier(); }) == text);      // and nothing works any more
                                 }),
                       "no space left", FileError);
  CHECK(told == 2);
}

TEST_CASE("a rank that dies, or falls silent, is named by the others, and on_lost comes when the caller does not notice") {
  for (bool silently : {false, true}) {
    CAPTURE(silently);
    const auto hub = make_thread_hub(3);
    std::vector<std::thread> threads;
    std::atomic<int> called = 0;
    for (int r = 0; r < 3; ++r)
      threads.emplace_back([&, r] {
        WatchOptions watch{.lost_after = 0.6, .beat_every = 0.05, .grace = 0.1, .on_lost = [&](const std::string&) { ++called; }};
        MessageCommunicator ranks([&] { return open_thread_channel(hub, r); }, watch);
        if (r == 2) {
          ranks.barrier();                                // the others may learn of the loss in this very barrier
          kill_rank(*hub, 2, silently);
          return ranks.abandon("");
        }
        const auto since = std::chrono::steady_clock::now();
        const std::string text = message_of([&] {
          for (;;) ranks.barrier();
        });
        CHECK(text.starts_with("rank 2 was lost: "));
        CHECK(std::chrono::steady_clock::now() - since < std::chrono::seconds(10));
        std::this_thread::sleep_for(std::chrono::milliseconds(400));
        ranks.abandon("");
      });
    for (std::thread& t : threads) t.join();
    CHECK(called >= 2);
  }
}

TEST_CASE("a rank that is busy for long is not lost: its communicator gives signs of life") {
  const auto hub = make_thread_hub(2);
  std::vector<std::thread> threads;
  for (int r = 0; r < 2; ++r)
    threads.emplace_back([&, r] {
      MessageCommunicator ranks([&] { return open_thread_channel(hub, r); }, {.lost_after = 1.5, .beat_every = 0.05});
      if (r == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2500));
      ranks.barrier();
      ranks.finish();
    });
  for (std::thread& t : threads) t.join();
}

namespace {

// Rank 0's port is free a moment before it is used.
int free_port() { return port_of(listen_on(0)); }

void run_tcp(int size, const std::function<void(Communicator&)>& f) {
  const int port = free_port();
  std::vector<std::thread> threads;
  for (int r = 0; r < size; ++r)
    threads.emplace_back([&, r] {
      MessageCommunicator ranks([&] { return open_tcp_channel({"localhost", port, "test", r, size, 30}); });
      f(ranks);
      ranks.finish();
    });
  for (std::thread& t : threads) t.join();
}

std::string refusal(const TcpRendezvous& where) {
  try {
    open_tcp_channel(where);
  } catch (const ConfigError& e) {
    return e.what();
  }
  return "";
}

}  // namespace

TEST_CASE("the same by TCP, small and large") {
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

TEST_CASE("by TCP: a rank whose process ends, and one that says why") {
  const int port = free_port();
  std::vector<std::thread> threads;
  for (int r = 0; r < 3; ++r)
    threads.emplace_back([&, r] {
      if (r == 2) {                                   // a line that closes without a word, as when the process is killed
        auto channel = open_tcp_channel({"127.0.0.1", port, "job", r, 3, 30});
        std::this_thread::sleep_for(std::chrono::milliseconds(200));
        return;
      }
      MessageCommunicator ranks([&] { return open_tcp_channel({"127.0.0.1", port, "job", r, 3, 30}); });
      CHECK(message_of([&] { ranks.barrier(); }) == "rank 2 was lost: its process ended");
      ranks.abandon("");
    });
  for (std::thread& t : threads) t.join();
}

TEST_CASE("rendezvous: who is missing, who is there already, who belongs elsewhere") {
  const int port = free_port();
  CHECK(refusal({"127.0.0.1", port, "job", 0, 3, 0.3}) == "ranks 1, 2 of 3 did not come to 127.0.0.1:" + std::to_string(port) + " within 0 s");
  CHECK(refusal({"127.0.0.1", port, "job", 1, 3, 0.3}).starts_with("rank 1: rank 0 at 127.0.0.1:" + std::to_string(port) + " could not be reached"));
  std::string first, same, elsewhere, larger, zero;
  std::vector<std::thread> threads;
  threads.emplace_back([&] { zero = refusal({"127.0.0.1", port, "job", 0, 3, 2}); });
  threads.emplace_back([&] { first = refusal({"127.0.0.1", port, "job", 1, 3, 5}); });
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  same = refusal({"127.0.0.1", port, "job", 1, 3, 5});
  elsewhere = refusal({"127.0.0.1", port, "other", 2, 3, 5});
  larger = refusal({"127.0.0.1", port, "job", 2, 4, 5});
  for (std::thread& t : threads) t.join();
  CHECK(same == "rank 1: rank 1 is there already: two processes were started with the same rank");
  CHECK(elsewhere == "rank 2: rank 0 at 127.0.0.1:" + std::to_string(port) + " belongs to another job");
  CHECK(larger == "rank 2: rank 0 expects 3 ranks, this one 4");
  CHECK(zero.starts_with("rank 2 of 3 did not come"));
  CHECK(first == "rank 1: " + zero);
}
