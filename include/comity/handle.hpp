// What a Communicator and what belongs to it hold: the handle, given back when the last owner goes.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "comity/comity.h"
#include "comity/expected.hpp"

namespace comity {
inline namespace hpp {
namespace detail {

// At one address from its making to its end: inside a group the library writes the handle at the group's end.
class Handle {
 public:
  Handle() = default;
  explicit Handle(comityComm_t comm) : comm_(comm) {}
  ~Handle() {
    if (comm_ != COMITY_COMM_NULL && !aborted_.load()) comityCommDestroy(comm_);
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;

  comityComm_t* address() { return &comm_; }
  comityComm_t comm() const { return comm_; }

  // Any thread. The handle stays, dead: whoever is in a call with it finds out.
  Expected<void> abort() {
    if (aborted_.exchange(true)) return {};
    return checked(comityCommAbort(comm_));
  }
  Expected<void> destroy() {
    if (aborted_.exchange(true)) return {};
    return checked(comityCommDestroy(comm_));
  }

  // Asked for once; -1 if the handle is dead or not made yet.
  int rank() const { return remembered(rank_, comityCommUserRank); }
  int nranks() const { return remembered(nranks_, comityCommCount); }

 private:
  int remembered(std::atomic<int>& kept, comityResult_t (*ask)(comityComm_t, int*)) const {
    int value = kept.load(std::memory_order_relaxed);
    if (value >= 0 || comm_ == COMITY_COMM_NULL) return value;
    if (ask(comm_, &value) != comitySuccess) return -1;
    kept.store(value, std::memory_order_relaxed);
    return value;
  }

  comityComm_t comm_ = COMITY_COMM_NULL;
  std::atomic<bool> aborted_{false};
  mutable std::atomic<int> rank_{-1};
  mutable std::atomic<int> nranks_{-1};
};

// Of this thread's open Groups.
struct GroupState {
  int depth = 0;
  std::optional<Error> refused;               // the first, by this header's own checks
  std::vector<std::shared_ptr<Handle>> made;  // kept until the library has written them
};
inline GroupState& group_state() {
  thread_local GroupState state;
  return state;
}

// An error that this header finds itself. An open group must not be carried out without the call: so the
// library is given one that it refuses, too, by which comityGroupEnd carries out nothing.
inline Error refuse(std::string message) {
  comityBarrier(COMITY_COMM_NULL, nullptr);
  Error error{comityInvalidArgument, std::move(message)};
  GroupState& group = group_state();
  if (group.depth > 0 && !group.refused) group.refused = error;
  return error;
}

}  // namespace detail
}  // namespace hpp
}  // namespace comity
