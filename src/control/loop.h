// Where the control plane of one process runs: its clock, timers, sockets and randomness, as an interface.
// In a process it is the control thread (epoll_loop.h); in simulation one of many loops that a seeded world
// advances in a single thread (sim/world.h). Everything in src/control that has a state of its own is driven
// by a Loop, and asks nothing else for time, connections, processes or random numbers.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <typeindex>
#include <vector>

#include "comity/plugin/result.h"
#include "src/base/clock.h"
#include "src/base/random.h"
#include "src/base/socket.h"
#include "src/base/stream.h"
#include "src/control/process_name.h"

namespace comity::control {

class Loop : public Clock, public Random {
 public:
  using Task = std::function<void()>;
  using Callback = std::function<void(uint32_t events)>;  // events as epoll's

  // The process's loop, started. A child of fork() has one of its own. Any thread.
  static Loop& instance();

  // Runs `task` on the control thread soon. Any thread; never blocks beyond a short lock. False: the thread
  // has stopped (the process exits) or could not start; the task is dropped.
  virtual bool post(Task task) = 0;
  // What to say then.
  static Status not_running();
  virtual bool stopped() const = 0;

  // --- On the control thread only ---
  // Calls `callback` whenever `what` is ready for `events` (level-triggered) until unwatch(). The callback
  // may unwatch itself or others; what it captures stays alive while it runs. The id is never used twice.
  virtual uint64_t watch(Pollable& what, uint32_t events, Callback callback) = 0;
  virtual void change(uint64_t id, uint32_t events) = 0;
  // Call before `what` is destroyed. Unknown ids (0 too) are ignored.
  virtual void unwatch(uint64_t id) = 0;
  // Calls `task` once, `ms` from now. cancel() of a timer that fired, or of 0, does nothing.
  virtual uint64_t after_ms(uint64_t ms, Task task) = 0;
  virtual void cancel(uint64_t timer) = 0;
  // The process exits: the thread stops as soon as nothing holds it. Whoever holds it knows a deadline.
  bool ending() const { return ending_; }
  virtual void hold() = 0;
  virtual void release() = 0;
  // Runs `task` once when ending begins, before the thread may stop; soon, if it has begun: what ends may
  // itself make something that has an end. Holds what it captures for ever.
  void at_end(Task task);

  // A stream whose connection to `to` has begun. kSystemError if the system refuses at once, errno then says
  // why; a refusal that comes later shows at the first write.
  virtual Result<StreamPtr> connect(const SocketAddress& to) = 0;
  // This process, and another one as something that becomes readable once that has ended. Errors:
  // kUnsupported (it cannot be watched from here), kRemoteError (it has ended).
  virtual ProcessName process() const = 0;
  virtual Result<std::unique_ptr<Pollable>> open_process(const ProcessName& process) = 0;

  // The T of this loop, made at first use, which lives as long as the loop: what a process has one of.
  template <typename T>
  T& part() {
    std::shared_ptr<void>& part = parts_[typeid(T)];
    if (!part) part = std::make_shared<T>();
    return *static_cast<T*>(part.get());
  }

  // The same for all loops whose processes share this memory: in a process that of its loop, in simulation
  // one of the whole world. For what never changes and is alike for many.
  template <typename T>
  T& common_part() {
    return common().part<T>();
  }

 protected:
  virtual Loop& common() { return *this; }
  void drop_parts() { parts_.clear(); }
  void drop_end_tasks() { end_tasks_.clear(); }
  // From now on ending() is true.
  void set_ending() { ending_ = true; }
  void run_end_tasks();

 private:
  bool ending_ = false;
  std::vector<Task> end_tasks_;
  std::map<std::type_index, std::shared_ptr<void>> parts_;
};

}  // namespace comity::control
