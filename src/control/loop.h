// The control thread: one per process, asleep in epoll until a socket, a timer or a posted task wakes it.
//
// It starts at the first use, and is stopped and joined when the process exits, after what holds it: sockets
// whose last bytes may still be lost. The Loop itself is never destroyed, so that whoever still holds
// something of it during exit finds it; post() then answers false. All signals are blocked on the thread: an
// application's handlers run on the application's threads.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "src/base/fork.h"
#include "src/base/unique_fd.h"

namespace comity::control {

class Loop {
 public:
  using Task = std::function<void()>;
  using Callback = std::function<void(uint32_t events)>;  // events as epoll's

  // The process's loop, started. A child of fork() has one of its own. Any thread.
  static Loop& instance();

  // Runs `task` on the control thread soon. Any thread; never blocks beyond a short lock. False: the thread
  // has stopped (the process exits) or could not start; the task is dropped.
  bool post(Task task);
  bool stopped() const { return stopped_.load(std::memory_order_acquire); }
  bool on_thread() const { return std::this_thread::get_id() == thread_id_.load(); }

  // --- On the control thread only ---
  // Calls `callback` whenever `fd` is ready for `events` (level-triggered) until unwatch(). The callback may
  // unwatch itself or others; what it captures stays alive while it runs. The id is never used twice.
  uint64_t watch(int fd, uint32_t events, Callback callback);
  void change(uint64_t id, uint32_t events);
  // Call before closing the descriptor. Unknown ids (0 too) are ignored.
  void unwatch(uint64_t id);
  // Calls `task` once, `ms` from now. cancel() of a timer that fired, or of 0, does nothing.
  uint64_t after_ms(uint64_t ms, Task task);
  void cancel(uint64_t timer);
  // The process exits: the thread stops as soon as nothing holds it. Whoever holds it knows a deadline.
  bool ending() const { return ending_; }
  void hold() { ++holds_; }
  void release() { --holds_; }
  // Runs `task` once when ending begins, before the thread may stop. Holds what it captures for ever.
  void at_end(Task task) { end_tasks_.push_back(std::move(task)); }

 private:
  struct Watch {
    int fd;
    std::shared_ptr<Callback> callback;
  };
  class Stopper;
  friend class comity::OfThisProcess<Loop>;
  Loop();
  void start_thread();
  void stop();
  void run();
  void run_tasks();
  void begin_to_end();
  int run_timers();  // milliseconds until the next one, -1: none
  void wake();

  UniqueFd epoll_;
  UniqueFd event_;
  std::thread thread_;
  std::atomic<std::thread::id> thread_id_{};
  std::atomic<bool> stopping_{false};
  std::atomic<bool> stopped_{false};
  std::mutex mutex_;  // guards tasks_
  std::vector<Task> tasks_;
  // Control thread only:
  std::unordered_map<uint64_t, Watch> watches_;
  std::map<std::pair<uint64_t, uint64_t>, Task> timers_;  // by (time in ns, id)
  std::unordered_map<uint64_t, uint64_t> timer_times_;    // id to time
  uint64_t next_id_ = 1;
  uint64_t holds_ = 0;
  bool ending_ = false;
  std::vector<Task> end_tasks_;
};

}  // namespace comity::control
