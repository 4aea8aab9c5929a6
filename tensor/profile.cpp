#include "tensor/profile.h"

#include "tensor/error.h"

namespace fm {
namespace {
thread_local Profile* profile = nullptr;
thread_local const char* phase = "forward";
}  // namespace

Profile::Profile(const std::string& place) : place_(place), last_(Clock::now()) {
  if (profile) throw Error("a Profile records on this thread already: end it before another begins");
  profile = this;
}
Profile::~Profile() { profile = nullptr; }
Profile* Profile::current() { return profile; }

ProfileCost& Profile::here() { return running_.empty() ? costs_[{phase, place_, "other"}] : costs_[running_.back()]; }

void Profile::account() {
  const auto now = Clock::now();
  here().seconds += std::chrono::duration<double>(now - last_).count();
  last_ = now;
}

void Profile::enter(const char* op) {
  account();
  running_.push_back({phase, place_, op});
  ++costs_[running_.back()].calls;
}

void Profile::leave() {
  account();
  if (!running_.empty()) running_.pop_back();  // empty for an operation that began before the profile
}

void Profile::work(double flops, double bytes) {
  ProfileCost& c = here();
  c.flops += flops;
  c.bytes += bytes;
}

const std::map<ProfileKey, ProfileCost>& Profile::costs() {
  account();
  return costs_;
}

ProfilePhase::ProfilePhase(const char* name) : outer_(phase) { phase = name; }
ProfilePhase::~ProfilePhase() { phase = outer_; }

void count_work(double flops, double bytes) {
  if (profile) profile->work(flops, bytes);
}

void count_traffic(std::initializer_list<const Tensor*> tensors) {
  if (!profile) return;
  double bytes = 0;
  for (const Tensor* t : tensors)
    if (t->defined()) bytes += static_cast<double>(t->numel()) * static_cast<double>(size_of(t->dtype()));
  profile->work(0, bytes);
}

}  // namespace fm
