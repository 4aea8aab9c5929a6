// Ranks on GPUs against a plain computation: ranks are threads, each with its own GPU. In a program linked with
// tests/support/host_cuda NCCL is its stand-in, which sums in another order than that of the ranks, holds NaN until a result is
// complete, and compares the ranks' operations.
#include <doctest/doctest.h>
#include <nccl.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <numeric>
#include <thread>

#include "autodiff/rules/activation.h"
#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/linear.h"
#include "autodiff/rules/matmul.h"
#include "nn/optim/gradient_buckets.h"
#include "nn/optim/shards.h"
#include "tensor/collectives/nccl.h"
#include "tensor/collectives/threads.h"
#include "tensor/kernels/cuda/runtime.h"
#include "tensor/ops/elementwise.h"
#include "tensor/random/fill.h"
#include "tests/support/host_cuda/executor.h"

using namespace fm;

namespace {

// Runs f on `size` ranks, each a thread with its own GPU. Returns the error message of each rank, "" if it had none.
using Rank = std::function<void(Communicator&)>;
std::vector<std::string> errors_of_ranks(int size, const Rank& f, const NcclOptions& options = {}, const WatchOptions& watch = {}) {
  const auto hub = make_thread_hub(size);
  std::vector<std::string> errors(static_cast<std::size_t>(size));
  std::vector<std::thread> threads;
  for (int r = 0; r < size; ++r)
    threads.emplace_back([&, r] {
      try {
        const DefaultDevice device(Device::cuda(r));
        const auto ranks =
            open_nccl(std::make_unique<MessageCommunicator>([&] { return open_thread_channel(hub, r); }, watch), Device::cuda(r), options);
        try {
          f(*ranks);
          ranks->finish();
        } catch (const std::exception& e) {
          errors[static_cast<std::size_t>(r)] = e.what();
          ranks->abandon(e.what());
        }
      } catch (const std::exception& e) {
        errors[static_cast<std::size_t>(r)] = e.what();
      }
    });
  for (std::thread& t : threads) t.join();
  return errors;
}

void on_ranks(int size, const Rank& f) {
  for (const std::string& error : errors_of_ranks(size, f)) CHECK(error == "");
}

// Multiples of 1/8 below 32: every order of summing gives the same number, in bf16 too.
double value_of(int rank, std::int64_t i) { return static_cast<double>((i * 7 + rank * 5) % 31 - 15) / 8; }
Tensor values(DType dtype, std::int64_t n, int rank) {
  std::vector<double> x(static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < n; ++i)
    x[static_cast<std::size_t>(i)] = dtype == DType::i64 || dtype == DType::u8 ? static_cast<double>(i % 50 + rank) : value_of(rank, i);
  return Tensor::from(x, {n}).to(dtype);
}
std::vector<double> sums(DType dtype, std::int64_t n, int ranks) {
  std::vector<double> total(static_cast<std::size_t>(n), 0);
  for (int r = 0; r < ranks; ++r) {
    const auto x = values(dtype, n, r).to_vector<double>();
    for (std::size_t i = 0; i < x.size(); ++i) total[i] += x[i];
  }
  return total;
}

std::int64_t before(const Communicator::Counts& counts, int rank) {
  return std::accumulate(counts.begin(), counts.begin() + rank, std::int64_t{0});
}

}  // namespace

TEST_CASE("NCCL: all_reduce of every type, on 1 to 4 ranks") {
  for (int n : {1, 2, 3, 4})
    on_ranks(n, [&](Communicator& ranks) {
      for (DType dtype : {DType::f32, DType::f64, DType::i64, DType::bf16})
        for (std::int64_t size : {1, 3, 1001}) {
          const Tensor x = values(dtype, size, ranks.rank());
          ranks.all_reduce(x);
          CHECK(x.to_vector<double>() == sums(dtype, size, n));
        }
    });
}

TEST_CASE("NCCL: reduce_scatter and all_gather with even, uneven and empty parts") {
  for (const Communicator::Counts& counts : {Communicator::Counts{4, 4, 4}, {5, 0, 2}, {0, 0, 9}})
    on_ranks(3, [&](Communicator& ranks) {
      const std::int64_t n = std::accumulate(counts.begin(), counts.end(), std::int64_t{0}), at = before(counts, ranks.rank());
      const std::int64_t own = counts[static_cast<std::size_t>(ranks.rank())];
      for (DType dtype : {DType::f32, DType::bf16}) {
        const auto wanted = sums(dtype, n, 3);
        const Tensor x = values(dtype, n, ranks.rank());
        ranks.reduce_scatter(x, counts);
        CHECK(x.slice(0, at, at + own).to_vector<double>() == std::vector<double>(wanted.begin() + at, wanted.begin() + at + own));
        ranks.all_gather(x, counts);
        CHECK(x.to_vector<double>() == wanted);
      }
      const Tensor bytes = values(DType::u8, n, ranks.rank());
      ranks.all_gather(bytes, counts);
      std::vector<double> all;
      for (int r = 0; r < 3; ++r)
        for (std::int64_t i = 0; i < counts[static_cast<std::size_t>(r)]; ++i)
          all.push_back(values(DType::u8, n, r).to_vector<double>()[static_cast<std::size_t>(before(counts, r) + i)]);
      CHECK(bytes.to_vector<double>() == all);
    });
}

TEST_CASE("NCCL: broadcast, send and receive; texts and numbers of the host are exchanged, too") {
  on_ranks(3, [](Communicator& ranks) {
    const Tensor x = values(DType::f32, 9, ranks.rank());
    ranks.broadcast(x, 1);
    CHECK(x.to_vector<double>() == values(DType::f32, 9, 1).to_vector<double>());
    for (int round = 0; round < 5; ++round) {  // more sends than the 2 slots of the stand-in's channels
      const Tensor y = values(DType::f64, 4 + round, ranks.rank());
      if (ranks.rank() == 2) ranks.send(y, 0);
      if (ranks.rank() == 0) ranks.receive(y, 2);
      if (ranks.rank() == 0) CHECK(y.to_vector<double>() == values(DType::f64, 4 + round, 2).to_vector<double>());
    }
    CHECK(gather_texts(ranks, std::to_string(ranks.rank())) == std::vector<std::string>{"0", "1", "2"});
    CHECK(sum_over_ranks(ranks, {1.0}) == std::vector<double>{3});
    ranks.all_reduce(Tensor::zeros({0}));
  });
}

TEST_CASE("NCCL: all_reduce reads the results of earlier kernels, and later kernels read the sum") {
  on_ranks(2, [](Communicator& ranks) {
    Tensor x = values(DType::f32, 500, ranks.rank());
    std::vector<double> wanted = sums(DType::f32, 500, 2);
    for (int i = 0; i < 6; ++i) {
      const Tensor y = x * 3.0;
      const auto under_way = ranks.all_reduce_start(y);
      const Tensor meanwhile = x * 5.0 + x;  // computed while y is summed
      under_way.get();
      x = y * (1.0 / 6);  // after the first round both ranks have the same x, and the sum is 2 x
      for (double& w : wanted) w = i == 0 ? w / 2 : w;
    }
    CHECK(x.to_vector<double>() == wanted);
  });
}

TEST_CASE("NCCL: the memory of a tensor is kept until its operation is done, even if the caller does not wait") {
  on_ranks(2, [](Communicator& ranks) {
    for (int i = 0; i < 5; ++i) {
      ranks.all_reduce_start(values(DType::f32, 100, ranks.rank()));
      Tensor::full({100}, 7.0);  // would get the memory of the summed tensor if that were freed too early
    }
    const Tensor last = values(DType::f32, 100, ranks.rank());
    ranks.all_reduce(last);
    CHECK(last.to_vector<double>() == sums(DType::f32, 100, 2));
  });
}

TEST_CASE("NCCL: observe() gets the name, size and times of each operation") {
  on_ranks(2, [](Communicator& ranks) {
    std::mutex mutex;
    std::vector<Communicator::Span> spans;
    ranks.observe([&](const Communicator::Span& s) {
      const std::lock_guard lock(mutex);
      if (s.bytes == 4000) spans.push_back(s);
    });
    for (int i = 0; i < 3; ++i) ranks.all_reduce(values(DType::f32, 1000, ranks.rank()));
    ranks.observe({});
    REQUIRE(spans.size() == 3);
    for (const auto& s : spans) CHECK((std::string(s.op) == "all_reduce" && s.begin <= s.end && s.end - spans[0].begin < 60));
  });
}

TEST_CASE("NCCL: tensors with a wrong layout, type, size or device are refused before anything is queued") {
  on_ranks(2, [](Communicator& ranks) {
    CHECK_THROWS_AS(ranks.all_reduce(Tensor::zeros({2, 3}).transpose(0, 1)), ShapeError);
    CHECK_THROWS_AS(ranks.all_reduce(Tensor::zeros({2}, DType::u8)), DTypeError);
    CHECK_THROWS_AS(ranks.all_gather(Tensor::zeros({3}), {1, 1}), ShapeError);
    CHECK_THROWS_AS(ranks.all_reduce(Tensor::zeros({2}, DType::f32, Device::cuda(1 - ranks.rank()))), DeviceError);
  });
}

TEST_CASE("NCCL: when two ranks start different operations, the error names both") {
  const auto wait = [](const Tensor& x) { x.to_vector<float>(); };
  const auto said = [&](const Rank& f) {
    std::string all;
    for (const std::string& e : errors_of_ranks(2, f)) all += e + "\n";
    return all;
  };
  const std::string counts = said([&](Communicator& ranks) {
    const Tensor x = Tensor::ones({5 + ranks.rank()});
    ranks.all_reduce(x);
    wait(x);
    wait(x);
  });
  CHECK_MESSAGE(counts.find("operation 1: rank 0 calls AllReduce of 5 f32, rank 1 AllReduce of 6 f32") != std::string::npos, counts);
  const std::string types = said([&](Communicator& ranks) {
    const Tensor x = Tensor::ones({5}, ranks.rank() ? DType::f64 : DType::f32);
    ranks.all_reduce(x);
    wait(x);
  });
  CHECK_MESSAGE(types.find("rank 0 calls AllReduce of 5 f32, rank 1 AllReduce of 5 f64") != std::string::npos, types);
  const std::string order = said([&](Communicator& ranks) {
    const Tensor x = Tensor::ones({5}), y = Tensor::ones({5});
    if (ranks.first())
      ranks.all_reduce(x), ranks.broadcast(y, 0);
    else
      ranks.broadcast(y, 0), ranks.all_reduce(x);
    wait(y);
  });
  CHECK_MESSAGE(order.find("rank 0 calls AllReduce of 5 f32, rank 1 Broadcast of 5 f32 (root 0)") != std::string::npos, order);
}

TEST_CASE("NCCL: an operation that another, live rank does not start is reported after the deadline") {
  const auto errors = errors_of_ranks(2,
                                      [](Communicator& ranks) {
                                        const Tensor x = Tensor::ones({5});
                                        if (ranks.first()) ranks.all_reduce(x), x.to_vector<float>();
                                        ranks.barrier();
                                        ranks.check_alive();
                                      },
                                      {.done_within = 0.5});
  const std::string late = "all_reduce of 20 bytes on rank 0 is not done after 0 s while all ranks are alive";
  CHECK_MESSAGE(errors[0].starts_with(late), errors[0]);
  const auto at_the_end = errors_of_ranks(2, [](Communicator& ranks) { if (ranks.first()) ranks.all_reduce(Tensor::ones({5})); }, {.done_within = 0.5});
  CHECK_MESSAGE(at_the_end[0].starts_with(late), at_the_end[0]);
}

TEST_CASE("NCCL: when a rank is lost, waits of the other ranks return, and their later operations throw RankLostError") {
  for (const bool silently : {false, true}) {
    CAPTURE(silently);
    const auto since = std::chrono::steady_clock::now();
    const auto errors = errors_of_ranks(3,
                                        [&](Communicator& ranks) {
                                          if (ranks.rank() == 1 && !silently) throw FileError("no space left");
                                          if (ranks.rank() == 1) {
                                            std::this_thread::sleep_for(std::chrono::milliseconds(300));
                                            return ranks.abandon("it was killed");
                                          }
                                          const Tensor x = Tensor::ones({5});
                                          ranks.all_reduce(x);
                                          x.to_vector<float>();  // waits for the device, and returns although the rank is lost
                                          CHECK_THROWS_AS(ranks.check_alive(), RankLostError);
                                          CHECK_THROWS_AS(ranks.all_reduce(x), RankLostError);
                                          ranks.all_reduce(x);
                                        },
                                        {}, {.lost_after = 2, .beat_every = 0.05});
    for (int r : {0, 2})
      CHECK_MESSAGE(errors[static_cast<std::size_t>(r)] == (silently ? "rank 1 was lost: it was killed" : "rank 1 was lost: no space left"),
                    errors[static_cast<std::size_t>(r)]);
    CHECK(std::chrono::steady_clock::now() - since < std::chrono::seconds(20));
  }
}

TEST_CASE("NCCL: two ranks on one GPU are refused; the error on both names both ranks") {
  std::vector<std::string> errors(2);
  std::vector<std::thread> threads;
  const auto hub = make_thread_hub(2);
  for (int r = 0; r < 2; ++r)
    threads.emplace_back([&, r] {
      try {
        open_nccl(std::make_unique<MessageCommunicator>([&] { return open_thread_channel(hub, r); }), Device::cuda(1));
      } catch (const ConfigError& e) {
        errors[static_cast<std::size_t>(r)] = e.what();
      }
    });
  for (std::thread& t : threads) t.join();
  for (const std::string& e : errors) CHECK_MESSAGE(e.starts_with("ranks 0 and 1 are both on the GPU cuda:1 of "), e);
}

namespace {

struct Net {
  std::vector<Parameter> weights;
  Parameter unused{Tensor::ones({3})};
  Net() {
    for (std::uint64_t i = 0; i < 4; ++i) weights.push_back({random_normal({6, 6}, {.seed = i}) * 0.4});
  }
  Var operator()(Var x) const {
    for (const Parameter& w : weights) x = x + gelu(linear(x, w));
    return mean(square(x));
  }
  std::vector<NamedParameter> parameters() {
    std::vector<NamedParameter> list{{"unused", &unused}};
    for (std::size_t i = 0; i < weights.size(); ++i) list.push_back({"w" + std::to_string(i), &weights[i]});
    return list;
  }
};

struct Trained {
  std::vector<std::vector<double>> weights;
  std::vector<double> losses;
};

// Trains five steps with a batch of 12 on these ranks.
Trained train(Communicator& ranks, bool sharded) {
  Net net, average;
  AdamW optimizer(net.parameters(), {.clip = 0.05});
  optimizer.add_average(average.parameters(), 0.9);
  if (sharded) optimizer.shard(ranks), optimizer.release_averages();
  GradientBuckets buckets(ranks, net.parameters(), optimizer.owners(), 200);
  Trained t;
  const std::int64_t own = 12 / ranks.size();
  for (int step = 0; step < 5; ++step) {
    Tape tape;
    const Var loss = net(random_normal_rows(consecutive(12 * step + own * ranks.rank(), own), {6}, {.seed = 99})) * (1.0 / ranks.size());
    t.losses.push_back(sum_over_ranks(ranks, {loss.value().item()})[0]);
    buckets.begin(nullptr);
    Gradients g = backward(loss, buckets.hook());
    buckets.finish(g);
    optimizer.step(g, {.lr = 1e-3});
  }
  optimizer.gather_averages(-1);
  for (auto& model : {&net, &average})
    for (const NamedParameter& p : model->parameters()) t.weights.push_back(p.parameter->value.to_vector<double>());
  return t;
}

double difference(const std::vector<double>& a, const std::vector<double>& b) {
  double worst = a.size() == b.size() ? 0 : HUGE_VAL;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) worst = std::max(worst, std::fabs(a[i] - b[i]));
  return worst;
}

}  // namespace

TEST_CASE("NCCL: training with gradient buckets and a whole or sharded AdamW gives the losses and weights of one rank") {
  SingleRank alone;
  const Trained wanted = train(alone, false);
  for (int n : {2, 3})
    for (const bool sharded : {false, true})
      on_ranks(n, [&](Communicator& ranks) {
        const Trained found = train(ranks, sharded);
        CHECK(difference(wanted.losses, found.losses) < 1e-6);
        REQUIRE(wanted.weights.size() == found.weights.size());
        for (std::size_t i = 0; i < wanted.weights.size(); ++i) CHECK(difference(wanted.weights[i], found.weights[i]) < 1e-6);
      });
}

// ---- tests of NCCL's stand-in: NCCL used wrongly by hand ------------------------------------------------------------------------------------

namespace {

// Runs f on two ranks, which call NCCL directly, each on its own stream.
void by_hand(const std::function<void(int rank, ncclComm_t comm, cudaStream_t stream)>& f) {
  ncclUniqueId id;
  ncclGetUniqueId(&id);
  std::vector<std::thread> threads;
  for (int r = 0; r < 2; ++r)
    threads.emplace_back([&, r] {
      cuda::use(r);
      ncclComm_t comm = nullptr;
      ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
      CHECK(ncclCommInitRankConfig(&comm, 2, id, r, &config) == ncclSuccess);
      cudaStream_t stream = nullptr;
      cuda::check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
      f(r, comm, stream);
      cudaStreamDestroy(stream);
    });
  for (std::thread& t : threads) t.join();
}

}  // namespace

TEST_CASE("planted: if an event between the streams is missing, sums are wrong under some schedule") {
  // Like the communicator, but without one of the two events.
  const char* schedule = std::getenv("FLOWMAP_HOST_CUDA_SCHEDULE");
  host_cuda::Schedule::current().set("random:5");
  for (const bool before_it : {true, false}) {
    CAPTURE(before_it);
    std::atomic<int> wrong = 0;
    for (int round = 0; round < 12; ++round)
      by_hand([&](int r, ncclComm_t comm, cudaStream_t stream) {
        const DefaultDevice device(Device::cuda(r));
        cudaEvent_t event = nullptr;
        cuda::check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "cudaEventCreateWithFlags");
        const auto wait = [&](cudaStream_t first, cudaStream_t second) {
          cuda::check(cudaEventRecord(event, first), "cudaEventRecord");
          cuda::check(cudaStreamWaitEvent(second, event), "cudaStreamWaitEvent");
        };
        const Tensor x = values(DType::f32, 50, r) * 2.0;
        if (!before_it) wait(cuda::current_stream(), stream);
        CHECK(ncclAllReduce(x.raw(), x.raw(), 50, ncclFloat32, ncclSum, comm, stream) == ncclSuccess);
        if (before_it) wait(stream, cuda::current_stream());
        const Tensor used = x * 0.5;
        wrong += used.to_vector<double>() != sums(DType::f32, 50, 2);
        cuda::check(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
        CHECK(ncclCommDestroy(comm) == ncclSuccess);
        cudaEventDestroy(event);
      });
    CHECK(wrong > 0);
  }
  host_cuda::Schedule::current().set(schedule ? schedule : "ordered");
}

TEST_CASE("planted: NCCL operations on host memory, or after the communicator's end, are errors") {
  by_hand([](int r, ncclComm_t comm, cudaStream_t stream) {
    std::vector<float> host(5);
    CHECK(ncclAllReduce(host.data(), host.data(), 5, ncclFloat32, ncclSum, comm, stream) == ncclSuccess);
    CHECK(cudaStreamSynchronize(stream) != cudaSuccess);
    CHECK(std::string(ncclGetLastError(comm)).find("a buffer is not memory of cuda:" + std::to_string(r)) != std::string::npos);
    ncclResult_t status = ncclSuccess;
    CHECK((ncclCommGetAsyncError(comm, &status) == ncclSuccess && status == ncclInternalError));
    CHECK(ncclCommAbort(comm) == ncclSuccess);
    CHECK(ncclAllReduce(host.data(), host.data(), 5, ncclFloat32, ncclSum, comm, stream) == ncclInvalidArgument);
  });
}
