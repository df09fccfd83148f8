#include "src/api/handle.h"

#include <fmt/core.h>
#include <unistd.h>

#include "src/api/stream_handle.h"
#include "src/base/text.h"

namespace comity::api {
namespace {

constinit HandleTable<comityComm> handles;

Status usage(const char* function, comityComm_t comm, const std::string& what) {
  return Status(Code::kInvalidUsage, fmt::format("{}: {} {}", function, name_of(comm), what));
}

std::string why_broken(comityComm_t comm) {
  const std::lock_guard lock(comm->mutex);
  return std::string(comm->trouble.message());
}

}  // namespace

std::string about(comityComm_t comm, const char* function) {
  return about_communicator(function, comm->name);
}

std::string name_of(comityComm_t comm) {
  const std::string name = comm->name.empty() ? "" : fmt::format(" \"{}\"", comm->name);
  if (comm->nranks() == 0)
    return fmt::format("the communicator{} that rank {} splits off", name, comm->rank());
  return fmt::format("the communicator{} of rank {}", name, comm->rank());
}

comityComm_t new_handle(uint32_t rank, uint32_t nranks, const CommConfig& config) {
  comityComm& comm = handles.make([] { handles.leave_to_parent(); });
  comm.rank_ = rank;
  comm.nranks_ = nranks;
  comm.name = config.name;
  comm.blocking = config.blocking;
  if (!comm.blocking) comm.behind = std::make_shared<engine::Outcome>();
  return &comm;
}

comityComm_t new_split_handle(uint32_t parent_rank, const CommConfig& config) {
  comityComm_t comm = new_handle(parent_rank, 0, config);
  comm->split_off = true;
  return comm;
}

bool adopt(comityComm_t comm, std::unique_ptr<Assembly> assembly, const CommConfig& config) {
  auto queue =
      std::make_shared<engine::CallQueue>(dispatcher(), assembly->engine(), config.progress_cpu, config.name);
  {
    const std::lock_guard lock(comm->mutex);
    comm->assembly = std::move(assembly);
    comm->queue = std::move(queue);
  }
  uint32_t making = kMaking;
  return comm->state.compare_exchange_strong(making, kLive);
}

void adopt_split(comityComm_t comm, std::unique_ptr<Assembly> assembly, const CommConfig& config) {
  comm->rank_ = assembly->engine().rank();
  comm->nranks_ = assembly->engine().nranks();
  if (adopt(comm, std::move(assembly), config)) return;
  std::unique_ptr<Assembly> unwanted;
  {
    const std::lock_guard lock(comm->mutex);
    unwanted = std::move(comm->assembly);
  }
  unwanted->engine().abort();
  unwanted->session().leave(false);
}

void set_broken(comityComm_t comm, const Status& why) {
  {
    const std::lock_guard lock(comm->mutex);
    comm->trouble = why;
  }
  uint32_t making = kMaking;
  comm->state.compare_exchange_strong(making, kBroken);
}

comityComm_t make_handle(std::unique_ptr<Assembly> assembly, uint32_t rank, uint32_t nranks,
                         const CommConfig& config) {
  comityComm_t comm = new_handle(rank, nranks, config);
  adopt(comm, std::move(assembly), config);
  return comm;
}

Status check_exists(comityComm_t comm, const char* function) {
  if (comm == nullptr) return Status(Code::kInvalidArgument, fmt::format("{}: comm is NULL", function));
  if (reinterpret_cast<uintptr_t>(comm) % alignof(comityComm) != 0 || comm->magic != comityComm::kMagic) {
    return Status(Code::kInvalidArgument, fmt::format("{}: comm is not a communicator", function));
  }
  switch (comm->state.load(std::memory_order_acquire)) {
    case kOfParent:
      return Status(
          Code::kInvalidUsage,
          fmt::format("{}: {} belongs to process {}, from which this one, {}, was forked; only that process "
                      "can use and destroy it. This one may make its own: get a new id to it and call "
                      "comityCommInitRank",
                      function, name_of(comm), comm->process, ::getpid()));
    case kDead:
      return Status(Code::kInvalidArgument,
                    fmt::format("{}: {} was destroyed or aborted before", function, name_of(comm)));
    default:
      return {};
  }
}

Status check_handle(comityComm_t comm, const char* function) {
  COMITY_RETURN_IF_ERROR(check_exists(comm, function));
  switch (comm->state.load(std::memory_order_acquire)) {
    case kMaking:
      return usage(function, comm, "is not made yet; wait until comityCommGetAsyncError says comitySuccess");
    case kBroken:
      return usage(function, comm, "could not be made: " + why_broken(comm));
    case kFinalizing:
    case kFinalized:
      return usage(function, comm, "is finalized: destroy it");
    default:
      return {};
  }
}

Status InCall::why(const char* function) const {
  if (!alive_) {
    if (comm_->state.load(std::memory_order_acquire) == kDead) {
      return Status(Code::kRemoteError, fmt::format("{}: {} was aborted", function, name_of(comm_)));
    }
    if (Status status = check_handle(comm_, function); !status.ok()) return status;
  }
  return usage(function, comm_,
               "is in use: another thread is inside a call on it, and one thread may be at a time");
}

Status error_of(comityComm_t comm) {
  if (const control::Verdict* verdict = comm->assembly->session().verdict())
    return Status(verdict->code, verdict->message);
  return comm->assembly->engine().failed() ? comm->assembly->engine().error() : Status();
}

Status error_of_any_thread(comityComm_t comm, const char* function) {
  COMITY_RETURN_IF_ERROR(check_exists(comm, function));
  const std::lock_guard lock(comm->mutex);
  if (!comm->trouble.ok()) return comm->trouble;
  if (comm->assembly != nullptr) {
    Status status = error_of(comm);
    if (!status.ok())
      return comm->name.empty() ? status : status.in(fmt::format("communicator \"{}\"", comm->name));
    return comm->behind == nullptr ? Status() : dispatcher().look(*comm->behind).error;
  }
  // Either it is not there yet or not any more.
  return check_exists(comm, function);
}

}  // namespace comity::api
