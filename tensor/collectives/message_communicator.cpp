#include "tensor/collectives/message_communicator.h"

#include <algorithm>
#include <numeric>

#include "tensor/collectives/hello.h"
#include "tensor/collectives/message_sums.h"
#include "tensor/collectives/socket.h"

namespace fm {
namespace {

constexpr const char *beat = "beat", *bye = "bye", *gone = "gone";
// Beginnings of notices with a text: this rank ended by an error, left because of a stop request, or received a stop request and has not left yet.
const std::string failed = "failed: ", stopped = "stopped: ", stop_asked = "stop: ";

WatchOptions with_defaults(WatchOptions watch) {
  if (!watch.clock) watch.clock = steady_seconds;
  if (watch.look_every <= 0) watch.look_every = watch.beat_every / 4;
  return watch;
}

void check(const char* op, const Tensor& x, bool sums) {
  if (!x.is_contiguous()) throw ShapeError(std::string(op) + ": the tensor " + to_string(x.shape()) + " is not contiguous");
  if (x.device() != Device{}) throw DeviceError(std::string(op) + ": only tensors on the CPU can be sent in messages between ranks");
  if (sums && x.dtype() != DType::f32 && x.dtype() != DType::f64 && x.dtype() != DType::i64)
    throw DTypeError(std::string(op) + ": only f32, f64 and i64 can be summed, not " + name_of(x.dtype()));
}

void check_counts(const char* op, const Tensor& x, const Communicator::Counts& counts, int ranks) {
  if (static_cast<int>(counts.size()) == ranks && std::accumulate(counts.begin(), counts.end(), std::int64_t{0}) == x.numel()) return;
  throw ShapeError(std::string(op) + ": the counts of " + std::to_string(counts.size()) + " pieces must add up to the tensor " + to_string(x.shape()) +
                   ", with a piece for each of the " + std::to_string(ranks) + " ranks");
}

}  // namespace

MessageCommunicator::MessageCommunicator(Open open, WatchOptions watch) : watch_(with_defaults(std::move(watch))) {
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
  if (!ended_) abandon("it ended without giving a reason");
}

// ---- the thread -------------------------------------------------------------------------------------------------------------------

void MessageCommunicator::serve(const Open& open, std::promise<void>& opened) {
  try {
    channel_ = open();
    rank_ = channel_->rank(), size_ = channel_->size();
    peers_.assign(static_cast<std::size_t>(size_), Peer{watch_.clock(), false});
  } catch (...) {
    opened.set_exception(std::current_exception());
    return;
  }
  opened.set_value();
  const auto nap = std::chrono::duration<double>(watch_.look_every);
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
  else if (!farewell_.empty()) tell_all((ending_ == Ending::stopped ? stopped : failed) + farewell_);
  channel_.reset();
}

void MessageCommunicator::run_job(Job& job) {
  try {
    if (lost_) std::rethrow_exception(lost_);
    tend();
    const double begin = watch_.clock();
    job.run();
    if (*job.op) {
      const std::lock_guard lock(mutex_);
      if (observer_) observer_({job.op, job.bytes, begin, watch_.clock()});
    }
    job.done.set_value();
  } catch (const RankLostError& e) {
    if (!lost_) {
      {
        const std::lock_guard lock(mutex_);
        lost_ = std::current_exception();
      }
      lost_at_ = watch_.clock(), lost_text_ = e.what();
      others_stopped_ = dynamic_cast<const RankStoppedError*>(&e) != nullptr;
      tell_all((others_stopped_ ? stopped : failed) + lost_text_);      // so that ranks that have not noticed the loss report its cause
    }
    if (*job.op) unfinished_.push_back(std::move(job.run));      // keeps its tensors alive: a transport may still write into them
    job.done.set_exception(lost_);
  } catch (...) {
    job.done.set_exception(std::current_exception());
  }
}

// Calls on_lost if the caller has not ended `grace` seconds after a loss. After a stop request it is not called: the ranks leave when they are ready.
void MessageCommunicator::watch_grace() {
  if (!lost_ || others_stopped_ || !watch_.on_lost || watch_.clock() - lost_at_ < watch_.grace) return;
  watch_.on_lost(lost_text_);
  lost_at_ = watch_.clock();
}

// Sends heartbeats, and checks those of the other ranks. Reads the clock once, because a machine may sleep between two readings.
void MessageCommunicator::tend() {
  const double t = watch_.clock();
  if (t - last_beat_ >= watch_.beat_every) {
    // This thread itself was delayed (a stopped process, a sleeping machine): the silence proves nothing about the others.
    if (last_beat_ > 0 && t - last_beat_ > watch_.lost_after / 2)
      for (Peer& p : peers_) p.heard = t;
    last_beat_ = t;
    tell_all(beat);
  }
  tell_of_stop();
  for (const auto& [peer, text] : channel_->notices()) hear(peer, text);
  for (int r = 0; r < size_; ++r) {
    const Peer& p = peers_[static_cast<std::size_t>(r)];
    if (r != rank_ && !p.ended && t - p.heard > watch_.lost_after)
      throw RankLostError("rank " + std::to_string(r) + " was lost: no heartbeat for " + seconds_text(watch_.lost_after));
  }
}

void MessageCommunicator::hear(int r, const std::string& text) {
  Peer& peer = peers_[static_cast<std::size_t>(r)];
  peer.heard = watch_.clock();
  const std::string who = "rank " + std::to_string(r);
  if (text == bye) peer.ended = true;
  else if (text == gone && !peer.ended) throw RankLostError(who + " was lost: its process ended");
  else if (text.starts_with(failed + "rank ")) throw RankLostError(printable(text.substr(failed.size())));
  else if (text.starts_with(failed)) throw RankLostError(who + " was lost: " + printable(text.substr(failed.size())));
  else if (text.starts_with(stopped + "rank ")) throw RankStoppedError(printable(text.substr(stopped.size())));
  else if (text.starts_with(stopped)) throw RankStoppedError(who + " left: " + printable(text.substr(stopped.size())));
  else if (text.starts_with(stop_asked) && !stop_told_) {
    stop_told_ = true;
    if (watch_.stop_heard) watch_.stop_heard(printable(text.substr(stop_asked.size()), 100));
  }
}

void MessageCommunicator::tell_of_stop() {
  if (stop_told_ || !watch_.stop_asked) return;
  const std::string why = watch_.stop_asked();
  if (why.empty()) return;
  stop_told_ = true;
  tell_all(stop_asked + why);
}

void MessageCommunicator::tell_all(const std::string& text) {
  for (int r = 0; r < size_; ++r)
    if (r != rank_ && !peers_[static_cast<std::size_t>(r)].ended) channel_->notify(r, text);
}

void MessageCommunicator::exchange(const std::vector<Message>& sends, const std::vector<Message>& receives) {
  channel_->post(sends, receives);
  while (!channel_->poll(watch_.look_every)) {
    tend();
    for (int r : channel_->waiting_for())      // the goodbye of a rank may arrive before its data
      if (peers_[static_cast<std::size_t>(r)].ended && watch_.clock() - peers_[static_cast<std::size_t>(r)].heard > 5)
        throw RankLostError("rank " + std::to_string(r) + " was lost: it had finished while this one continued");
  }
}

// ---- operations -------------------------------------------------------------------------------------------------------------------

Communicator::Work MessageCommunicator::start(const char* op, std::size_t bytes, std::function<void()> run) {
  Job job{std::move(run), {}, op, bytes};
  Work work = job.done.get_future().share();
  {
    const std::lock_guard lock(mutex_);
    if (ended_) throw Error("a communicator was used after finish() or abandon()");
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
    if (r != rank_) channel_->notify(r, bye);                        // also to ranks that have said goodbye: they wait for this one
  const double since = watch_.clock();
  const auto all_ended = [&] {
    for (int r = 0; r < size_; ++r)
      if (r != rank_ && !peers_[static_cast<std::size_t>(r)].ended) return false;
    return true;
  };
  while (!all_ended() && watch_.clock() - since < 5) {
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

void MessageCommunicator::abandon(const std::string& why, Ending ending) {
  if (ended_) return;
  {
    const std::lock_guard lock(mutex_);
    farewell_ = why, ending_ = ending;
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
