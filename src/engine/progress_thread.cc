#include "src/engine/progress_thread.h"

#include <algorithm>
#include <deque>
#include <utility>

namespace comity::engine {

// One communicator's calls.
class ProgressThread::Queue final : public CallSource {
 public:
  explicit Queue(Communicator& communicator) : CallSource(&communicator), its_(&communicator) {}
  void push(Submitted call) { calls_.push_back(std::move(call)); }
  Communicator& its() const { return *its_; }
  // The driver has forgotten it.
  bool over() const { return over_; }

  const Call* next() override {
    over_ = calls_.empty();
    return over_ ? nullptr : &calls_.front().call;
  }
  void ended(const Status& status) override {
    const Done done = std::move(calls_.front().done);
    calls_.pop_front();
    if (done) done(status);
  }

 private:
  Communicator* its_;
  std::deque<Submitted> calls_;
  bool over_ = false;
};

ProgressThread::ProgressThread() : thread_([this] { run(); }) {}

ProgressThread::~ProgressThread() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  wake_.notify_one();
  driver_.wake();
  thread_.join();
}

void ProgressThread::submit(Communicator& communicator, const Call& call, Done done) {
  {
    const std::lock_guard lock(mutex_);
    submitted_.push_back({&communicator, call, std::move(done)});
  }
  wake_.notify_one();
  driver_.wake();
}

void ProgressThread::take_submitted() {
  std::erase_if(queues_, [](const auto& queue) { return queue->over(); });
  std::unique_lock lock(mutex_);
  if (driver_.empty()) wake_.wait(lock, [this] { return ending_ || !submitted_.empty(); });
  for (Submitted& one : submitted_) {
    auto found = std::find_if(queues_.begin(), queues_.end(),
                              [&](const auto& queue) { return &queue->its() == one.communicator; });
    if (found == queues_.end()) {
      queues_.push_back(std::make_unique<Queue>(*one.communicator));
      driver_.add(*queues_.back());
      found = std::prev(queues_.end());
    }
    (*found)->push(std::move(one));
  }
  submitted_.clear();
}

void ProgressThread::run() {
  for (;;) {
    take_submitted();
    {
      const std::lock_guard lock(mutex_);
      if (ending_ && submitted_.empty()) break;
    }
    driver_.wait();
  }
  for (const auto& queue : queues_) {
    if (!queue->over()) queue->its().abort();
  }
  while (!driver_.empty()) driver_.wait();
}

}  // namespace comity::engine
