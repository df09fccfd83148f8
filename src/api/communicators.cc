// Making communicators, and asking about them.
#include <fmt/core.h>

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "src/api/errors.h"
#include "src/api/group.h"
#include "src/api/guard.h"
#include "src/api/handle.h"
#include "src/api/making.h"
#include "src/api/stream_handle.h"

namespace comity::api {
namespace {

constexpr uint32_t kMostRanks = 1u << 20;
constexpr int kMostDevices = 1024;  // ranks of one process, each with a thread while it is set up

Status check_init(const void* comm, int nranks, int rank) {
  if (comm == nullptr) return Status(Code::kInvalidArgument, "comityCommInitRank: comm is NULL");
  if (nranks < 1)
    return Status(Code::kInvalidArgument,
                  fmt::format("comityCommInitRank: nranks is {}; it must be at least 1", nranks));
  if (static_cast<uint32_t>(nranks) > kMostRanks) {
    return Status(
        Code::kInvalidArgument,
        fmt::format("comityCommInitRank: nranks is {}; at most {} are supported", nranks, kMostRanks));
  }
  if (rank >= 0 && rank < nranks) return {};
  return Status(
      Code::kInvalidArgument,
      fmt::format("comityCommInitRank: rank {} is not in 0..{} (nranks is {})", rank, nranks - 1, nranks));
}

comityResult_t init(comityComm_t* comm, int nranks, const comityUniqueId& id, int rank,
                    const comityConfig_t* config) {
  if (comm != nullptr) *comm = nullptr;
  Status status = check_init(comm, nranks, rank);
  if (!status.ok()) return remember(group_open() ? spoil_group(std::move(status)) : status);
  InitJob job{comm, nranks, id, rank, read_config(config)};
  // A config that the caller gave is an argument; what is wrong with the settings is told to the other ranks.
  if (config != nullptr && !job.config.ok() && read_config(nullptr).ok()) {
    status = job.config.status().in("comityCommInitRankConfig");
    return remember(group_open() ? spoil_group(std::move(status)) : status);
  }
  if (group_open()) {
    if (job.config.ok()) job.config->blocking = true;
    return remember(add_to_group(job_of(std::move(job))));
  }
  if (!job.config.ok() || job.config->blocking) return remember(init_rank(job));
  begin_init_rank(job);
  return comityInProgress;
}

Result<comityUniqueId> new_id(const char* function) {
  const Result<control::UniqueId> id = control::create_unique_id();
  if (!id.ok()) return id.status().in(function);
  comityUniqueId bytes;
  std::memcpy(bytes.internal, id->data(), sizeof bytes.internal);
  return bytes;
}

Status init_all(comityComm_t* comms, int ndev, const int* devlist) {
  if (comms == nullptr || ndev < 1 || ndev > kMostDevices) {
    return Status(Code::kInvalidArgument,
                  fmt::format("comityCommInitAll: comms is {}, ndev is {}; it is from 1 to {}",
                              comms == nullptr ? "NULL" : "given", ndev, kMostDevices));
  }
  std::fill_n(comms, ndev, nullptr);
  for (int i = 0; i < ndev; ++i) {
    if (devlist != nullptr && devlist[i] < 0)
      return Status(Code::kInvalidArgument,
                    fmt::format("comityCommInitAll: devlist[{}] is {}", i, devlist[i]));
  }
  COMITY_ASSIGN_OR_RETURN(const comityUniqueId id, new_id("comityCommInitAll"));
  std::vector<MakeJob> jobs;
  for (int i = 0; i < ndev; ++i) jobs.push_back(job_of({&comms[i], ndev, id, i, read_config(nullptr)}));
  if (group_open()) {
    for (MakeJob& job : jobs) COMITY_RETURN_IF_ERROR(add_to_group(std::move(job)));
    return {};
  }
  bool behind = false;
  return make_all(jobs, &behind);
}

comityResult_t async_error_of(comityComm_t comm) {
  const uint32_t state = comm->state.load(std::memory_order_acquire);
  if (state == kMaking) return comityInProgress;
  const Status status = error_of_any_thread(comm, "comityCommGetAsyncError");
  if (!status.ok()) return code_of(status);
  if (state == kFinalizing) return comityInProgress;
  if (comm->behind == nullptr || dispatcher().look(*comm->behind).left == 0) return comitySuccess;
  return comityInProgress;
}

// Whether it exists, and is known by a rank.
Status check_numbered(comityComm_t comm, const char* function) {
  COMITY_RETURN_IF_ERROR(check_exists(comm, function));
  return comm->nranks() == 0 ? check_handle(comm, function) : Status();
}

}  // namespace
}  // namespace comity::api

using namespace comity;  // NOLINT(google-build-using-namespace): the C functions below are in no namespace

extern "C" comityResult_t comityGetUniqueId(comityUniqueId* uniqueId) {
  return api::guarded("comityGetUniqueId", [&]() -> comityResult_t {
    if (uniqueId == nullptr)
      return api::remember({Code::kInvalidArgument, "comityGetUniqueId: uniqueId is NULL"});
    const Result<comityUniqueId> id = api::new_id("comityGetUniqueId");
    if (!id.ok()) return api::remember(id.status());
    *uniqueId = *id;
    return comitySuccess;
  });
}

extern "C" comityResult_t comityCommInitRank(comityComm_t* comm, int nranks, comityUniqueId commId,
                                             int rank) {
  return api::guarded("comityCommInitRank", [&] { return api::init(comm, nranks, commId, rank, nullptr); });
}

extern "C" comityResult_t comityCommInitRankConfig(comityComm_t* comm, int nranks, comityUniqueId commId,
                                                   int rank, comityConfig_t* config) {
  return api::guarded("comityCommInitRankConfig",
                      [&] { return api::init(comm, nranks, commId, rank, config); });
}

extern "C" comityResult_t comityCommInitAll(comityComm_t* comms, int ndev, const int* devlist) {
  return api::guarded("comityCommInitAll", [&]() -> comityResult_t {
    Status status = api::init_all(comms, ndev, devlist);
    if (!status.ok() && api::group_open()) status = api::spoil_group(std::move(status));
    return api::remember(status);
  });
}

extern "C" comityResult_t comityCommGetAsyncError(comityComm_t comm, comityResult_t* asyncError) {
  return api::guarded("comityCommGetAsyncError", [&] {
    if (Status status = api::check_exists(comm, "comityCommGetAsyncError"); !status.ok())
      return api::remember(status);
    if (asyncError == nullptr) {
      return api::remember({Code::kInvalidArgument, "comityCommGetAsyncError: asyncError is NULL"});
    }
    *asyncError = api::async_error_of(comm);
    return comitySuccess;
  });
}

extern "C" const char* comityGetLastError(comityComm_t comm) {
  thread_local std::string
      shown;  // valid until this thread's next call, whatever becomes of the communicator
  static_cast<void>(api::guarded("comityGetLastError", [&] {
    Status status;
    if (comm != nullptr && api::check_exists(comm, "comityGetLastError").ok()) {
      status = api::error_of_any_thread(comm, "comityGetLastError");
    }
    shown = status.ok() ? std::string(api::last_error()) : std::string(status.message());
    return comitySuccess;
  }));
  return shown.c_str();
}

extern "C" comityResult_t comityCommCount(comityComm_t comm, int* count) {
  if (Status status = api::check_numbered(comm, "comityCommCount"); !status.ok())
    return api::remember(status);
  if (count == nullptr) return api::remember({Code::kInvalidArgument, "comityCommCount: count is NULL"});
  *count = static_cast<int>(comm->nranks());
  return comitySuccess;
}

extern "C" comityResult_t comityCommUserRank(comityComm_t comm, int* rank) {
  if (Status status = api::check_numbered(comm, "comityCommUserRank"); !status.ok())
    return api::remember(status);
  if (rank == nullptr) return api::remember({Code::kInvalidArgument, "comityCommUserRank: rank is NULL"});
  *rank = static_cast<int>(comm->rank());
  return comitySuccess;
}
