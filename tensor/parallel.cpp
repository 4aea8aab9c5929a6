#include "tensor/parallel.h"

#include <exception>
#include <mutex>
#include <new>
#include <utility>

namespace fm::detail {
namespace {

std::mutex keeping;

std::exception_ptr& held(FirstException& first) { return *std::launder(reinterpret_cast<std::exception_ptr*>(first.exception)); }

}  // namespace

static_assert(sizeof(std::exception_ptr) == sizeof(FirstException::exception) && alignof(std::exception_ptr) <= alignof(FirstException));

void FirstException::keep(std::int64_t i) noexcept {
  const std::lock_guard lock(keeping);
  if (!any) new (exception) std::exception_ptr(std::current_exception());
  else if (i < at) held(*this) = std::current_exception();
  else return;
  at = i;
  any = true;
}

void FirstException::rethrow() {
  const std::exception_ptr one = std::move(held(*this));
  held(*this).~exception_ptr();
  any = false;
  std::rethrow_exception(one);
}

}  // namespace fm::detail
