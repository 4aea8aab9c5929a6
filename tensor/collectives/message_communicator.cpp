#include "tensor/collectives/message_communicator.h"

#include <algorithm>
#include <chrono>
#include <numeric>

namespace fm {
namespace {

constexpr const char *beat = "beat", *bye = "bye", *gone = "gone";
const std::string failed = "failed: ";

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

void check(const char* op, const Tensor& x, bool sums) {
  if (!x.is_contiguous()) throw ShapeError(std::string(op) + ": the tensor " + to_string(x.shape()) + " is not contiguous");
  if (x.device() != Device{}) throw DeviceError(std::string(op) + ": messages between ranks take tensors of the CPU");
  if (sums && x.dtype() != DType::f32 && x.dtype() != DType::f64 && x.dtype() != DType::i64)
    throw DTypeError(std::string(op) + ": sums f32, f64 and i64, not " + name_of(x.dtype()));
}

void check_counts(const char* op, const Tensor& x, const Communicator::Counts& counts, int ranks) {
  if (static_cast<int>(counts.size()) == ranks && std::accumulate(counts.begin(), counts.end(), std::int64_t{0}) == x.numel()) return;
  throw ShapeError(std::string(op) + ": the pieces of " + std::to_string(counts.size()) + " ranks do not make up " + to_string(x.shape()) +
                   " on " + std::to_string(ranks) + " ranks");
}

struct Piece {
  std::byte* data;
  std::size_t bytes;
};

std::vector<Piece> pieces_of(const Tensor& x, const Communicator::Counts& counts) {
  std::vector<Piece> pieces;
  auto* at = static_cast<std::byte*>(x.raw());
  for (std::int64_t n : counts) {
    const std::size_t bytes = static_cast<std::size_t>(n) * size_of(x.dtype());
    pieces.push_back({at, bytes});
    at += bytes;
  }
  return pieces;
}

// out[i] = sum over ranks of parts[r][i], in the order of the ranks. Blocks: the running sums stay in the cache. Of two f32 the sum in double,
// rounded, is the sum in f32.
template <class T, class Sum> void add_parts(const std::vector<const std::byte*>& parts, std::byte* out, std::int64_t n) {
  constexpr std::int64_t block = 1024;
  Sum sums[block];
  T* to = reinterpret_cast<T*>(out);
  const auto part = [&](std::size_t r) { return reinterpret_cast<const T*>(parts[r]); };
  if (parts.size() == 2) {
    const T *x = part(0), *y = part(1);
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) to[i] = x[i] + y[i];
    return;
  }
  for (std::int64_t first = 0; first < n; first += block) {
    const std::int64_t count = std::min(block, n - first);
    std::fill_n(sums, count, Sum(0));
    for (std::size_t r = 0; r < parts.size(); ++r) {
      const T* x = part(r) + first;
#pragma omp simd
      for (std::int64_t i = 0; i < count; ++i) sums[i] += static_cast<Sum>(x[i]);
    }
#pragma omp simd
    for (std::int64_t i = 0; i < count; ++i) to[first + i] = static_cast<T>(sums[i]);
  }
}

void add_parts(DType dtype, const std::vector<const std::byte*>& parts, std::byte* out, std::int64_t n) {
  if (dtype == DType::f32) add_parts<float, double>(parts, out, n);
  else if (dtype == DType::f64) add_parts<double, double>(parts, out, n);
  else add_parts<std::int64_t, std::int64_t>(parts, out, n);
}

}  // namespace

MessageCommunicator::MessageCommunicator(Open open, WatchOptions watch) : watch_(std::move(watch)) {
  std::promise<void> opened;
  auto ready = opened.get_future();
  thread_ = std::thread([this, &open, &opened] { serve(open, opened); });
  try {
    ready.get();
  } catch (...) {
    thread_.join();
    throw;
  }
}

MessageCommunicator::~MessageCommunicator() {
  if (!ended_) abandon("it ended without a word");
}

// ---- the thread -------------------------------------------------------------------------------------------------------------------

void MessageCommunicator::serve(const Open& open, std::promise<void>& opened) {
  try {
    channel_ = open();
    rank_ = channel_->rank(), size_ = channel_->size();
    peers_.assign(static_cast<std::size_t>(size_), Peer{now(), false});
  } catch (...) {
    opened.set_exception(std::current_exception());
    return;
  }
  opened.set_value();
  const auto nap = std::chrono::duration<double>(watch_.beat_every / 4);
  std::unique_lock lock(mutex_);
  while (!stopping_ || !jobs_.empty()) {
    wake_.wait_for(lock, nap, [&] { return stopping_ || !jobs_.empty(); });
    if (!jobs_.empty()) {
      Job job = std::move(jobs_.front());
      jobs_.pop_front();
      lock.unlock();
      run_job(job);
    } else {
      lock.unlock();
      Job nothing{[] {}, {}};
      if (!said_goodbye_) run_job(nothing);
    }
    watch_grace();
    lock.lock();
  }
  if (said_goodbye_) channel_->close();
  else if (!farewell_.empty()) tell_all(failed + farewell_);
  channel_.reset();
}

void MessageCommunicator::run_job(Job& job) {
  try {
    if (lost_) std::rethrow_exception(lost_);
    tend();
    const double begin = now();
    job.run();
    if (*job.op) {
      const std::lock_guard lock(mutex_);
      if (observer_) observer_({job.op, job.bytes, begin, now()});
    }
    job.done.set_value();
  } catch (const RankLostError& e) {
    if (!lost_) {
      {
        const std::lock_guard lock(mutex_);
        lost_ = std::current_exception();
      }
      lost_at_ = now(), lost_text_ = e.what();
      tell_all(failed + lost_text_);      // those who have not noticed hear the cause, not that this rank went next
    }
    unfinished_.push_back(std::move(job.run));      // with its tensors: a transport may still write into them
    job.done.set_exception(lost_);
  } catch (...) {
    job.done.set_exception(std::current_exception());
  }
}

void MessageCommunicator::watch_grace() {
  if (!lost_ || !watch_.on_lost || now() - lost_at_ < watch_.grace) return;
  watch_.on_lost(lost_text_);
  lost_at_ = now();
}

// Signs of life, and who gave none.
void MessageCommunicator::tend() {
  const double t = now();
  if (t - last_beat_ >= watch_.beat_every) {
    // This thread itself was held up (a stopped process, a machine that slept): the silence says nothing of the others.
    if (last_beat_ > 0 && t - last_beat_ > watch_.lost_after / 2)
      for (Peer& p : peers_) p.heard = t;
    last_beat_ = t;
    tell_all(beat);
  }
  for (const auto& [peer, text] : channel_->notices()) hear(peer, text);
  for (int r = 0; r < size_; ++r) {
    const Peer& p = peers_[static_cast<std::size_t>(r)];
    if (r != rank_ && !p.ended && now() - p.heard > watch_.lost_after)
      throw RankLostError("rank " + std::to_string(r) + " was lost: no sign of life for " + std::to_string(static_cast<int>(watch_.lost_after)) +
                          " s");
  }
}

void MessageCommunicator::hear(int r, const std::string& text) {
  Peer& peer = peers_[static_cast<std::size_t>(r)];
  peer.heard = now();
  const std::string who = "rank " + std::to_string(r);
  if (text == bye) peer.ended = true;
  else if (text == gone && !peer.ended) throw RankLostError(who + " was lost: its process ended");
  else if (text.starts_with(failed + "rank ")) throw RankLostError(text.substr(failed.size()));
  else if (text.starts_with(failed)) throw RankLostError(who + " was lost: " + text.substr(failed.size()));
}

void MessageCommunicator::tell_all(const std::string& text) {
  for (int r = 0; r < size_; ++r)
    if (r != rank_ && !peers_[static_cast<std::size_t>(r)].ended) channel_->notify(r, text);
}

void MessageCommunicator::exchange(const std::vector<Message>& sends, const std::vector<Message>& receives) {
  channel_->post(sends, receives);
  while (!channel_->poll(watch_.beat_every / 4)) {
    tend();
    for (int r : channel_->waiting_for())      // its goodbye may overtake its data
      if (peers_[static_cast<std::size_t>(r)].ended && now() - peers_[static_cast<std::size_t>(r)].heard > 5)
        throw RankLostError("rank " + std::to_string(r) + " was lost: it had finished while this one went on");
  }
}

// ---- operations -------------------------------------------------------------------------------------------------------------------

Communicator::Work MessageCommunicator::start(const char* op, std::size_t bytes, std::function<void()> run) {
  Job job{std::move(run), {}, op, bytes};
  Work work = job.done.get_future().share();
  {
    const std::lock_guard lock(mutex_);
    if (ended_) throw Error("a communicator that has ended was asked for more");
    jobs_.push_back(std::move(job));
  }
  wake_.notify_one();
  return work;
}

void MessageCommunicator::reduce_pieces(const Tensor& x, const Counts& counts) {
  const auto pieces = pieces_of(x, counts);
  const Piece own = pieces[static_cast<std::size_t>(rank_)];
  received_.resize(std::max(received_.size(), own.bytes * static_cast<std::size_t>(size_ - 1)));
  std::vector<const std::byte*> parts;
  std::vector<Message> sends, receives;
  std::byte* at = received_.data();
  for (int r = 0; r < size_; ++r) {
    parts.push_back(r == rank_ ? own.data : at);
    if (r == rank_) continue;
    const Piece& theirs = pieces[static_cast<std::size_t>(r)];
    if (theirs.bytes > 0) sends.push_back({r, theirs.data, theirs.bytes});
    if (own.bytes > 0) receives.push_back({r, at, own.bytes});
    at += own.bytes;
  }
  exchange(sends, receives);
  add_parts(x.dtype(), parts, own.data, counts[static_cast<std::size_t>(rank_)]);
}

void MessageCommunicator::gather_pieces(const Tensor& x, const Counts& counts) {
  const auto pieces = pieces_of(x, counts);
  const Piece own = pieces[static_cast<std::size_t>(rank_)];
  std::vector<Message> sends, receives;
  for (int r = 0; r < size_; ++r) {
    if (r == rank_) continue;
    const Piece& theirs = pieces[static_cast<std::size_t>(r)];
    if (own.bytes > 0) sends.push_back({r, own.data, own.bytes});
    if (theirs.bytes > 0) receives.push_back({r, theirs.data, theirs.bytes});
  }
  exchange(sends, receives);
}

Communicator::Work MessageCommunicator::all_reduce_start(const Tensor& x) {
  check("all_reduce", x, true);
  return start("all_reduce", x.bytes(), [this, x] {
    const Counts counts = even_counts(x.numel(), size_);
    reduce_pieces(x, counts);
    gather_pieces(x, counts);
  });
}

Communicator::Work MessageCommunicator::reduce_scatter_start(const Tensor& x, const Counts& counts) {
  check("reduce_scatter", x, true);
  check_counts("reduce_scatter", x, counts, size_);
  return start("reduce_scatter", x.bytes(), [this, x, counts] { reduce_pieces(x, counts); });
}

Communicator::Work MessageCommunicator::all_gather_start(const Tensor& x, const Counts& counts) {
  check("all_gather", x, false);
  check_counts("all_gather", x, counts, size_);
  return start("all_gather", x.bytes(), [this, x, counts] { gather_pieces(x, counts); });
}

Communicator::Work MessageCommunicator::broadcast_start(const Tensor& x, int root) {
  check("broadcast", x, false);
  return start("broadcast", x.bytes(), [this, x, root] {
    std::vector<Message> sends, receives;
    if (rank_ != root) receives.push_back({root, x.raw(), x.bytes()});
    for (int r = 0; r < size_ && rank_ == root; ++r)
      if (r != root) sends.push_back({r, x.raw(), x.bytes()});
    if (x.bytes() > 0) exchange(sends, receives);
  });
}

Communicator::Work MessageCommunicator::send_start(const Tensor& x, int to) {
  check("send", x, false);
  return start("send", x.bytes(), [this, x, to] {
    if (x.bytes() > 0) exchange({{to, x.raw(), x.bytes()}}, {});
  });
}

Communicator::Work MessageCommunicator::receive_start(const Tensor& x, int from) {
  check("receive", x, false);
  return start("receive", x.bytes(), [this, x, from] {
    if (x.bytes() > 0) exchange({}, {{from, x.raw(), x.bytes()}});
  });
}

void MessageCommunicator::check_alive() const {
  const std::lock_guard lock(mutex_);
  if (lost_) std::rethrow_exception(lost_);
}

void MessageCommunicator::observe(std::function<void(const Span&)> observer) {
  const std::lock_guard lock(mutex_);
  observer_ = std::move(observer);
}

// ---- endings ----------------------------------------------------------------------------------------------------------------------

void MessageCommunicator::say_goodbye() {
  for (int r = 0; r < size_; ++r)
    if (r != rank_) channel_->notify(r, bye);                        // also to those who said so first: they wait for it
  const double since = now();
  const auto all_ended = [&] {
    for (int r = 0; r < size_; ++r)
      if (r != rank_ && !peers_[static_cast<std::size_t>(r)].ended) return false;
    return true;
  };
  while (!all_ended() && now() - since < 5) {
    channel_->poll(0.002);
    for (const auto& [peer, text] : channel_->notices())
      if (text == bye || text == gone) peers_[static_cast<std::size_t>(peer)].ended = true;
  }
  said_goodbye_ = true;
}

void MessageCommunicator::finish() {
  if (ended_) return;
  barrier();
  start("goodbye", 0, [this] { say_goodbye(); }).get();
  stop();
}

void MessageCommunicator::abandon(const std::string& why) {
  if (ended_) return;
  {
    const std::lock_guard lock(mutex_);
    farewell_ = why;
  }
  stop();
}

void MessageCommunicator::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = ended_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

}  // namespace fm
