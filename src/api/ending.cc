// Ending communicators: finalize, destroy, abort.
#include <fmt/core.h>
#include <sched.h>
#include <time.h>

#include <memory>
#include <utility>
#include <vector>

#include "src/api/errors.h"
#include "src/api/group.h"
#include "src/api/guard.h"
#include "src/api/handle.h"
#include "src/api/worker.h"
#include "src/base/clock.h"

namespace comity::api {
namespace {

constexpr int kYields = 1000;  // for whoever is inside a call, before naps
constexpr timespec kNap = {0, 100'000};

Status not_in_group(const char* function) {
  if (!group_open()) return {};
  return Status(Code::kInvalidUsage, fmt::format("{}: not inside a group", function));
}

// Waits for the thread inside a call, if there is one, and keeps others out; then for the handle's worker.
void enter_for_good(comityComm_t comm) {
  for (int tries = 0; comm->in_call.exchange(true, std::memory_order_acq_rel); ++tries) {
    if (tries < kYields)
      sched_yield();
    else
      ::nanosleep(&kNap, nullptr);
  }
  join_worker(comm);
}

// Takes the assembly from the handle, which was entered for good, once no stream uses it.
std::unique_ptr<Assembly> take_assembly(comityComm_t comm) {
  if (comm->queue != nullptr) comm->queue->dispatcher().drain(*comm->queue);
  const std::lock_guard lock(comm->mutex);
  return std::move(comm->assembly);
}

bool is_alive(uint32_t state) {
  return state != kDead && state != kOfParent;
}

void cancel_calls(comityComm_t comm) {
  if (comm->queue == nullptr) return;
  comm->queue->dispatcher().cancel(*comm->queue, Status(Code::kRemoteError, name_of(comm) + " was aborted"));
}

// Ends the handle's life, whatever it does now, and returns that. kDead, kOfParent: somebody else did.
uint32_t end_life(comityComm_t comm) {
  uint32_t state = comm->state.load(std::memory_order_acquire);
  while (is_alive(state)) {
    if (comm->state.compare_exchange_weak(state, kDead)) break;
  }
  return state;
}

Status abort(comityComm_t comm, const char* function) {
  COMITY_RETURN_IF_ERROR(check_exists(comm, function));
  const uint32_t was = end_life(comm);
  if (!is_alive(was)) return check_exists(comm, function);
  if (was == kMaking && comm->split_off) return {};  // the parent's worker gives back what it makes
  comm->cancelled.store(true, std::memory_order_release);
  if (was == kMaking) join_worker(comm);  // it may have come to an assembly just now
  // Declared first: the other ranks hear of it, whatever the thread inside a call is doing. The assembly is
  // nobody else's to take any more.
  if (comm->assembly != nullptr) {
    comm->assembly->engine().abort();
    comm->assembly->session().leave(false);
  }
  cancel_calls(comm);
  enter_for_good(comm);
  cancel_calls(comm);  // what a thread enqueued that was inside until now
  take_assembly(comm).reset();
  return {};
}

// What is still under way behind the caller's back is not waited for.
Status destroy(comityComm_t comm) {
  constexpr const char* kFunction = "comityCommDestroy";
  COMITY_RETURN_IF_ERROR(check_exists(comm, kFunction));
  COMITY_RETURN_IF_ERROR(not_in_group(kFunction));
  const uint32_t state = comm->state.load(std::memory_order_acquire);
  if (state == kMaking || state == kBroken || (state == kFinalizing && !comm->blocking))
    return abort(comm, kFunction);
  if (state == kFinalizing) {
    return Status(Code::kInvalidUsage, fmt::format("{}: another thread is inside comityCommFinalize on {}",
                                                   kFunction, name_of(comm)));
  }
  comm->queue->dispatcher().drain(*comm->queue);  // while it lives, so that an abort can end the wait
  if (!is_alive(end_life(comm))) return check_exists(comm, kFunction);
  enter_for_good(comm);
  const auto assembly = take_assembly(comm);
  Status status = assembly->engine().error();
  if (const control::Verdict* verdict = assembly->session().verdict())
    status = Status(verdict->code, verdict->message);
  assembly->session().leave(true);
  return status.in(about(comm, kFunction));
}

// With the handle finalizing, and nobody else inside a call.
Status finish(comityComm_t comm) {
  comm->queue->dispatcher().drain(*comm->queue);
  Status status = error_of(comm);
  if (status.ok()) {
    const std::vector<control::PairCount> pairs = comm->assembly->engine().pair_counts();
    const uint64_t patience_ms = comm->assembly->configuration().timeout_ms;
    status = comm->assembly->session().finalize(
        pairs, patience_ms == 0 ? Deadline::never() : Deadline::after_ms(patience_ms));
  }
  status = status.in(about(comm, "comityCommFinalize"));
  {
    const std::lock_guard lock(comm->mutex);
    comm->trouble = status;
  }
  uint32_t finalizing = kFinalizing;
  comm->state.compare_exchange_strong(finalizing, kFinalized);
  return status;
}

comityResult_t finalize(comityComm_t comm) {
  constexpr const char* kFunction = "comityCommFinalize";
  if (Status status = check_handle(comm, kFunction); !status.ok()) return remember(status);
  if (Status status = not_in_group(kFunction); !status.ok()) return remember(status);
  const InCall in_call(comm);  // also until the worker is there: an abort waits for both
  uint32_t live = kLive;
  if (!in_call.ok() || !comm->state.compare_exchange_strong(live, kFinalizing))
    return remember(in_call.why(kFunction));
  if (comm->blocking) return remember(finish(comm));
  try {
    start_worker(comm,
                 [comm] { static_cast<void>(guarded(kFunction, [&] { return remember(finish(comm)); })); });
  } catch (...) {
    uint32_t finalizing = kFinalizing;
    comm->state.compare_exchange_strong(finalizing, kLive);
    throw;
  }
  return comityInProgress;
}

}  // namespace
}  // namespace comity::api

using namespace comity;  // NOLINT(google-build-using-namespace): the C functions below are in no namespace

extern "C" comityResult_t comityCommFinalize(comityComm_t comm) {
  return api::guarded("comityCommFinalize", [&] { return api::finalize(comm); });
}

extern "C" comityResult_t comityCommDestroy(comityComm_t comm) {
  return api::guarded("comityCommDestroy", [&] { return api::remember(api::destroy(comm)); });
}

extern "C" comityResult_t comityCommAbort(comityComm_t comm) {
  return api::guarded("comityCommAbort", [&] { return api::remember(api::abort(comm, "comityCommAbort")); });
}
