#include "src/api/handle.h"

#include <fmt/core.h>
#include <unistd.h>

#include <deque>

#include "src/base/fork.h"

namespace comity::api {
namespace {

// Under ProcessLock::kHandles; null until there is one. Handles outlive static destruction.
constinit std::deque<comityComm>* handles = nullptr;

// In a child of fork().
void leave_handles_to_parent() {
  if (handles == nullptr) return;
  for (comityComm& comm : *handles) {
    uint32_t live = comityComm::kLive;
    comm.state.compare_exchange_strong(live, comityComm::kOfParent);
  }
}

}  // namespace

comityComm_t make_handle(std::unique_ptr<Assembly> assembly, uint32_t rank, uint32_t nranks) {
  const std::lock_guard lock(process_lock(ProcessLock::kHandles));
  if (handles == nullptr) {
    handles = new std::deque<comityComm>;
    on_fork_in_child(leave_handles_to_parent);
  }
  comityComm& comm = handles->emplace_back();
  comm.process = ::getpid();
  comm.rank = rank;
  comm.nranks = nranks;
  comm.assembly = std::move(assembly);
  return &comm;
}

Status check_handle(comityComm_t comm, const char* function) {
  if (comm == nullptr) return Status(Code::kInvalidArgument, fmt::format("{}: comm is NULL", function));
  if (reinterpret_cast<uintptr_t>(comm) % alignof(comityComm) != 0 || comm->magic != comityComm::kMagic) {
    return Status(Code::kInvalidArgument, fmt::format("{}: comm is not a communicator", function));
  }
  switch (comm->state.load(std::memory_order_acquire)) {
    case comityComm::kLive:
      return {};
    case comityComm::kOfParent:
      return Status(
          Code::kInvalidUsage,
          fmt::format("{}: the communicator of rank {} belongs to process {}, from which this one, {}, was "
                      "forked; only that process can use and destroy it. This one may make its own: get a "
                      "new id to it and call comityCommInitRank",
                      function, comm->rank, comm->process, ::getpid()));
    default:
      return Status(Code::kInvalidArgument,
                    fmt::format("{}: the communicator of rank {} was destroyed or aborted before", function,
                                comm->rank));
  }
}

Status InCall::why(const char* function) const {
  if (!alive_) {
    if (comm_->state.load(std::memory_order_acquire) == comityComm::kOfParent)
      return check_handle(comm_, function);
    return Status(Code::kRemoteError,
                  fmt::format("{}: the communicator of rank {} was aborted", function, comm_->rank));
  }
  return Status(
      Code::kInvalidUsage,
      fmt::format("{}: another thread is inside a call on the communicator of rank {}; one thread at a time",
                  function, comm_->rank));
}

Status error_of(comityComm_t comm) {
  if (const control::Verdict* verdict = comm->assembly->session().verdict())
    return Status(verdict->code, verdict->message);
  return comm->assembly->engine().failed() ? comm->assembly->engine().error() : Status();
}

Status error_of_any_thread(comityComm_t comm, const char* function) {
  COMITY_RETURN_IF_ERROR(check_handle(comm, function));
  const std::lock_guard lock(comm->mutex);
  if (comm->assembly != nullptr) return error_of(comm);
  return Status(
      Code::kInvalidArgument,
      fmt::format("{}: the communicator of rank {} was destroyed or aborted before", function, comm->rank));
}

}  // namespace comity::api
