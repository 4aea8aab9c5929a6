// Gradients that are sent during the backward pass: each is reported once, when it is final; sums over ranks equal the gradients of the whole
// batch; the sharded optimizer has the same results as the unsharded one.
#include "nn/optim/gradient_buckets.h"

#include <doctest/doctest.h>

#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "autodiff/recompute.h"
#include "autodiff/rules/elementwise.h"
#include "autodiff/rules/linear.h"
#include "autodiff/rules/matmul.h"
#include "autodiff/rules/norm.h"
#include "autodiff/rules/recomputed.h"
#include "nn/optim/shards.h"
#include "tensor/collectives/threads.h"
#include "tensor/random/fill.h"

using namespace fm;

namespace {

// Layers that share a scale. A part of one layer is recomputed in the backward pass. `unused` never has a gradient.
struct Net {
  std::vector<Parameter> weights, norms;
  Parameter scale, unused;
  bool again = false;

  Net() : scale{Tensor::ones({6})}, unused{Tensor::ones({3})} {
    for (std::uint64_t i = 0; i < 5; ++i) weights.push_back({random_normal({6, 6}, {.seed = i}) * 0.4}), norms.push_back({Tensor::ones({6})});
  }
  Var layer(std::size_t i, const Var& x) const {
    const auto normed = [this, i](const std::vector<Var>& v) { return rms_norm(v[0], norms[i], 1e-6); };
    return x + linear(Recomputed{normed, {x}}, weights[i]) * scale;
  }
  Var operator()(Var x) const {
    for (std::size_t i = 0; i < weights.size(); ++i)
      x = again ? recompute([this, i](const Var& h) { return layer(i, h); }, x) : layer(i, x);
    return mean(square(x));
  }
  std::vector<NamedParameter> parameters() {
    std::vector<NamedParameter> list{{"scale", &scale}, {"unused", &unused}};
    for (std::size_t i = 0; i < weights.size(); ++i) {
      list.push_back({"w" + std::to_string(i), &weights[i]});
      list.push_back({"n" + std::to_string(i), &norms[i]});
    }
    return list;
  }
};

Tensor rows(std::int64_t first, std::int64_t count) { return random_normal_rows(consecutive(first, count), {6}, {.seed = 99}); }

std::vector<double> numbers(const Tensor& t) { return t.defined() ? t.to_vector<double>() : std::vector<double>{}; }

double difference(const Tensor& a, const Tensor& b) {
  const auto x = numbers(a), y = numbers(b);
  if (x.size() != y.size()) return HUGE_VAL;
  double worst = 0;
  for (std::size_t i = 0; i < x.size(); ++i) worst = std::max(worst, std::fabs(x[i] - y[i]));
  return worst;
}

}  // namespace

TEST_CASE("each gradient is passed on once, when it is final, from the last layer on; recomputed gradients too") {
  for (const bool again : {false, true}) {
    CAPTURE(again);
    Net net;
    net.again = again;
    std::vector<const Parameter*> order;
    std::vector<Tensor> seen;
    Tape tape;
    const Gradients all = backward(net(rows(0, 4)), [&](const Parameter& p, Tensor& g) {
      order.push_back(&p);
      seen.push_back(g.clone());
    });
    CHECK(std::set<const Parameter*>(order.begin(), order.end()).size() == order.size());
    CHECK(order.size() == 11);
    for (std::size_t i = 0; i < order.size(); ++i) CHECK(numbers(all[*order[i]]) == numbers(seen[i]));
    const auto at = [&](const Parameter& p) { return std::find(order.begin(), order.end(), &p) - order.begin(); };
    for (std::size_t i = 1; i < 5; ++i) CHECK(at(net.weights[i]) < at(net.weights[i - 1]));
    CHECK(at(net.weights[1]) < at(net.scale));                     // the scale is final last, because every layer uses it
    CHECK(!all[net.unused].defined());
    Net same;
    same.again = again;
    Tape other;
    const Gradients plain = backward(same(rows(0, 4)));
    for (std::size_t i = 0; i < 5; ++i) CHECK(numbers(plain[same.weights[i]]) == numbers(all[net.weights[i]]));
  }
}

TEST_CASE("sums over ranks equal the whole batch's gradient, with micro-batches, small and large buckets, at every step") {
  Net whole;
  Tape tape;
  const Gradients wanted = backward(whole(rows(0, 12)));
  for (int n : {1, 2, 3})
    for (std::int64_t bytes : {1, 200, 1 << 20})
      for (std::int64_t parts : {1, 2})
        run_ranks(n, [&](Communicator& ranks) {
          Net net;
          GradientBuckets buckets(ranks, net.parameters(), {}, bytes);
          for (int step = 0; step < 3; ++step) {
            const std::int64_t count = 12 / n / parts;
            Gradients total;
            for (std::int64_t k = 0; k < parts; ++k) {
              Tape own;
              const Var loss = net(rows((ranks.rank() * parts + k) * count, count)) * (static_cast<double>(count) / 12);
              if (k + 1 < parts) {
                total = backward(loss);
                continue;
              }
              buckets.begin(parts > 1 ? &total : nullptr);
              Gradients g = backward(loss, buckets.hook());
              buckets.finish(g);
              total = std::move(g);
            }
            for (const NamedParameter& own : net.parameters()) {
              const std::string& name = own.name;
              const std::size_t i = name.size() == 2 ? static_cast<std::size_t>(name[1] - '0') : 0;
              const Tensor& g = wanted[name == "scale" ? whole.scale : name == "unused" ? whole.unused : name[0] == 'w' ? whole.weights[i] : whole.norms[i]];
              CHECK(g.defined() == total[*own.parameter].defined());
              CHECK(difference(g, total[*own.parameter]) < 1e-6);
            }
          }
        });
}

TEST_CASE("buckets are sent in reverse parameter order at first, then in the order of rank 0's gradients") {
  run_ranks(2, [&](Communicator& ranks) {
    // `early` is the last parameter, but is used first, so its gradient is final last.
    Parameter late{Tensor::ones({4})}, early{Tensor::ones({4, 6})};
    GradientBuckets buckets(ranks, {{"late", &late}, {"early", &early}}, {}, 1);
    CHECK(buckets.count() == 2);
    struct Sent {                                                    // the communicator writes it on its own thread
      std::mutex mutex;
      std::vector<std::size_t> bytes;
    };
    const auto sent = std::make_shared<Sent>();
    ranks.observe([sent](const Communicator::Span& span) {
      const std::lock_guard lock(sent->mutex);
      if (std::string(span.op) == "all_reduce" && span.bytes > 8) sent->bytes.push_back(span.bytes);      // messages of 8 bytes are the flags of parameters that have gradients
    });
    for (int step = 0; step < 3; ++step) {
      Tape tape;
      const Var h = linear(Var(rows(0, 4)), early);
      const Var loss = mean(square(h * late));
      buckets.begin(nullptr);
      Gradients g = backward(loss, buckets.hook());
      buckets.finish(g);
    }
    ranks.barrier();
    ranks.observe({});
    const std::lock_guard lock(sent->mutex);
    CHECK(sent->bytes == std::vector<std::size_t>{96, 16, 16, 96, 16, 96});
  });
}

TEST_CASE("balanced_owners divides the total size evenly") {
  const auto owners = balanced_owners({100, 1, 50, 49, 2, 98}, 3);
  std::vector<int> load(3, 0);
  const std::vector<int> sizes{100, 1, 50, 49, 2, 98};
  for (std::size_t i = 0; i < sizes.size(); ++i) load[static_cast<std::size_t>(owners[i])] += sizes[i];
  for (int l : load) CHECK(l == 100);
}

TEST_CASE("a sharded optimizer gives the same weights, averages and norms bit for bit, with a part of the memory") {
  std::vector<std::vector<double>> wanted;
  for (const bool sharded : {false, true})
    run_ranks(3, [&](Communicator& ranks) {
      Net net, average;
      for (const NamedParameter& own : average.parameters()) own.parameter->value = own.parameter->value.clone();
      AdamW optimizer(net.parameters(), {.clip = 0.05});
      optimizer.add_average(average.parameters(), 0.9);
      if (sharded) optimizer.shard(ranks), optimizer.release_averages();
      GradientBuckets buckets(ranks, net.parameters(), optimizer.owners(), 300);
      std::vector<double> norms;
      for (int step = 0; step < 4; ++step) {
        Tape tape;
        const Var loss = net(rows(12 * step + 4 * ranks.rank(), 4)) * (1.0 / 3);
        buckets.begin(nullptr);
        Gradients g = backward(loss, buckets.hook());
        buckets.finish(g);
        norms.push_back(optimizer.step(g, {.lr = 1e-2}).gradient_norm.value());
      }
      if (sharded) {
        std::int64_t kept = 0, all = 0;
        for (const NamedParameter& own : average.parameters()) kept += own.parameter->value.defined() ? own.parameter->value.numel() : 0;
        for (const NamedParameter& own : net.parameters()) all += own.parameter->value.numel();
        CHECK(kept <= all / 3 + 36);
      }
      const NamedTensors state = optimizer.state();
      CHECK(state.size() == 1 + 3 * 11);
      optimizer.gather_averages(-1);
      std::vector<std::vector<double>> got{norms};
      for (const NamedParameter& own : net.parameters()) got.push_back(numbers(own.parameter->value));
      for (const NamedParameter& own : average.parameters()) got.push_back(numbers(own.parameter->value));
      if (!sharded && ranks.first()) wanted = got;
      if (sharded) CHECK(got == wanted);
    });
}

TEST_CASE("share_from_owners copies each tensor from its owner, also for mixed types") {
  for (const int n : {1, 2, 3})
    run_ranks(n, [&](Communicator& ranks) {
      std::vector<Tensor> tensors;
      std::vector<int> owners;
      for (int i = 0; i < 7; ++i) {
        tensors.push_back(Tensor::full({i + 1}, 100 * ranks.rank() + i, i % 2 == 0 ? DType::f32 : DType::bf16));
        owners.push_back(i % n);
      }
      share_from_owners(ranks, tensors, owners);
      for (int i = 0; i < 7; ++i)
        CHECK(tensors[static_cast<std::size_t>(i)].to(DType::f32).to_vector<float>() ==
              Tensor::full({i + 1}, 100 * (i % n) + i, i % 2 == 0 ? DType::f32 : DType::bf16).to(DType::f32).to_vector<float>());
    });
}
