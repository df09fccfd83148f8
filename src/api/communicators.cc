// Making and ending communicators.
#include <fmt/core.h>
#include <sched.h>

#include <cstring>
#include <thread>
#include <vector>

#include "src/api/errors.h"
#include "src/api/group.h"
#include "src/api/handle.h"
#include "src/base/log.h"

namespace comity::api {
namespace {

control::UniqueId to_id(const comityUniqueId& id) {
  control::UniqueId bytes;
  static_assert(sizeof id.internal == sizeof bytes);
  std::memcpy(bytes.data(), id.internal, bytes.size());
  return bytes;
}

Status check_init(const void* comm, int nranks, int rank) {
  if (comm == nullptr) return Status(Code::kInvalidArgument, "comityCommInitRank: comm is NULL");
  if (nranks < 1)
    return Status(Code::kInvalidArgument,
                  fmt::format("comityCommInitRank: nranks is {}; it must be at least 1", nranks));
  if (rank >= 0 && rank < nranks) return {};
  return Status(
      Code::kInvalidArgument,
      fmt::format("comityCommInitRank: rank {} is not in 0..{} (nranks is {})", rank, nranks - 1, nranks));
}

Status init_rank(comityComm_t* comm, int nranks, const comityUniqueId& id, int rank) {
  auto assembly = Assembly::make(to_id(id), static_cast<uint32_t>(nranks), static_cast<uint32_t>(rank));
  if (!assembly.ok()) {
    COMITY_LOG_ERROR("rank {}: comityCommInitRank failed: {}", rank, assembly.status().message());
    return assembly.status().in(fmt::format("comityCommInitRank, rank {} of {}", rank, nranks));
  }
  *comm =
      make_handle(std::move(assembly).value(), static_cast<uint32_t>(rank), static_cast<uint32_t>(nranks));
  return {};
}

// Takes the assembly from the handle once no call is inside it.
std::unique_ptr<Assembly> take_assembly(comityComm_t comm) {
  while (comm->in_call.exchange(true, std::memory_order_acq_rel)) sched_yield();
  return std::move(comm->assembly);
}

}  // namespace

Status init_ranks(std::vector<InitJob> jobs) {
  std::vector<Status> results(jobs.size());
  std::vector<std::thread> threads;
  for (size_t i = 0; i < jobs.size(); ++i) {
    threads.emplace_back([&jobs, &results, i] {
      results[i] = init_rank(jobs[i].comm, jobs[i].nranks, jobs[i].id, jobs[i].rank);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const Status& status : results) {
    if (!status.ok()) return status;
  }
  return {};
}

}  // namespace comity::api

using namespace comity;  // NOLINT(google-build-using-namespace): the C functions below are in no namespace

extern "C" comityResult_t comityGetUniqueId(comityUniqueId* uniqueId) {
  if (uniqueId == nullptr)
    return api::remember({Code::kInvalidArgument, "comityGetUniqueId: uniqueId is NULL"});
  const Result<control::UniqueId> id = control::create_unique_id();
  if (!id.ok()) return api::remember(id.status().in("comityGetUniqueId"));
  std::memcpy(uniqueId->internal, id->data(), sizeof uniqueId->internal);
  return comitySuccess;
}

extern "C" comityResult_t comityCommInitRank(comityComm_t* comm, int nranks, comityUniqueId commId,
                                             int rank) {
  if (comm != nullptr) *comm = nullptr;
  Status status = api::check_init(comm, nranks, rank);
  if (api::group_open())
    return api::remember(api::add_to_group(api::InitJob{comm, nranks, commId, rank}, std::move(status)));
  if (status.ok()) status = api::init_rank(comm, nranks, commId, rank);
  return api::remember(status);
}

extern "C" comityResult_t comityCommInitAll(comityComm_t* comms, int ndev, const int* devlist) {
  if (comms == nullptr || ndev < 1) {
    return api::remember({Code::kInvalidArgument, fmt::format("comityCommInitAll: comms is {}, ndev is {}",
                                                              comms == nullptr ? "NULL" : "given", ndev)});
  }
  for (int i = 0; i < ndev; ++i) {
    comms[i] = nullptr;
    if (devlist != nullptr && devlist[i] < 0) {
      return api::remember(
          {Code::kInvalidArgument, fmt::format("comityCommInitAll: devlist[{}] is {}", i, devlist[i])});
    }
  }
  comityUniqueId id;
  if (const comityResult_t result = comityGetUniqueId(&id); result != comitySuccess) return result;
  std::vector<api::InitJob> jobs;
  for (int i = 0; i < ndev; ++i) jobs.push_back({&comms[i], ndev, id, i});
  const Status status = api::init_ranks(std::move(jobs));
  if (status.ok()) return comitySuccess;
  for (int i = 0; i < ndev; ++i) {
    if (comms[i] != nullptr) static_cast<void>(comityCommAbort(comms[i]));
    comms[i] = nullptr;
  }
  return api::remember(status);
}

extern "C" comityResult_t comityCommDestroy(comityComm_t comm) {
  if (Status status = api::check_handle(comm, "comityCommDestroy"); !status.ok())
    return api::remember(status);
  if (api::group_open()) return api::remember({Code::kInvalidUsage, "comityCommDestroy: not inside a group"});
  uint32_t live = comityComm::kLive;
  if (!comm->state.compare_exchange_strong(live, comityComm::kDead)) {
    return api::remember(api::check_handle(comm, "comityCommDestroy"));
  }
  const auto assembly = api::take_assembly(comm);
  Status status = assembly->engine().error();
  if (const control::Verdict* verdict = assembly->session().verdict())
    status = Status(verdict->code, verdict->message);
  assembly->session().leave(true);
  return api::remember(status.in("comityCommDestroy"));
}

extern "C" comityResult_t comityCommAbort(comityComm_t comm) {
  if (Status status = api::check_handle(comm, "comityCommAbort"); !status.ok()) return api::remember(status);
  uint32_t live = comityComm::kLive;
  if (!comm->state.compare_exchange_strong(live, comityComm::kDead)) {
    return api::remember(api::check_handle(comm, "comityCommAbort"));
  }
  comm->assembly->engine().abort();
  const auto assembly = api::take_assembly(comm);
  assembly->session().leave(false);
  return comitySuccess;
}

extern "C" comityResult_t comityCommGetAsyncError(comityComm_t comm, comityResult_t* asyncError) {
  if (Status status = api::check_handle(comm, "comityCommGetAsyncError"); !status.ok())
    return api::remember(status);
  if (asyncError == nullptr)
    return api::remember({Code::kInvalidArgument, "comityCommGetAsyncError: asyncError is NULL"});
  *asyncError = api::code_of(api::error_of(comm));
  return comitySuccess;
}

extern "C" const char* comityGetLastError(comityComm_t comm) {
  if (comm != nullptr && api::check_handle(comm, "comityGetLastError").ok()) {
    if (const control::Verdict* verdict = comm->assembly->session().verdict())
      return verdict->message.c_str();
  }
  return api::last_error();
}

extern "C" comityResult_t comityCommCount(comityComm_t comm, int* count) {
  if (Status status = api::check_handle(comm, "comityCommCount"); !status.ok()) return api::remember(status);
  if (count == nullptr) return api::remember({Code::kInvalidArgument, "comityCommCount: count is NULL"});
  *count = static_cast<int>(comm->nranks);
  return comitySuccess;
}

extern "C" comityResult_t comityCommUserRank(comityComm_t comm, int* rank) {
  if (Status status = api::check_handle(comm, "comityCommUserRank"); !status.ok())
    return api::remember(status);
  if (rank == nullptr) return api::remember({Code::kInvalidArgument, "comityCommUserRank: rank is NULL"});
  *rank = static_cast<int>(comm->rank);
  return comitySuccess;
}
