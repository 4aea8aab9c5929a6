#include "tensor/collectives/nccl.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <numeric>
#include <thread>
#include <utility>

#include "tensor/collectives/nccl_calls.h"
#include "tensor/kernels/cuda/runtime.h"

namespace fm {
namespace {

using namespace std::chrono_literals;
using cuda::check;
using namespace nccl;

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

bool all_equal(const Communicator::Counts& counts) {
  return std::all_of(counts.begin(), counts.end(), [&](std::int64_t n) { return n == counts.front(); });
}

class NcclCommunicator : public Communicator {
 public:
  NcclCommunicator(std::unique_ptr<Communicator> control, Device device, const NcclOptions& options)
      : control_(std::move(control)), device_(device), options_(options) {
    require_device(device);
    cuda::use(device.index);
    refuse_shared_gpus(*control_, device);
    ncclUniqueId id;
    const std::string bytes = share_nccl_id(*control_);
    std::memcpy(id.internal, bytes.data(), sizeof id.internal);
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
    asked_ = take_event();
    try {
      std::unique_lock lock(mutex_);
      // Calls that do not block can be aborted if a rank is lost meanwhile.
      ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
      config.blocking = 0;
      settle(lock, ncclCommInitRankConfig(&comm_, size(), id, rank(), &config), "ncclCommInitRankConfig", options.start_within);
    } catch (const std::exception& e) {
      abort_nccl();
      control_->abandon(e.what(), dynamic_cast<const RankStoppedError*>(&e) ? Ending::stopped : Ending::failed);
      throw;
    }
    watchdog_ = std::thread([this] { watch(); });
  }
  ~NcclCommunicator() override {
    end_watch();
    abort_nccl();
    release();
  }

  int rank() const override { return control_->rank(); }
  int size() const override { return control_->size(); }

  Work all_reduce_start(const Tensor& x) override {
    if (!x.device().is_cuda()) return control_->all_reduce_start(x);
    return start("all_reduce", x, true,
                 [&] { return ncclAllReduce(x.raw(), x.raw(), count(x), type_of(x.dtype()), ncclSum, comm_, stream_); });
  }
  Work reduce_scatter_start(const Tensor& x, const Counts& counts) override {
    if (!x.device().is_cuda()) return control_->reduce_scatter_start(x, counts);
    check_counts("reduce_scatter", x, counts);
    return start("reduce_scatter", x, true, [&] {
      if (all_equal(counts))
        return ncclReduceScatter(x.raw(), own_piece(x, counts), own_count(counts), type_of(x.dtype()), ncclSum, comm_, stream_);
      return for_each_piece(
          x, counts, [&](int r, void* at, std::size_t n) { return ncclReduce(at, at, n, type_of(x.dtype()), ncclSum, r, comm_, stream_); });
    });
  }
  Work all_gather_start(const Tensor& x, const Counts& counts) override {
    if (!x.device().is_cuda()) return control_->all_gather_start(x, counts);
    check_counts("all_gather", x, counts);
    return start("all_gather", x, false, [&] {
      if (all_equal(counts)) return ncclAllGather(own_piece(x, counts), x.raw(), own_count(counts), type_of(x.dtype()), comm_, stream_);
      return for_each_piece(
          x, counts, [&](int r, void* at, std::size_t n) { return ncclBroadcast(at, at, n, type_of(x.dtype()), r, comm_, stream_); });
    });
  }
  Work broadcast_start(const Tensor& x, int root) override {
    if (!x.device().is_cuda()) return control_->broadcast_start(x, root);
    return start("broadcast", x, false,
                 [&] { return ncclBroadcast(x.raw(), x.raw(), count(x), type_of(x.dtype()), root, comm_, stream_); });
  }
  Work send_start(const Tensor& x, int to) override {
    if (!x.device().is_cuda()) return control_->send_start(x, to);
    return start("send", x, false, [&] { return ncclSend(x.raw(), count(x), type_of(x.dtype()), to, comm_, stream_); });
  }
  Work receive_start(const Tensor& x, int from) override {
    if (!x.device().is_cuda()) return control_->receive_start(x, from);
    return start("receive", x, false, [&] { return ncclRecv(x.raw(), count(x), type_of(x.dtype()), from, comm_, stream_); });
  }

  void check_alive() const override {
    control_->check_alive();
    const std::lock_guard lock(mutex_);
    if (failure_) std::rethrow_exception(failure_);
  }
  void observe(std::function<void(const Span&)> observer) override;
  void finish() override;
  using Communicator::abandon;
  void abandon(const std::string& why, Ending ending) override {
    end_watch();
    abort_nccl();
    control_->abandon(why, ending);
  }

 private:
  struct Operation {
    const char* op;
    std::size_t bytes;
    Tensor x;      // kept until the compute stream waits for `done`, or `done` has occurred
    double asked;  // seconds on the steady clock
    cudaEvent_t done = nullptr;
    cudaEvent_t begin = nullptr, end = nullptr;  // with times, if an observer is set
  };

  static std::size_t count(const Tensor& x) { return static_cast<std::size_t>(x.numel()); }
  std::size_t own_count(const Counts& counts) const { return static_cast<std::size_t>(counts[static_cast<std::size_t>(rank())]); }
  void* own_piece(const Tensor& x, const Counts& counts) const {
    const auto before = std::accumulate(counts.begin(), counts.begin() + rank(), std::int64_t{0});
    return static_cast<std::byte*>(x.raw()) + static_cast<std::size_t>(before) * size_of(x.dtype());
  }
  void check_tensor(const char* op, const Tensor& x, bool sums) const;
  void check_counts(const char* op, const Tensor& x, const Counts& counts) const;

  template <class Call>
  Work start(const char* op, const Tensor& x, bool sums, const Call& call);
  void let_go(Operation& operation);
  void let_go_of_finished();
  void wait_for_all(std::unique_lock<std::mutex>& lock);
  void settle(std::unique_lock<std::mutex>& lock, ncclResult_t status, const char* call, double seconds);
  void watch();
  void look_for_failure();
  void end_watch();
  void abort_nccl();
  void release();
  cudaEvent_t take_event();
  static cudaEvent_t timed_event(cudaStream_t stream);

  std::unique_ptr<Communicator> control_;
  Device device_;
  NcclOptions options_;
  cudaStream_t stream_ = nullptr;
  cudaEvent_t asked_ = nullptr;  // the compute stream's position when the last operation was requested

  mutable std::mutex mutex_;  // guards all members below
  std::condition_variable wake_;
  ncclComm_t comm_ = nullptr;   // null after its end
  std::exception_ptr failure_;  // if set, every operation throws it
  std::deque<std::shared_ptr<Operation>> under_way_;
  std::vector<cudaEvent_t> idle_events_;
  std::function<void(const Span&)> observer_;
  cudaEvent_t origin_ = nullptr;  // the zero of event times, recorded at `origin_time_` on the steady clock
  double origin_time_ = 0;
  bool stopping_ = false, finished_ = false;
  std::thread watchdog_;
};

void NcclCommunicator::check_tensor(const char* op, const Tensor& x, bool sums) const {
  const std::string what = std::string(op) + ": ";
  if (x.device() != device_)
    throw DeviceError(what + "the tensor is on " + to_string(x.device()) + ", this rank communicates from " + to_string(device_));
  if (!x.is_contiguous()) throw ShapeError(what + "the tensor " + to_string(x.shape()) + " is not contiguous");
  if (sums && (x.dtype() == DType::u8 || x.dtype() == DType::i32))
    throw DTypeError(what + "only f32, f64, bf16 and i64 can be summed, not " + name_of(x.dtype()));
}

void NcclCommunicator::check_counts(const char* op, const Tensor& x, const Counts& counts) const {
  if (static_cast<int>(counts.size()) == size() && std::accumulate(counts.begin(), counts.end(), std::int64_t{0}) == x.numel()) return;
  throw ShapeError(std::string(op) + ": the counts of " + std::to_string(counts.size()) + " pieces must add up to the tensor " + to_string(x.shape()) +
                   ", with a piece for each of the " + std::to_string(size()) + " ranks");
}

// ---- operations -------------------------------------------------------------------------------------------------------------------

template <class Call>
Communicator::Work NcclCommunicator::start(const char* op, const Tensor& x, bool sums, const Call& call) {
  check_tensor(op, x, sums);
  auto operation = std::make_shared<Operation>(Operation{op, x.bytes(), x, now()});
  std::unique_lock lock(mutex_);
  if (failure_) std::rethrow_exception(failure_);
  if (!comm_) throw Error("a communicator was used after finish() or abandon()");
  cuda::use(device_.index);
  if (x.numel() > 0) {
    check(cudaEventRecord(asked_, cuda::current_stream()), "cudaEventRecord");
    check(cudaStreamWaitEvent(stream_, asked_), "cudaStreamWaitEvent");
    if (observer_) operation->begin = timed_event(stream_);
    settle(lock, call(), op, options_.done_within);
    if (observer_) operation->end = timed_event(stream_);
  }
  operation->done = take_event();
  check(cudaEventRecord(operation->done, stream_), "cudaEventRecord");
  under_way_.push_back(operation);
  const auto wait = [this, operation] {
    const std::lock_guard own(mutex_);
    if (failure_) std::rethrow_exception(failure_);
    if (!operation->done) return;  // it finished long ago
    cuda::use(device_.index);
    check(cudaStreamWaitEvent(cuda::current_stream(), operation->done), "cudaStreamWaitEvent");
    operation->x = Tensor();  // safe: the compute stream runs the next use of this memory later
  };
  return std::async(std::launch::deferred, wait).share();
}

void NcclCommunicator::let_go(Operation& operation) {
  operation.x = Tensor();
  idle_events_.push_back(std::exchange(operation.done, nullptr));
  if (!operation.begin || !operation.end) return;
  float begin = 0, end = 0;
  check(cudaEventElapsedTime(&begin, origin_, operation.begin), "cudaEventElapsedTime");
  check(cudaEventElapsedTime(&end, origin_, operation.end), "cudaEventElapsedTime");
  for (cudaEvent_t e : {operation.begin, operation.end}) check(cudaEventDestroy(e), "cudaEventDestroy");
  if (observer_) observer_({operation.op, operation.bytes, origin_time_ + begin * 1e-3, origin_time_ + end * 1e-3});
}

// Releases finished operations. They finish in order, because they run on one stream.
void NcclCommunicator::let_go_of_finished() {
  for (; !under_way_.empty(); under_way_.pop_front()) {
    const cudaError_t status = cudaEventQuery(under_way_.front()->done);
    if (status == cudaErrorNotReady) return;
    check(status, "cudaEventQuery");
    let_go(*under_way_.front());
  }
}

cudaEvent_t NcclCommunicator::take_event() {
  cudaEvent_t event = nullptr;
  if (idle_events_.empty()) {
    check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "cudaEventCreateWithFlags");
  } else {
    event = idle_events_.back();
    idle_events_.pop_back();
  }
  return event;
}

cudaEvent_t NcclCommunicator::timed_event(cudaStream_t stream) {
  cudaEvent_t event = nullptr;
  check(cudaEventCreateWithFlags(&event, cudaEventDefault), "cudaEventCreateWithFlags");
  check(cudaEventRecord(event, stream), "cudaEventRecord");
  return event;
}

// Waits until all requested operations are done. Unlocks meanwhile: if an operation never finishes, the watchdog can abort NCCL, which ends this wait.
void NcclCommunicator::wait_for_all(std::unique_lock<std::mutex>& lock) {
  cuda::use(device_.index);
  lock.unlock();
  check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
  lock.lock();
  if (failure_) std::rethrow_exception(failure_);
  let_go_of_finished();
}

void NcclCommunicator::observe(std::function<void(const Span&)> observer) {
  {
    std::unique_lock lock(mutex_);
    wait_for_all(lock);
    if (origin_) check(cudaEventDestroy(std::exchange(origin_, nullptr)), "cudaEventDestroy");
    if (observer) {
      origin_ = timed_event(stream_);
      check(cudaEventSynchronize(origin_), "cudaEventSynchronize");
      origin_time_ = now();
    }
    observer_ = observer;
  }
  control_->observe(std::move(observer));
}

// Waits until NCCL has finished its work on the host. Its calls do not block, so this wait can be aborted.
void NcclCommunicator::settle(std::unique_lock<std::mutex>& lock, ncclResult_t status, const char* call, double seconds) {
  const double begin = now();
  while (status == ncclInProgress) {
    if (now() - begin > 1e-4) wake_.wait_for(lock, 100us);
    if (failure_) std::rethrow_exception(failure_);
    control_->check_alive();
    if (const std::string why = !watchdog_.joinable() && options_.stop_asked ? options_.stop_asked() : ""; !why.empty())
      throw RankStoppedError("stopped by " + why + " before the GPUs of all ranks had found each other; no work was begun");
    if (now() - begin > seconds)
      throw DeviceError(std::string(call) + ": the GPUs of " + std::to_string(size()) + " ranks did not find each other within " +
                        std::to_string(static_cast<int>(seconds)) + " s, while all ranks are alive (NCCL_DEBUG=INFO prints more)");
    if (ncclResult_t asked = ncclCommGetAsyncError(comm_, &status); asked != ncclSuccess) status = asked;
  }
  if (status != ncclSuccess) throw DeviceError(std::string(call) + ": " + reason(status, comm_));
}

// ---- ranks that are lost ------------------------------------------------------------------------------------------------------------

void NcclCommunicator::watch() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    wake_.wait_for(lock, 50ms, [this] { return stopping_; });
    if (stopping_ || failure_ || !comm_) continue;
    try {
      look_for_failure();
    } catch (...) {
      failure_ = std::current_exception();
      lock.unlock();
      abort_nccl();  // else this rank's GPU waits forever
      lock.lock();
    }
  }
}

void NcclCommunicator::look_for_failure() {
  control_->check_alive();
  cuda::use(device_.index);
  let_go_of_finished();
  ncclResult_t status = ncclSuccess;
  if (const ncclResult_t asked = ncclCommGetAsyncError(comm_, &status); asked != ncclSuccess) status = asked;
  if (status == ncclRemoteError) throw RankLostError("another rank's GPU cannot be reached: " + reason(status, comm_));
  if (status != ncclSuccess && status != ncclInProgress)
    throw DeviceError("NCCL on rank " + std::to_string(rank()) + ": " + reason(status, comm_));
  if (!under_way_.empty() && now() - under_way_.front()->asked > options_.done_within)
    throw DeviceError(std::string(under_way_.front()->op) + " of " + std::to_string(under_way_.front()->bytes) + " bytes on rank " +
                      std::to_string(rank()) + " is not done after " + std::to_string(static_cast<int>(options_.done_within)) +
                      " s while all ranks are alive: do all request the same operations?");
}

void NcclCommunicator::end_watch() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (watchdog_.joinable()) watchdog_.join();
}

void NcclCommunicator::abort_nccl() {
  ncclComm_t comm = nullptr;
  {
    const std::lock_guard lock(mutex_);
    comm = std::exchange(comm_, nullptr);
  }
  if (comm) ncclCommAbort(comm);  // its result does not matter any more
}

// Destroys streams and events when nothing on the GPU uses them any more.
void NcclCommunicator::release() {
  if (cudaSetDevice(device_.index) != cudaSuccess || cudaDeviceSynchronize() != cudaSuccess) return;
  for (const auto& operation : under_way_)
    for (cudaEvent_t e : {operation->begin, operation->end})
      if (e) cudaEventDestroy(e);
  for (const auto& operation : under_way_) idle_events_.push_back(std::exchange(operation->done, nullptr));
  for (cudaEvent_t e : idle_events_) cudaEventDestroy(e);
  for (cudaEvent_t e : {asked_, origin_})
    if (e) cudaEventDestroy(e);
  cudaStreamDestroy(stream_);
}

void NcclCommunicator::finish() {
  if (finished_) return;
  finished_ = true;
  control_->barrier();
  {
    std::unique_lock lock(mutex_);
    wait_for_all(lock);
  }
  end_watch();
  {
    std::unique_lock lock(mutex_);
    if (failure_) std::rethrow_exception(failure_);
    settle(lock, ncclCommFinalize(comm_), "ncclCommFinalize", options_.done_within);
    ncclCommDestroy(std::exchange(comm_, nullptr));
  }
  control_->finish();
}

}  // namespace

std::unique_ptr<Communicator> open_nccl(std::unique_ptr<Communicator> control, Device device, const NcclOptions& options) {
  return std::make_unique<NcclCommunicator>(std::move(control), device, options);
}

}  // namespace fm
