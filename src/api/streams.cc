// Streams and events of the C API.
#include <fmt/core.h>

#include <utility>

#include "src/api/assembly.h"
#include "src/api/errors.h"
#include "src/api/group.h"
#include "src/api/guard.h"
#include "src/api/stream_handle.h"
#include "src/base/settings.h"

namespace comity::api {
namespace {

constinit HandleTable<comityStream> streams;
constinit HandleTable<comityEvent> events;
// Under ProcessLock::kHandles.
constinit OfThisProcess<engine::StreamDispatcher> dispatcher_of_this_process;

Status not_in_group(const char* function) {
  if (!group_open()) return {};
  return Status(Code::kInvalidUsage,
                fmt::format("{}: this thread has a group open, and what it collected is not enqueued before "
                            "comityGroupEnd",
                            function));
}

// Takes the handle's life, and what it holds. False: somebody else did.
template <typename Handle, typename Held>
bool end_handle(Handle& handle, Held Handle::*held) {
  uint32_t live = kLive;
  if (!handle.state.compare_exchange_strong(live, kDead)) return false;
  Held last;
  const std::lock_guard lock(process_lock(ProcessLock::kHandles));
  std::swap(last, handle.*held);
  return true;
}

Status create(comityStream_t* stream, std::shared_ptr<engine::Stream> made) {
  COMITY_ASSIGN_OR_RETURN(const int cpu, progress_cpu());
  dispatcher().start(cpu);
  comityStream& handle = streams.make([] { streams.leave_to_parent(); });
  const std::lock_guard lock(process_lock(ProcessLock::kHandles));
  handle.stream = std::move(made);
  *stream = &handle;
  return {};
}

Status create(comityStream_t* stream) {
  if (stream == nullptr) return Status(Code::kInvalidArgument, "comityStreamCreate: stream is NULL");
  *stream = nullptr;
  return create(stream, std::make_shared<engine::Stream>());
}

Status wrap(comityStream_t* stream, const char* device, void* native) {
  if (stream == nullptr) return Status(Code::kInvalidArgument, "stream is NULL");
  *stream = nullptr;
  COMITY_ASSIGN_OR_RETURN(Device * its, device_named(device));
  COMITY_RETURN_IF_ERROR(its->check_stream(native));
  return create(stream, std::make_shared<engine::Stream>(*its, native));
}

Status synchronize(comityStream_t stream) {
  constexpr const char* kFunction = "comityStreamSynchronize";
  COMITY_ASSIGN_OR_RETURN(const auto its, stream_of(stream, kFunction));
  COMITY_RETURN_IF_ERROR(not_in_group(kFunction));
  dispatcher().await(dispatcher().mark(its));
  return dispatcher().take_error(*its).in(kFunction);
}

Status record(comityEvent_t event, comityStream_t stream) {
  constexpr const char* kFunction = "comityEventRecord";
  COMITY_RETURN_IF_ERROR(check_small_handle(event, "event", kFunction));
  COMITY_ASSIGN_OR_RETURN(const auto its, stream_of(stream, kFunction));
  engine::Mark mark = dispatcher().mark(its);
  const std::lock_guard lock(process_lock(ProcessLock::kHandles));
  std::swap(event->mark, mark);
  return {};
}

comityResult_t state_of(const engine::Mark& mark) {
  return dispatcher().ended(mark) ? comitySuccess : comityInProgress;
}

}  // namespace

engine::StreamDispatcher& dispatcher() {
  const std::lock_guard lock(process_lock(ProcessLock::kHandles));
  return dispatcher_of_this_process.get();
}

Result<int> progress_cpu() {
  if (setting_text("COMITY_PROGRESS_CPU").empty()) return -1;
  COMITY_ASSIGN_OR_RETURN(const uint64_t cpu, setting_number("COMITY_PROGRESS_CPU"));
  return static_cast<int>(cpu);
}

Result<std::shared_ptr<engine::Stream>> stream_of(comityStream_t stream, const char* function) {
  COMITY_RETURN_IF_ERROR(check_small_handle(stream, "stream", function));
  const std::lock_guard lock(process_lock(ProcessLock::kHandles));
  if (stream->stream != nullptr) return stream->stream;
  return check_small_handle(stream, "stream", function);  // it ended just now
}

Result<engine::Mark> mark_of(comityEvent_t event, const char* function) {
  COMITY_RETURN_IF_ERROR(check_small_handle(event, "event", function));
  const std::lock_guard lock(process_lock(ProcessLock::kHandles));
  return event->mark;
}

}  // namespace comity::api

using namespace comity;  // NOLINT(google-build-using-namespace): the C functions below are in no namespace

extern "C" comityResult_t comityStreamCreate(comityStream_t* stream) {
  return api::guarded("comityStreamCreate", [&] { return api::remember(api::create(stream)); });
}

extern "C" comityResult_t comityStreamWrap(comityStream_t* stream, const char* device, void* native) {
  return api::guarded("comityStreamWrap", [&] {
    return api::remember(api::wrap(stream, device, native).in("comityStreamWrap"));
  });
}

extern "C" comityResult_t comityStreamSynchronize(comityStream_t stream) {
  return api::guarded("comityStreamSynchronize", [&] { return api::remember(api::synchronize(stream)); });
}

extern "C" comityResult_t comityStreamQuery(comityStream_t stream) {
  return api::guarded("comityStreamQuery", [&] {
    const auto its = api::stream_of(stream, "comityStreamQuery");
    if (!its.ok()) return api::remember(its.status());
    return api::state_of(api::dispatcher().mark(*its));
  });
}

extern "C" comityResult_t comityStreamDestroy(comityStream_t stream) {
  return api::guarded("comityStreamDestroy", [&]() -> comityResult_t {
    Status status = api::check_small_handle(stream, "stream", "comityStreamDestroy");
    if (status.ok() && !api::end_handle(*stream, &comityStream::stream))
      status = api::check_small_handle(stream, "stream", "comityStreamDestroy");
    return api::remember(status);
  });
}

extern "C" comityResult_t comityStreamWaitEvent(comityStream_t stream, comityEvent_t event) {
  return api::guarded("comityStreamWaitEvent", [&] {
    const auto its = api::stream_of(stream, "comityStreamWaitEvent");
    if (!its.ok()) return api::remember(its.status());
    const auto mark = api::mark_of(event, "comityStreamWaitEvent");
    if (!mark.ok()) return api::remember(mark.status());
    return api::remember(api::dispatcher().hold(*its, *mark).in("comityStreamWaitEvent"));
  });
}

extern "C" comityResult_t comityEventCreate(comityEvent_t* event) {
  return api::guarded("comityEventCreate", [&] {
    if (event == nullptr) return api::remember({Code::kInvalidArgument, "comityEventCreate: event is NULL"});
    *event = &api::events.make([] { api::events.leave_to_parent(); });
    return comitySuccess;
  });
}

extern "C" comityResult_t comityEventRecord(comityEvent_t event, comityStream_t stream) {
  return api::guarded("comityEventRecord", [&] { return api::remember(api::record(event, stream)); });
}

extern "C" comityResult_t comityEventQuery(comityEvent_t event) {
  return api::guarded("comityEventQuery", [&] {
    const auto mark = api::mark_of(event, "comityEventQuery");
    return mark.ok() ? api::state_of(*mark) : api::remember(mark.status());
  });
}

extern "C" comityResult_t comityEventSynchronize(comityEvent_t event) {
  return api::guarded("comityEventSynchronize", [&] {
    const auto mark = api::mark_of(event, "comityEventSynchronize");
    if (!mark.ok()) return api::remember(mark.status());
    if (Status status = api::not_in_group("comityEventSynchronize"); !status.ok())
      return api::remember(status);
    api::dispatcher().await(*mark);
    return comitySuccess;
  });
}

extern "C" comityResult_t comityEventDestroy(comityEvent_t event) {
  return api::guarded("comityEventDestroy", [&]() -> comityResult_t {
    Status status = api::check_small_handle(event, "event", "comityEventDestroy");
    if (status.ok() && !api::end_handle(*event, &comityEvent::mark))
      status = api::check_small_handle(event, "event", "comityEventDestroy");
    return api::remember(status);
  });
}
