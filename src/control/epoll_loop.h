// The control thread: one per process, asleep in epoll until a socket, a timer or a posted task wakes it.
//
// It starts at the first use, and is stopped and joined when the process exits, after what holds it: sockets
// whose last bytes may still be lost. The loop itself is never destroyed, so that whoever still holds
// something of it during exit finds it; post() then answers false. All signals are blocked on the thread: an
// application's handlers run on the application's threads.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "src/base/fork.h"
#include "src/base/unique_fd.h"
#include "src/control/loop.h"

namespace comity::control {

class EpollLoop final : public Loop {
 public:
  uint64_t now_ns() const override { return comity::now_ns(); }
  void fill(void* to, size_t bytes) override { system_random().fill(to, bytes); }
  bool post(Task task) override;
  bool stopped() const override { return stopped_.load(std::memory_order_acquire); }
  uint64_t watch(Pollable& what, uint32_t events, Callback callback) override;
  void change(uint64_t id, uint32_t events) override;
  void unwatch(uint64_t id) override;
  uint64_t after_ms(uint64_t ms, Task task) override;
  void cancel(uint64_t timer) override;
  void hold() override { ++holds_; }
  void release() override { --holds_; }
  Result<StreamPtr> connect(const SocketAddress& to) override;
  ProcessName process() const override { return this_process(); }
  Result<std::unique_ptr<Pollable>> open_process(const ProcessName& process) override;

 private:
  struct Watch {
    int fd;
    std::shared_ptr<Callback> callback;
  };
  class Stopper;
  friend class Loop;  // instance()
  friend class comity::OfThisProcess<EpollLoop>;
  EpollLoop();
  void start_thread();
  void stop();
  void run();
  void run_tasks();
  void begin_to_end();
  int run_timers();  // milliseconds until the next one, -1: none
  void wake();
  bool on_thread() const { return std::this_thread::get_id() == thread_id_.load(); }

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
};

}  // namespace comity::control
