#include "src/engine/progress_thread.h"

#include <sched.h>

#include <algorithm>

#include "src/base/clock.h"

namespace comity::engine {

ProgressThread::ProgressThread() : thread_([this] { run(); }) {}

ProgressThread::~ProgressThread() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void ProgressThread::submit(Communicator& communicator, const Call& call, Done done) {
  {
    const std::lock_guard lock(mutex_);
    submitted_.push_back({&communicator, call, std::move(done)});
  }
  wake_.notify_one();
}

void ProgressThread::take_submitted(bool wait) {
  std::unique_lock lock(mutex_);
  if (wait) wake_.wait(lock, [this] { return ending_ || !submitted_.empty(); });
  for (Submitted& one : submitted_) {
    auto found = std::find_if(queues_.begin(), queues_.end(),
                              [&](const auto& queue) { return queue->communicator == one.communicator; });
    if (found == queues_.end()) {
      queues_.push_back(std::make_unique<Queue>());
      queues_.back()->communicator = one.communicator;
      found = std::prev(queues_.end());
    }
    (*found)->calls.push_back(std::move(one));
  }
  submitted_.clear();
}

void ProgressThread::finish(Queue& queue, const Status& status) {
  const Done done = std::move(queue.calls.front().done);
  queue.calls.pop_front();
  queue.busy = false;
  if (done) done(status);
}

void ProgressThread::step(Queue& queue, uint64_t now_ns) {
  Communicator& communicator = *queue.communicator;
  if (!queue.busy) {
    if (Status started = communicator.start(queue.calls.front().call); !started.ok())
      return finish(queue, started);
    queue.busy = true;
  }
  const Progress progress = communicator.poll();
  if (progress == Progress::kDone) return finish(queue, {});
  if (progress == Progress::kFailed) return finish(queue, communicator.error());
  if (now_ns == 0) return;
  if (Status status = communicator.attend(now_ns); !status.ok()) finish(queue, status);
}

void ProgressThread::run() {
  for (uint32_t round = 0;; ++round) {
    take_submitted(queues_.empty());
    {
      const std::lock_guard lock(mutex_);
      if (ending_ && submitted_.empty()) break;
    }
    const uint64_t now = (round & 15u) == 0 ? now_ns() : 0;
    for (const auto& queue : queues_) step(*queue, now);
    queues_.erase(std::remove_if(queues_.begin(), queues_.end(),
                                 [](const auto& queue) { return queue->calls.empty(); }),
                  queues_.end());
    if ((round & 63u) == 63u) sched_yield();
  }
  for (const auto& queue : queues_) {
    queue->communicator->abort();
    while (!queue->calls.empty()) finish(*queue, Status(Code::kRemoteError, "the progress thread ended"));
  }
}

}  // namespace comity::engine
