#include "src/control/background.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <future>
#include <utility>
#include <vector>

#include "src/base/fork.h"
#include "src/base/stream.h"
#include "src/control/loop.h"

namespace comity::control {
namespace {

constexpr uint64_t kStepEveryMs = 2;   // at first: peers leave at about the same time
constexpr uint64_t kStepLaterMs = 50;  // after kStepsAtFirst of these
constexpr uint32_t kStepsAtFirst = 100;
constexpr uint64_t kAliveMs = 600'000;  // a peer's user may compute for long
constexpr uint64_t kEndingMs = 5'000;

// Connections that linger.
class Lingerers {
 public:
  void add(Loop& loop, std::unique_ptr<Lingering> connections) {
    if (!std::exchange(told_of_end_, true)) loop.at_end([this, &loop] { on_end(loop); });
    loop.hold();
    lingering_.push_back({std::move(connections), loop.now_ns()});
    steps_ = 0;
    if (timer_ == 0) step(loop);
  }

 private:
  struct One {
    std::unique_ptr<Lingering> connections;
    uint64_t since_ns;
  };

  void on_end(Loop& loop) {
    ending_since_ns_ = loop.now_ns();
    steps_ = 0;
    loop.cancel(std::exchange(timer_, 0));
    step(loop);
  }

  void step(Loop& loop) {
    timer_ = 0;
    const uint64_t now = loop.now_ns();
    std::erase_if(lingering_, [&](One& one) {
      const uint64_t since = loop.ending() ? std::max(one.since_ns, ending_since_ns_) : one.since_ns;
      const uint64_t limit_ms = loop.ending() ? kEndingMs : kAliveMs;
      const bool over = one.connections->step() || now - since >= limit_ms * 1'000'000u;
      if (over) loop.release();
      return over;
    });
    if (lingering_.empty()) return;
    timer_ =
        loop.after_ms(steps_++ < kStepsAtFirst ? kStepEveryMs : kStepLaterMs, [this, &loop] { step(loop); });
  }

  std::vector<One> lingering_;
  uint64_t timer_ = 0;
  uint64_t ending_since_ns_ = 0;
  uint32_t steps_ = 0;
  bool told_of_end_ = false;
};

}  // namespace

void linger(std::unique_ptr<Lingering> connections) {
  Loop& loop = Loop::instance();
  const auto carried = std::make_shared<std::unique_ptr<Lingering>>(std::move(connections));
  static_cast<void>(loop.post([&loop, carried] { loop.part<Lingerers>().add(loop, std::move(*carried)); }));
}

class LoopBackground::Job : public std::enable_shared_from_this<Job> {
 public:
  explicit Job(BackgroundWork& work) : loop_(Loop::instance()), work_(&work) {}

  void begin() {
    static_cast<void>(loop_.post([self = shared_from_this()] { self->step(); }));
  }

  // The descriptors that are watched are closed by their owner next.
  void end() {
    if (era_ != fork_era()) return;
    {
      const std::lock_guard lock(mutex_);
      work_ = nullptr;
    }
    const auto over = std::make_shared<std::promise<void>>();
    auto ended = over->get_future();
    if (loop_.post([self = shared_from_this(), over] {
          self->unwatch();
          over->set_value();
        })) {
      while (!loop_.stopped() && ended.wait_for(std::chrono::seconds(1)) == std::future_status::timeout)
        continue;
    }
  }

 private:
  void step() {
    unwatch();
    const std::lock_guard lock(mutex_);
    if (work_ == nullptr) return;
    wait_for_.clear();
    const uint64_t within_ms = work_->step(wait_for_);
    for (const pollfd& each : wait_for_) {
      BorrowedStream what(each.fd);
      watched_.push_back(loop_.watch(what, static_cast<uint32_t>(each.events),
                                     [self = shared_from_this()](uint32_t) { self->step(); }));
    }
    timer_ = loop_.after_ms(within_ms, [self = shared_from_this()] {
      self->timer_ = 0;
      self->step();
    });
  }

  void unwatch() {
    for (const uint64_t each : watched_) loop_.unwatch(each);
    watched_.clear();
    loop_.cancel(std::exchange(timer_, 0));
  }

  Loop& loop_;
  const uint32_t era_ = fork_era();
  std::mutex mutex_;  // held while the work is stepped
  BackgroundWork* work_;
  // Control thread only:
  std::vector<pollfd> wait_for_;
  std::vector<uint64_t> watched_;
  uint64_t timer_ = 0;
};

void LoopBackground::begin(BackgroundWork& work) {
  const auto job = std::make_shared<Job>(work);
  {
    const std::lock_guard lock(mutex_);
    jobs_[&work] = job;
  }
  job->begin();
}

void LoopBackground::end(BackgroundWork& work) {
  std::shared_ptr<Job> job;
  {
    const std::lock_guard lock(mutex_);
    const auto found = jobs_.find(&work);
    if (found == jobs_.end()) return;
    job = std::move(found->second);
    jobs_.erase(found);
  }
  job->end();
}

}  // namespace comity::control
