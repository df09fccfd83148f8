// comityCommSplit of the C API: checks the arguments and makes the handle, before it returns or behind the
// caller's back.
#include <fmt/core.h>

#include <memory>
#include <utility>
#include <vector>

#include "src/api/arguments.h"
#include "src/api/errors.h"
#include "src/api/group.h"
#include "src/api/guard.h"
#include "src/api/handle.h"
#include "src/api/worker.h"

namespace comity::api {
namespace {

constexpr const char* kFunction = "comityCommSplit";

Status check(comityComm_t comm, int color, const comityComm_t* newcomm) {
  COMITY_RETURN_IF_ERROR(check_handle(comm, kFunction));
  if (newcomm == nullptr)
    return Status(Code::kInvalidArgument,
                  fmt::format("{}: newcomm is NULL", caller_of({kFunction, comm, nullptr})));
  if (color >= 0 || color == COMITY_SPLIT_NOCOLOR) return {};
  return Status(Code::kInvalidArgument,
                fmt::format("{}: color is {}; it must be at least 0, or COMITY_SPLIT_NOCOLOR",
                            caller_of({kFunction, comm, nullptr}), color));
}

Result<CommConfig> config_for(comityComm_t comm, const comityConfig_t* config) {
  const InCall in_call(comm);
  if (!in_call.ok()) return in_call.why(kFunction);
  auto read = inherit_config(comm->assembly->configuration(), config);
  if (!read.ok()) return read.status().in(about(comm, kFunction));
  return read;
}

Status split(comityComm_t comm, int color, int key, comityComm_t* newcomm, const CommConfig& config) {
  const InCall in_call(comm);
  if (!in_call.ok()) return in_call.why(kFunction);
  if (!comm->queue->idle()) comm->queue->dispatcher().drain(*comm->queue);
  COMITY_RETURN_IF_ERROR(error_of(comm).in(about(comm, kFunction)));
  auto made = comm->assembly->split({color, key, config});
  if (!made.ok()) return made.status().in(about(comm, kFunction));
  if (*made == nullptr) return {};
  const uint32_t rank = (*made)->engine().rank(), nranks = (*made)->engine().nranks();
  *newcomm = make_handle(std::move(made).value(), rank, nranks, config);
  return {};
}

// A split behind the caller's back: in its turn among the parent's calls, on the parent's worker. It outlives
// the handle that it makes, if that is aborted meanwhile: the other ranks wait for this one.
struct Behind {
  comityComm_t parent;
  comityComm_t made;  // null: without a colour
  SplitRequest request;
  std::shared_ptr<engine::Turn> turn;
};

void carry_out(const Behind& job) {
  engine::StreamDispatcher& dispatcher = job.parent->queue->dispatcher();
  Status status = dispatcher.await_turn(*job.turn).in(about(job.parent, kFunction));
  if (status.ok()) {
    const comityResult_t result = guarded(kFunction, [&] {
      auto assembly = job.parent->assembly->split(job.request);
      status = assembly.status().in(about(job.parent, kFunction));
      if (status.ok() && job.made != nullptr)
        adopt_split(job.made, std::move(assembly).value(), job.request.config);
      return comitySuccess;
    });
    if (result != comitySuccess) status = Status(Code::kSystemError, last_error());
    // What ends the parent; a new communicator that could not be made does not.
    const Status of_parent = error_of(job.parent);
    if (!status.ok() && job.made != nullptr) set_broken(job.made, status);
    return dispatcher.end_turn(*job.parent->queue, of_parent);
  }
  if (job.made != nullptr) set_broken(job.made, status);
}

Status begin_split(comityComm_t comm, int color, int key, comityComm_t* newcomm, const CommConfig& config) {
  const InCall in_call(comm);
  if (!in_call.ok()) return in_call.why(kFunction);
  COMITY_RETURN_IF_ERROR(error_of(comm).in(about(comm, kFunction)));
  comityComm_t made = color < 0 ? nullptr : new_split_handle(comm->rank(), config);
  const auto turn = std::make_shared<engine::Turn>();
  try {
    std::vector<engine::Enqueued> launch;
    launch.push_back({comm->queue, engine::KeptCall(engine::Call()), kFunction, {}, comm->behind, 0, turn});
    start_worker(comm, [job = Behind{comm, made, {color, key, config}, turn}] { carry_out(job); });
    static_cast<void>(comm->queue->dispatcher().enqueue(std::move(launch)));  // it is on no stream
  } catch (...) {
    if (made != nullptr) made->state.store(kDead);
    comm->queue->dispatcher().give_up_turn(*turn, Status(Code::kSystemError, "no memory, or no thread"));
    throw;
  }
  *newcomm = made;
  return {};
}

// Inside a group: at its end, by a thread that does nothing else where it blocks, as other ranks may be this
// process's.
Status split_or_collect(comityComm_t comm, int color, int key, comityComm_t* newcomm,
                        const comityConfig_t* config) {
  COMITY_RETURN_IF_ERROR(check(comm, color, newcomm));
  COMITY_ASSIGN_OR_RETURN(CommConfig its_config, config_for(comm, config));
  const auto make = comm->blocking ? split : begin_split;
  if (!group_open()) return make(comm, color, key, newcomm, its_config);
  return add_to_group({newcomm, comm,
                       [make, comm, color, key, newcomm, its = std::move(its_config)] {
                         return make(comm, color, key, newcomm, its);
                       },
                       !comm->blocking});
}

}  // namespace
}  // namespace comity::api

using namespace comity;  // NOLINT(google-build-using-namespace): the C functions below are in no namespace

extern "C" comityResult_t comityCommSplit(comityComm_t comm, int color, int key, comityComm_t* newcomm,
                                          comityConfig_t* config) {
  return api::guarded(api::kFunction, [&]() -> comityResult_t {
    if (newcomm != nullptr) *newcomm = COMITY_COMM_NULL;
    Status status = api::split_or_collect(comm, color, key, newcomm, config);
    if (!status.ok() && api::group_open()) status = api::spoil_group(std::move(status));
    if (!status.ok() || api::group_open() || comm->blocking) return api::remember(status);
    return comityInProgress;
  });
}
