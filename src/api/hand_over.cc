#include "src/api/hand_over.h"

#include <memory>
#include <utility>
#include <vector>

#include "src/api/errors.h"
#include "src/api/group.h"
#include "src/api/handle.h"
#include "src/api/stream_handle.h"

namespace comity::api {
namespace {

// Not inside a group; this thread waits for what is on streams before, so that the order is kept.
Status run_now(comityComm_t comm, const engine::Call& call, const char* function) {
  const InCall in_call(comm);
  if (!in_call.ok()) return in_call.why(function);
  if (!comm->queue->idle()) [[unlikely]]
    comm->queue->dispatcher().drain(*comm->queue);
  if (Status status = error_of(comm); !status.ok()) return status.in(about(comm, function));
  Status status = comm->assembly->engine().run(call);
  return status.ok() ? status : status.in(about(comm, function));
}

Status enqueue(comityComm_t comm, const engine::Call& call, comityStream_t stream, const char* function) {
  engine::Enqueued one{comm->queue, engine::KeptCall(call), function, {}, nullptr, 0};
  if (stream != nullptr) {
    COMITY_ASSIGN_OR_RETURN(auto its, stream_of(stream, function));
    one.streams.push_back(std::move(its));
  } else {
    one.outcome = comm->behind;
  }
  const InCall in_call(comm);
  if (!in_call.ok()) return in_call.why(function);
  if (Status status = error_of(comm); !status.ok()) return status.in(about(comm, function));
  std::vector<engine::Enqueued> launch;
  launch.push_back(std::move(one));
  const Status taken = comm->queue->dispatcher().enqueue(std::move(launch));
  return taken.ok() ? taken : taken.in(about(comm, function));
}

comityResult_t hand_elsewhere(comityComm_t comm, const engine::Call& call, comityStream_t stream,
                              const char* function, Status checked) {
  if (group_open()) return remember(add_to_group(comm, call, stream, function, std::move(checked)));
  if (checked.ok()) checked = enqueue(comm, call, stream, function);
  if (!checked.ok()) return remember(checked);
  return stream == nullptr ? comityInProgress : comitySuccess;
}

}  // namespace

comityResult_t hand_over(comityComm_t comm, const engine::Call& call, comityStream_t stream,
                         const char* function, Status checked) {
  if (!checked.ok() && !group_open()) return remember(checked);
  if (group_open() || stream != nullptr || !comm->blocking) [[unlikely]]
    return hand_elsewhere(comm, call, stream, function, std::move(checked));
  checked = run_now(comm, call, function);
  return checked.ok() ? comitySuccess : remember(checked);
}

}  // namespace comity::api
