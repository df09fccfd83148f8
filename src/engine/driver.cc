#include "src/engine/driver.h"

#include <fmt/core.h>
#include <sched.h>

#include <bit>
#include <utility>

#include "src/base/clock.h"

namespace comity::engine {
namespace {

constexpr uint64_t kReportAfterNs = 100'000'000;  // contract: a rank that waited 100 ms reports its signature
constexpr uint64_t kMarkAfterNs =
    1'000'000;  // of silence: from then on other ranks' progress is looked at, too
constexpr uint64_t kMismatchNs = 2'000'000'000;  // for the verdict on ranks that differ
constexpr uint64_t kVerdictNs = 1'000'000'000;   // for the verdict on a failure of this rank
constexpr uint64_t kTellEveryNs = 10'000'000;    // that this rank gets on, to ranks that wait for it
constexpr uint32_t kBareRounds = 64;             // without a pause between them
constexpr uint32_t kLookEvery = 16;       // rounds between looks at abort, verdict and clock; a power of two
constexpr uint64_t kSpinNs = 200'000;     // before yielding, when every rank has a core
constexpr uint64_t kYieldNs = 1'000'000;  // before sleeping, when every rank has a core
constexpr uint64_t kCrowdedYieldNs = 50'000;  // before sleeping, when ranks share cores

constinit std::atomic<uint64_t> longest_sleep_ns{10'000'000};  // so that looks at the clock are no rarer
constinit std::atomic<uint64_t> warning_after_ns{60'000'000'000};

// A blocking call that was started.
class OneCall final : public CallSource {
 public:
  explicit OneCall(Communicator& communicator) : CallSource(&communicator) {}
  const Call* next() override { return nullptr; }
  void ended(const Status& status) override { status_ = status; }
  const Status& status() const { return status_; }

 private:
  Status status_;
};

}  // namespace

Status Driver::run(Communicator& communicator, const Call& call) {
  COMITY_RETURN_IF_ERROR(communicator.start(call));
  // Most calls end within these polls: before anything that not every call needs.
  for (uint32_t polls = 0; polls < kBareRounds; ++polls) {
    const Progress progress = communicator.poll();
    if (progress == Progress::kDone) return {};
    if (progress == Progress::kFailed) return communicator.error();
    if (progress == Progress::kBusy && communicator.oversubscribed()) break;
  }
  OneCall one(communicator);
  one.busy_ = true;
  Driver driver;
  driver.add(one);
  driver.wait();
  return one.status();
}

void Driver::add(CallSource& calls) {
  if (first_ == nullptr) crowded_ = false;
  crowded_ = crowded_ || calls.communicator_->oversubscribed();
  CallSource** last = &first_;
  while (*last != nullptr) last = &(*last)->following_;
  *last = &calls;
  calls.following_ = nullptr;
}

// --- advancing ---------------------------------------------------------------------------------------------

template <typename Visit>
bool Driver::for_each(Visit visit) {
  bool advanced = false;
  for (CallSource** at = &first_; *at != nullptr;) {
    CallSource& calls = **at;
    CallSource* const following = calls.following_;
    const Step step = visit(calls);  // kOver: it may be gone
    advanced |= step != Step::kNone;
    if (step == Step::kOver) {
      *at = following;
    } else {
      at = &calls.following_;
    }
  }
  return advanced;
}

bool Driver::round() {
  return for_each([this](CallSource& calls) { return step(calls); });
}

Driver::Step Driver::step(CallSource& calls) {
  if (!calls.busy_) return begin_next(calls);
  switch (calls.communicator_->poll()) {
    case Progress::kDone:
      return finish(calls, {});
    case Progress::kFailed:
      return finish(calls, calls.communicator_->error());
    case Progress::kAdvanced:
      calls.silent_since_ns_ = 0;
      return Step::kAdvanced;
    default:
      return Step::kNone;
  }
}

Driver::Step Driver::begin_next(CallSource& calls) {
  while (const Call* call = calls.next()) {
    const Status started = calls.communicator_->start(*call, calls.ahead());
    if (started.ok()) {
      calls.busy_ = true;
      calls.silent_since_ns_ = calls.mismatch_since_ns_ = calls.failed_at_ns_ = 0;
      return Step::kAdvanced;
    }
    calls.ended(started);
  }
  return Step::kOver;
}

// From ended() on the communicator may be somebody else's.
Driver::Step Driver::finish(CallSource& calls, const Status& status) {
  calls.busy_ = false;
  calls.communicator_->end_silence();
  if (calls.armed_) {  // no sleep follows, and no ring may touch what was its communicator's
    berth_->close();
    disarm(calls);
  }
  calls.ended(status);
  return begin_next(calls);
}

// --- abort, verdict, deadline, progress --------------------------------------------------------------------

bool Driver::look(uint64_t now_ns) {
  return for_each([this, now_ns](CallSource& calls) { return attend(calls, now_ns); });
}

Driver::Step Driver::attend(CallSource& calls, uint64_t now_ns) {
  if (!calls.busy_) return Step::kNone;
  Communicator& communicator = *calls.communicator_;
  if (communicator.undecided()) {
    if (calls.failed_at_ns_ == 0) calls.failed_at_ns_ = now_ns;
    if (!communicator.aborted() && now_ns - calls.failed_at_ns_ < kVerdictNs) return Step::kNone;
    communicator.settle();
    return finish(calls, communicator.error());
  }
  Status found = fault(calls, now_ns);
  if (found.ok()) found = silence(calls, now_ns);
  if (found.ok() || communicator.fail(std::move(found)) == Progress::kBusy) return Step::kNone;
  return finish(calls, communicator.error());
}

Status Driver::fault(CallSource& calls, uint64_t now_ns) const {
  const Communicator& communicator = *calls.communicator_;
  if (communicator.aborted()) {
    return Status(Code::kRemoteError,
                  fmt::format("rank {}: the communicator was aborted", communicator.rank()));
  }
  if (const Oversight* oversight = communicator.oversight(); oversight != nullptr && oversight->condemned())
    return oversight->verdict();
  if (!communicator.saw_mismatch()) return {};
  if (calls.mismatch_since_ns_ == 0) calls.mismatch_since_ns_ = now_ns;
  if (now_ns - calls.mismatch_since_ns_ <= kMismatchNs) return {};
  return Status(Code::kInternalError,
                fmt::format("rank {}: collective {} has another signature on another rank, and the "
                            "last calls of all ranks are alike",
                            communicator.rank(), communicator.calls_started()));
}

// A call is given up, and the control plane asked about it, for the time in which nothing got on: neither
// here nor, as far as their memory shows it, on the ranks that this one waits for.
Status Driver::silence(CallSource& calls, uint64_t now_ns) const {
  Communicator& communicator = *calls.communicator_;
  if (communicator.waits_for_others()) calls.silent_since_ns_ = 0;
  if (calls.silent_since_ns_ == 0) {
    calls.silent_since_ns_ = calls.reported_at_ns_ = now_ns;
    calls.marked_ = calls.warned_ = false;
    if (now_ns - calls.told_at_ns_ < kTellEveryNs) return {};
    calls.told_at_ns_ = now_ns;
    communicator.tell_progress();
    return {};
  }
  const uint64_t silent_ns = now_ns - calls.silent_since_ns_;
  if (!calls.marked_ && silent_ns >= kMarkAfterNs) {
    calls.marked_ = true;
    calls.mark_ = communicator.mark();
  }
  const bool late = communicator.timeout_ns() != 0 && silent_ns > communicator.timeout_ns();
  if (!late && now_ns - calls.reported_at_ns_ < kReportAfterNs) return {};
  if (const uint64_t mark = communicator.mark(); mark != std::exchange(calls.mark_, mark)) {
    calls.silent_since_ns_ = calls.reported_at_ns_ = now_ns;
    calls.warned_ = false;
    return {};
  }
  if (late) return communicator.timed_out();
  calls.reported_at_ns_ = now_ns;
  communicator.report_silence();
  if (silent_ns >= warning_after_ns.load(std::memory_order_relaxed) && !std::exchange(calls.warned_, true))
    communicator.warn_of_silence(silent_ns);
  return {};
}

// --- waiting -----------------------------------------------------------------------------------------------

// Bare polls, then polls with a pause, then yielding, then sleeping, with a look every 16 polls. Where ranks
// outnumber cores, the processor is given away from the first fruitless poll. A poll that did some of the
// work begins it anew.
void Driver::wait() {
  uint32_t advanced = 0, fruitless = 0;
  uint64_t since_ns = 0;
  while (first_ != nullptr && !woken_.load(std::memory_order_acquire)) {
    if (round()) {
      fruitless = 0;
      since_ns = 0;
      if (++advanced % kLookEvery == 0) look(now_ns());
      continue;
    }
    if (!crowded_ && ++fruitless % kLookEvery != 0) {
      if (fruitless > kBareRounds) cpu_pause();
      continue;
    }
    const uint64_t now = now_ns();
    if (since_ns == 0) since_ns = now;
    if (!look(now)) rest(now - since_ns);
  }
  woken_.store(false, std::memory_order_relaxed);
}

void Driver::rest(uint64_t waited_ns) {
  if (waited_ns > (crowded_ ? kCrowdedYieldNs : kSpinNs + kYieldNs)) return sleep();
  if (crowded_ || waited_ns > kSpinNs) sched_yield();
}

uint32_t Driver::transports_in_use() const {
  uint32_t used = 0;
  for (const CallSource* calls = first_; calls != nullptr; calls = calls->following_)
    used += static_cast<uint32_t>(std::popcount(calls->communicator_->transports_in_use()));
  return used;
}

bool Driver::awaits_device() const {
  for (const CallSource* calls = first_; calls != nullptr; calls = calls->following_) {
    if (calls->communicator_->awaits_device()) return true;
  }
  return false;
}

// What happened before its transport was armed is seen by the last round and look; what happens later rings.
void Driver::sleep() {
  const uint32_t used = transports_in_use();
  if (used == 0 && !awaits_device()) {
    sched_yield();
    return;
  }
  open_berth(used == 1);
  for (CallSource* calls = first_; calls != nullptr; calls = calls->following_) {
    calls->armed_ = true;
    calls->communicator_->arm(*berth_);
  }
  if (!round() && !look(now_ns()) && !woken_.load(std::memory_order_acquire))
    berth_->sleep(longest_sleep_ns.load(std::memory_order_relaxed));
  for (CallSource* calls = first_; calls != nullptr; calls = calls->following_) {
    if (calls->armed_) disarm(*calls);
  }
  berth_->close();
}

void Driver::open_berth(bool alone) {
  const std::lock_guard lock(mutex_);
  if (berth_ == nullptr) berth_ = borrow_berth();
  berth_->open(alone);
}

void Driver::disarm(CallSource& calls) {
  calls.armed_ = false;
  calls.communicator_->disarm(*berth_);
}

void Driver::set_longest_sleep(uint64_t ns) {
  longest_sleep_ns.store(ns, std::memory_order_relaxed);
}

void Driver::set_warning_after(uint64_t ns) {
  warning_after_ns.store(ns, std::memory_order_relaxed);
}

void Driver::wake() {
  const std::lock_guard lock(mutex_);
  woken_.store(true, std::memory_order_release);
  if (berth_ != nullptr) berth_->ring();
}

}  // namespace comity::engine
