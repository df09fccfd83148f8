#include "src/api/handle.h"

#include <fmt/core.h>

#include <deque>

namespace comity::api {
namespace {

std::mutex handles_mutex;
std::deque<comityComm>& handles() {
  static std::deque<comityComm>& instance =
      *new std::deque<comityComm>;  // handles outlive static destruction
  return instance;
}

}  // namespace

comityComm_t make_handle(std::unique_ptr<Assembly> assembly, uint32_t rank, uint32_t nranks) {
  const std::lock_guard lock(handles_mutex);
  comityComm& comm = handles().emplace_back();
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
  if (comm->state.load(std::memory_order_acquire) != comityComm::kLive) {
    return Status(
        Code::kInvalidArgument,
        fmt::format("{}: the communicator of rank {} was destroyed or aborted before", function, comm->rank));
  }
  return {};
}

Status InCall::why(const char* function) const {
  if (!alive_) {
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
