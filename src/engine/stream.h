// Stream: the order of one queue of work that is carried out behind the caller's back.
//
// What is enqueued takes a place, numbered from 1. Places may end in any order (a call whose communicator
// was aborted does not wait for those before it), and count as ended only together with all before them:
// so a Mark of a place stands for everything up to it. Plain data under the lock of its StreamDispatcher.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "comity/plugin/device.h"
#include "comity/plugin/result.h"

namespace comity::engine {

class CallQueue;
class Stream;

// All that was enqueued on `stream` up to its place `number`; no stream: nothing.
struct Mark {
  std::shared_ptr<Stream> stream;
  uint64_t number = 0;
};

class Stream {
 public:
  Stream() = default;
  // Of a user's stream of a device: each place has a Passage there. The device outlives it.
  Stream(Device& device, void* native) : device_(&device), native_(native) {}
  // Takes the next place there; null where the stream is none of a device. Errors: Device::pass()'s.
  Result<std::shared_ptr<Passage>> pass() const {
    if (device_ == nullptr) return std::shared_ptr<Passage>();
    COMITY_ASSIGN_OR_RETURN(auto passage, device_->pass(native_));
    return std::shared_ptr<Passage>(std::move(passage));
  }

  // What goes on when a place has ended: the calls of a communicator, or the place of another stream that
  // waits for it.
  struct Waiter {
    std::shared_ptr<CallQueue> queue;  // null: `place` it is
    Mark place;
  };

  uint64_t enqueued() const { return enqueued_; }
  // The last place that ended with all before it.
  uint64_t ended() const { return ended_; }
  // The place's passage on the device, or null: whoever ends the place lets it go.
  std::shared_ptr<Passage> take_passage(uint64_t place) {
    if (device_ == nullptr) return nullptr;
    auto passage = passages_.extract(place);
    return passage.empty() ? nullptr : std::move(passage.mapped());
  }
  // With its passage on the device, or null.
  uint64_t take_place(std::shared_ptr<Passage> passage) {
    open_.push_back(true);
    ++enqueued_;
    if (passage != nullptr) passages_[enqueued_] = std::move(passage);
    return enqueued_;
  }
  // Returns whether ended() grew.
  bool end(uint64_t place) {
    open_[place - ended_ - 1] = false;
    const uint64_t before = ended_;
    for (; !open_.empty() && !open_.front(); ++ended_) open_.pop_front();
    return ended_ != before;
  }

  // Keeps the first error until it is told.
  void fail(const Status& status) {
    if (error_.ok()) error_ = status;
  }
  Status take_error() { return std::exchange(error_, {}); }

  // Until ended() reaches `place`.
  void hold(uint64_t place, Waiter waiter) { waiters_.emplace(place, std::move(waiter)); }
  std::vector<Waiter> release() {
    std::vector<Waiter> released;
    for (auto at = waiters_.begin(); at != waiters_.end() && at->first <= ended_; at = waiters_.erase(at))
      released.push_back(std::move(at->second));
    return released;
  }

 private:
  uint64_t enqueued_ = 0;
  uint64_t ended_ = 0;
  std::deque<bool> open_;  // places ended_ + 1 to enqueued_: not ended yet
  std::multimap<uint64_t, Waiter> waiters_;
  Status error_;
  Device* device_ = nullptr;
  void* native_ = nullptr;
  std::map<uint64_t, std::shared_ptr<Passage>> passages_;  // by place
};

}  // namespace comity::engine
