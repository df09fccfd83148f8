// Making and ending communicators.
#include <fmt/core.h>
#include <sched.h>
#include <time.h>

#include <algorithm>
#include <cstring>
#include <thread>
#include <vector>

#include "src/api/errors.h"
#include "src/api/group.h"
#include "src/api/guard.h"
#include "src/api/handle.h"
#include "src/base/log.h"

namespace comity::api {
namespace {

constexpr uint32_t kMostRanks = 1u << 20;
constexpr int kMostDevices = 1024;  // ranks of one process, each with a thread while it is set up

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

constexpr int kYields = 1000;  // for whoever is inside a call, before naps
constexpr timespec kNap = {0, 100'000};

// Takes the assembly from the handle once no call is inside it.
std::unique_ptr<Assembly> take_assembly(comityComm_t comm) {
  for (int tries = 0; comm->in_call.exchange(true, std::memory_order_acq_rel); ++tries) {
    if (tries < kYields)
      sched_yield();
    else
      ::nanosleep(&kNap, nullptr);
  }
  const std::lock_guard lock(comm->mutex);
  return std::move(comm->assembly);
}

}  // namespace

Status init_ranks(std::vector<InitJob> jobs) {
  std::vector<Status> results(jobs.size());
  std::vector<std::thread> threads;
  const auto join_all = [&] {
    for (std::thread& thread : threads) thread.join();
  };
  try {
    for (size_t i = 0; i < jobs.size(); ++i) {
      threads.emplace_back([&jobs, &results, i] {
        const InitJob& job = jobs[i];
        const comityResult_t result = guarded("comityCommInitRank", [&] {
          results[i] = init_rank(job.comm, job.nranks, job.id, job.rank);
          return comitySuccess;
        });
        if (result != comitySuccess) results[i] = Status(Code::kSystemError, last_error());
      });
    }
  } catch (...) {
    join_all();  // those that started end when their ranks stay missing
    throw;
  }
  join_all();
  for (const Status& status : results) {
    if (!status.ok()) return status;
  }
  return {};
}

}  // namespace comity::api

using namespace comity;  // NOLINT(google-build-using-namespace): the C functions below are in no namespace

extern "C" comityResult_t comityGetUniqueId(comityUniqueId* uniqueId) {
  return api::guarded("comityGetUniqueId", [&]() -> comityResult_t {
    if (uniqueId == nullptr)
      return api::remember({Code::kInvalidArgument, "comityGetUniqueId: uniqueId is NULL"});
    const Result<control::UniqueId> id = control::create_unique_id();
    if (!id.ok()) return api::remember(id.status().in("comityGetUniqueId"));
    std::memcpy(uniqueId->internal, id->data(), sizeof uniqueId->internal);
    return comitySuccess;
  });
}

extern "C" comityResult_t comityCommInitRank(comityComm_t* comm, int nranks, comityUniqueId commId,
                                             int rank) {
  return api::guarded("comityCommInitRank", [&]() -> comityResult_t {
    if (comm != nullptr) *comm = nullptr;
    Status status = api::check_init(comm, nranks, rank);
    if (api::group_open())
      return api::remember(api::add_to_group(api::InitJob{comm, nranks, commId, rank}, std::move(status)));
    if (status.ok()) status = api::init_rank(comm, nranks, commId, rank);
    return api::remember(status);
  });
}

extern "C" comityResult_t comityCommInitAll(comityComm_t* comms, int ndev, const int* devlist) {
  return api::guarded("comityCommInitAll", [&]() -> comityResult_t {
    if (comms == nullptr || ndev < 1 || ndev > api::kMostDevices) {
      return api::remember({Code::kInvalidArgument, fmt::format("comityCommInitAll: comms is {}, ndev is {}",
                                                                comms == nullptr ? "NULL" : "given", ndev)});
    }
    std::fill_n(comms, ndev, nullptr);
    for (int i = 0; i < ndev; ++i) {
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
  });
}

extern "C" comityResult_t comityCommDestroy(comityComm_t comm) {
  return api::guarded("comityCommDestroy", [&]() -> comityResult_t {
    if (Status status = api::check_handle(comm, "comityCommDestroy"); !status.ok())
      return api::remember(status);
    if (api::group_open())
      return api::remember({Code::kInvalidUsage, "comityCommDestroy: not inside a group"});
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
  });
}

extern "C" comityResult_t comityCommAbort(comityComm_t comm) {
  return api::guarded("comityCommAbort", [&]() -> comityResult_t {
    if (Status status = api::check_handle(comm, "comityCommAbort"); !status.ok())
      return api::remember(status);
    uint32_t live = comityComm::kLive;
    if (!comm->state.compare_exchange_strong(live, comityComm::kDead)) {
      return api::remember(api::check_handle(comm, "comityCommAbort"));
    }
    // Declared first: the other ranks hear of it, whatever the thread inside a call is doing. The assembly is
    // nobody else's to take any more.
    comm->assembly->engine().abort();
    comm->assembly->session().leave(false);
    api::take_assembly(comm).reset();
    return comitySuccess;
  });
}

extern "C" comityResult_t comityCommGetAsyncError(comityComm_t comm, comityResult_t* asyncError) {
  return api::guarded("comityCommGetAsyncError", [&] {
    if (Status status = api::check_handle(comm, "comityCommGetAsyncError"); !status.ok())
      return api::remember(status);
    if (asyncError == nullptr) {
      return api::remember({Code::kInvalidArgument, "comityCommGetAsyncError: asyncError is NULL"});
    }
    *asyncError = api::code_of(api::error_of_any_thread(comm, "comityCommGetAsyncError"));
    return comitySuccess;
  });
}

extern "C" const char* comityGetLastError(comityComm_t comm) {
  thread_local std::string
      shown;  // valid until this thread's next call, whatever becomes of the communicator
  static_cast<void>(api::guarded("comityGetLastError", [&] {
    Status status;
    if (comm != nullptr && api::check_handle(comm, "comityGetLastError").ok()) {
      status = api::error_of_any_thread(comm, "comityGetLastError");
    }
    shown = status.ok() ? std::string(api::last_error()) : std::string(status.message());
    return comitySuccess;
  }));
  return shown.c_str();
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
