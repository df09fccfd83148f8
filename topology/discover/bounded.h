// Work of somebody else's library, in a thread of its own, waited for only so long. Late work is left behind:
// its thread keeps what it holds until it ends, or the process does.
#pragma once

#include <chrono>
#include <condition_variable>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "comity/plugin/result.h"
#include "src/base/clock.h"

namespace comity::topology {

template <typename T>
class Bounded {
 public:
  // Starts at once. `work` must own what it uses: it may outlive the caller. What it throws becomes
  // kInternalError.
  explicit Bounded(std::function<Result<T>()> work) : state_(std::make_shared<State>()) {
    try {
      thread_ = std::thread([state = state_, work = std::move(work)] {
        Result<T> result = guarded(work);
        const std::lock_guard lock(state->mutex);
        state->result.emplace(std::move(result));
        state->done.notify_all();
      });
    } catch (const std::system_error& error) {
      state_->result.emplace(Code::kSystemError, std::string("cannot start a thread: ") + error.what());
    }
  }
  Bounded(Bounded&&) noexcept = default;
  Bounded& operator=(Bounded&&) = delete;
  ~Bounded() {
    if (thread_.joinable()) thread_.detach();
  }

  // kTimeout once the deadline has passed. Call it once.
  Result<T> wait(Deadline deadline) {
    std::unique_lock lock(state_->mutex);
    const auto is_done = [this] { return state_->result.has_value(); };
    constexpr int kLongestMs = 3'600'000;
    while (!is_done() && !deadline.passed())
      state_->done.wait_for(lock, std::chrono::milliseconds(deadline.left_ms(kLongestMs)), is_done);
    if (!is_done()) {
      lock.unlock();
      thread_.detach();
      return Status(Code::kTimeout, "did not answer in time");
    }
    Result<T> result = *std::move(state_->result);
    lock.unlock();
    if (thread_.joinable()) thread_.join();
    return result;
  }

 private:
  struct State {
    std::mutex mutex;
    std::condition_variable done;
    std::optional<Result<T>> result;
  };
  static Result<T> guarded(const std::function<Result<T>()>& work) {
    try {
      return work();
    } catch (const std::exception& error) {
      return Status(Code::kInternalError, std::string("failed: ") + error.what());
    } catch (...) {
      return Status(Code::kInternalError, "failed with an exception of unknown type");
    }
  }
  std::shared_ptr<State> state_;
  std::thread thread_;
};

}  // namespace comity::topology
