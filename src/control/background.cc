#include "src/control/background.h"

#include <chrono>
#include <cstdint>
#include <future>
#include <utility>
#include <vector>

#include "src/base/fork.h"
#include "src/base/stream.h"
#include "src/control/loop.h"

namespace comity::control {

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
