// Waiting for the call in flight: bare polls, then polls with a pause, then yielding, then sleeping; with a
// look at verdict, abort and clock every 16 polls. Where ranks outnumber cores, the processor is given away
// from the first fruitless poll. A poll that did some of the work begins the wait anew.
#include <sched.h>

#include <fmt/core.h>

#include "src/base/clock.h"
#include "src/engine/communicator.h"

namespace comity::engine {
namespace {

constexpr uint64_t kReportAfterNs = 100'000'000;  // contract: a rank that waited 100 ms reports its signature
constexpr uint64_t kMismatchNs = 2'000'000'000;   // for the verdict on ranks that differ
constexpr uint64_t kSpinNs = 200'000;             // before yielding, when every rank has a core
constexpr uint64_t kYieldNs = 1'000'000;          // before sleeping, when every rank has a core
constexpr uint64_t kCrowdedYieldNs = 50'000;      // before sleeping, when ranks share cores
constexpr uint64_t kSleepNs = 1'000'000;          // a lost wake-up costs at most this
constexpr uint64_t kMixedSleepNs = 100'000;  // when one of several transports cannot end the sleep of another

}  // namespace

Status Communicator::attend(uint64_t now_ns) {
  if (aborted_.load(std::memory_order_acquire)) {
    fail(Status(Code::kRemoteError, fmt::format("rank {}: the communicator was aborted", options_.rank)));
    return error_;
  }
  if (waiting_since_ns_ == 0) waiting_since_ns_ = reported_at_ns_ = now_ns;
  if (options_.timeout_ns != 0 && now_ns - waiting_since_ns_ > options_.timeout_ns) {
    fail(Status(Code::kTimeout,
                fmt::format("rank {}: collective {} did not finish within COMITY_TIMEOUT ({} s)",
                            options_.rank, number_, options_.timeout_ns / 1'000'000'000u)));
    return error_;
  }
  if (options_.oversight == nullptr) return {};
  if (options_.oversight->condemned()) {
    fail(options_.oversight->verdict());
    return error_;
  }
  if (saw_mismatch_ && mismatch_since_ns_ == 0) mismatch_since_ns_ = now_ns;
  if (saw_mismatch_ && now_ns - mismatch_since_ns_ > kMismatchNs) {
    fail(Status(Code::kInternalError,
                fmt::format("rank {}: collective {} has another signature on another rank, and the "
                            "last calls of all ranks are alike",
                            options_.rank, number_)));
    return error_;
  }
  if (now_ns - reported_at_ns_ >= kReportAfterNs) {
    reported_at_ns_ = now_ns;
    options_.oversight->report(number_);
  }
  return {};
}

void Communicator::sleep() {
  const uint32_t used = binding_ == nullptr ? 0 : binding_->transports;
  if (used == 0) {
    sched_yield();
    return;
  }
  const bool mixed = (used & (used - 1)) != 0;
  // The one with the highest number sleeps (tcp after shm: its sockets end the sleep at once).
  Transport* sleeper = options_.transports[31u - static_cast<uint32_t>(__builtin_clz(used))];
  sleeper->arm();
  if (poll() != Progress::kBusy) {
    sleeper->disarm();
    return;
  }
  sleeper->sleep(mixed ? kMixedSleepNs : kSleepNs);
}

Status Communicator::wait() {
  uint64_t began_ns = 0;
  for (uint32_t fruitless = 0, advanced = 0;; ++fruitless) {
    const Progress progress = poll();
    if (progress == Progress::kDone) return {};
    if (progress == Progress::kFailed) return error_;
    if (progress == Progress::kAdvanced) {
      began_ns = 0;
      fruitless = 0;
      if ((++advanced & 15u) != 0) continue;
      if (Status status = attend(now_ns()); !status.ok()) return status;
      continue;
    }
    if (!options_.oversubscribed && (fruitless & 15u) != 15u) {
      if (fruitless >= 64) cpu_pause();
      continue;
    }
    const uint64_t now = now_ns();
    if (began_ns == 0) began_ns = now;
    if (Status status = attend(now); !status.ok()) return status;
    const uint64_t waited = now - began_ns;
    if (options_.oversubscribed ? waited > kCrowdedYieldNs : waited > kSpinNs + kYieldNs) {
      sleep();
    } else if (options_.oversubscribed || waited > kSpinNs) {
      sched_yield();
    }
  }
}

}  // namespace comity::engine
