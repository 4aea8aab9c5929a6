// Measures a computation: seconds, arithmetic and memory traffic of each phase, place and operation.
//
//   Profile profile(ModulePath::current());
//   { Tape tape; optimizer.step(backward(loss()), ...); }
//   for (const auto& [key, cost] : profile.costs()) ...
//
// An operation makes its name known by an OpName (memory/allocator.h). Time between two operations counts for the operation around them, or as
// "other" if there is none. So the seconds of all entries add up to the time since the profile began. Without a profile an operation costs one
// branch more.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "tensor/tensor.h"

namespace fm {

struct ProfileKey {
  std::string phase, place, op;
  auto operator<=>(const ProfileKey&) const = default;
};

struct ProfileCost {
  double seconds = 0;
  double flops = 0;  // operations of matrix products and attention; a multiply-add counts as two
  double bytes = 0;  // size of operands and results, each counted once
  std::int64_t calls = 0;

  ProfileCost& operator+=(const ProfileCost& c) {
    seconds += c.seconds, flops += c.flops, bytes += c.bytes, calls += c.calls;
    return *this;
  }
};

// While it lives, it records the work of the thread that made it. A thread can have one Profile at a time.
class Profile {
 public:
  // `place` names the program's current place; it is read whenever an operation begins.
  explicit Profile(const std::string& place);
  ~Profile();
  Profile(const Profile&) = delete;
  Profile& operator=(const Profile&) = delete;

  static Profile* current();
  void enter(const char* op);
  void leave();
  void work(double flops, double bytes);
  const std::map<ProfileKey, ProfileCost>& costs();  // up to now

 private:
  using Clock = std::chrono::steady_clock;
  void account();  // adds the time since the last event to the operation that ran until now
  ProfileCost& here();

  const std::string& place_;
  std::map<ProfileKey, ProfileCost> costs_;
  std::vector<ProfileKey> running_;
  Clock::time_point last_;
};

// While it lives, `name` (a string literal) is the phase of this thread's work. Otherwise the phase is "forward".
class ProfilePhase {
 public:
  explicit ProfilePhase(const char* name);
  ~ProfilePhase();
  ProfilePhase(const ProfilePhase&) = delete;
  ProfilePhase& operator=(const ProfilePhase&) = delete;

 private:
  const char* outer_;
};

// Add to the arithmetic and the memory traffic of the running operation.
void count_work(double flops, double bytes);
void count_traffic(std::initializer_list<const Tensor*> operands_and_results);

// An operation that only the profile sees: its allocations are counted under the outer operation's name.
class ProfiledOp {
 public:
  explicit ProfiledOp(const char* op) {
    if (Profile* p = Profile::current()) p->enter(op);
  }
  ~ProfiledOp() {
    if (Profile* p = Profile::current()) p->leave();
  }
  ProfiledOp(const ProfiledOp&) = delete;
  ProfiledOp& operator=(const ProfiledOp&) = delete;
};

}  // namespace fm
