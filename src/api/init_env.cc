// comityCommInitEnv: from what a launcher left in the environment to a communicator.
#include <fmt/core.h>

#include <atomic>
#include <cstring>

#include "src/api/errors.h"
#include "src/api/group.h"
#include "src/api/guard.h"
#include "src/api/launch/launcher.h"
#include "src/base/log.h"
#include "src/base/settings.h"

namespace comity::api {
namespace {

constexpr const char* kFunction = "comityCommInitEnv";

// What launchers keep for a process is not made for two threads.
class OneAtATime {
 public:
  OneAtATime() : first_(!busy_.exchange(true, std::memory_order_acquire)) {}
  ~OneAtATime() {
    if (first_) busy_.store(false, std::memory_order_release);
  }
  OneAtATime(const OneAtATime&) = delete;
  OneAtATime& operator=(const OneAtATime&) = delete;
  bool first() const { return first_; }

 private:
  static inline std::atomic<bool> busy_{false};
  bool first_;
};

comityResult_t init_env(comityComm_t* comm) {
  if (comm == nullptr) return remember({Code::kInvalidArgument, "comityCommInitEnv: comm is NULL"});
  *comm = nullptr;
  if (group_open()) return remember({Code::kInvalidUsage, "comityCommInitEnv: not inside a group"});
  const OneAtATime turn;
  if (!turn.first())
    return remember({Code::kInvalidUsage, "comityCommInitEnv: another thread is inside it: once at a time"});
  const Result<Settings> settings = Settings::read();
  if (!settings.ok()) return remember(settings.status().in(kFunction));
  const Result<uint64_t> timeout_ms = settings->number("COMITY_INIT_TIMEOUT_MS");
  if (!timeout_ms.ok()) return remember(timeout_ms.status().in(kFunction));
  const auto launcher = launch::find_launcher(*settings);
  if (!launcher.ok()) return remember(launcher.status().in(kFunction));
  const launch::Place place = (*launcher)->place();
  COMITY_LOG_INFO("rank {} of {}, started by {}", place.rank, place.nranks, (*launcher)->name());
  const auto id = (*launcher)->meet(Deadline::after_ms(*timeout_ms));
  if (!id.ok()) {
    return remember(id.status().in(
        fmt::format("{}, rank {} of {} ({})", kFunction, place.rank, place.nranks, (*launcher)->name())));
  }
  comityUniqueId bytes;
  static_assert(sizeof bytes.internal == sizeof(control::UniqueId));
  std::memcpy(bytes.internal, id->data(), id->size());
  const comityResult_t joined =
      comityCommInitRank(comm, static_cast<int>(place.nranks), bytes, static_cast<int>(place.rank));
  (*launcher)->over();
  return joined;
}

}  // namespace
}  // namespace comity::api

extern "C" comityResult_t comityCommInitEnv(comityComm_t* comm) {
  return comity::api::guarded(comity::api::kFunction, [&] { return comity::api::init_env(comm); });
}
