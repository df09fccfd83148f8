// HandleTable: the small objects behind one kind of handle, which are never freed.
//
// So a handle that is used after its end finds an object marked dead instead of freed memory; all that is
// heavy goes when the handle ends. In a child of fork() each live handle is marked as its parent's.
#pragma once

#include <fmt/core.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <deque>

#include "comity/plugin/result.h"
#include "src/base/fork.h"

namespace comity::api {

enum HandleState : uint32_t {
  kLive = 1,
  kDead = 2,
  kOfParent = 3,
  // Of communicators alone:
  kMaking = 4,
  kBroken = 5,  // could not be made
  kFinalizing = 6,
  kFinalized = 7,
};

// Handle: `magic`, kMagic, `state`, `process`. A constinit object of a namespace, for each kind; `forget`
// is a function that calls leave_to_parent().
template <typename Handle>
class HandleTable {
 public:
  // A new live one; `forget` calls leave_to_parent(). Takes ProcessLock::kHandles.
  Handle& make(void (*forget)()) {
    const std::lock_guard lock(process_lock(ProcessLock::kHandles));
    if (handles_ == nullptr) {
      handles_ = new std::deque<Handle>;
      on_fork_in_child(forget);
    }
    Handle& handle = handles_->emplace_back();
    handle.process = ::getpid();
    return handle;
  }
  void leave_to_parent() {
    if (handles_ == nullptr) return;
    for (Handle& handle : *handles_) {
      if (handle.state.load(std::memory_order_relaxed) != kDead) handle.state.store(kOfParent);
    }
  }

 private:
  std::deque<Handle>* handles_ = nullptr;  // outlives static destruction
};

// Success for a live handle; else what `function` was given instead of a `kind` ("stream"):
// kInvalidArgument, or kInvalidUsage for one that the process has from its parent.
template <typename Handle>
Status check_small_handle(const Handle* handle, const char* kind, const char* function) {
  if (handle == nullptr)
    return Status(Code::kInvalidArgument, fmt::format("{}: the {} is NULL", function, kind));
  if (reinterpret_cast<uintptr_t>(handle) % alignof(Handle) != 0 || handle->magic != Handle::kMagic)
    return Status(Code::kInvalidArgument, fmt::format("{}: this is no {}", function, kind));
  switch (handle->state.load(std::memory_order_acquire)) {
    case kLive:
      return {};
    case kOfParent:
      return Status(Code::kInvalidUsage,
                    fmt::format("{}: the {} belongs to process {}, from which this one, {}, was forked; make "
                                "a new one",
                                function, kind, handle->process, ::getpid()));
    default:
      return Status(Code::kInvalidArgument, fmt::format("{}: the {} was destroyed before", function, kind));
  }
}

}  // namespace comity::api
