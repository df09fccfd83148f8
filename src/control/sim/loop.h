// The loop of one simulated process. Internal to src/control/sim.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <unordered_map>

#include "src/base/hash.h"
#include "src/control/loop.h"
#include "src/control/sim/world.h"

namespace comity::control::sim {

class End;
class SimProcess;

// What a simulated loop watches.
class Watched {
 public:
  virtual ~Watched() = default;
  virtual uint32_t ready() const = 0;  // as epoll's events

 private:
  friend class SimLoop;
  uint64_t watch_ = 0;
};

class SimLoop final : public Loop {
 public:
  SimLoop(World& world, uint32_t process, uint64_t seed);
  // Drops everything that it would still have run.
  void drop_all();
  size_t watches() const { return watches_.size(); }

  uint64_t now_ns() const override { return world_.now_ns(); }
  void fill(void* to, size_t bytes) override;
  bool post(Task task) override;
  bool stopped() const override { return dead_; }
  uint64_t watch(Pollable& what, uint32_t events, Callback callback) override;
  void change(uint64_t id, uint32_t events) override;
  void unwatch(uint64_t id) override;
  uint64_t after_ms(uint64_t ms, Task task) override;
  void cancel(uint64_t timer) override;
  void hold() override { ++holds_; }
  void release() override { --holds_; }
  Result<StreamPtr> connect(const SocketAddress& to) override;
  ProcessName process() const override;
  Result<std::unique_ptr<Pollable>> open_process(const ProcessName& process) override;

  // `what` may have become ready.
  void notify(const Watched& what);
  void begin_to_end();
  void set_frozen(bool frozen);
  // Closes its sockets, and runs nothing any more until revive().
  void die(bool connections_stay);
  void revive();
  bool dead() const { return dead_; }
  uint32_t number() const { return process_; }
  World& world() { return world_; }
  // What there is of it, in the order in which it was made.
  template <typename T>
  using InOrder = std::map<uint64_t, T*>;
  uint64_t next_made() { return next_id_++; }
  InOrder<End>& ends() { return ends_; }
  InOrder<SimListener>& listeners() { return listeners_; }
  InOrder<SimProcess>& watchers() { return watchers_; }  // who wait for the end of this process

 private:
  Loop& common() override { return world_.sim_loop(0); }
  struct Watch {
    Watched* what;
    uint32_t events;
    bool scheduled = false;
    std::shared_ptr<Callback> callback;
  };
  void append(Task task);
  void schedule(uint64_t id, Watch& watch);
  void dispatch(uint64_t id);
  void fire(uint64_t timer);
  // Runs it as this process's, when that is not frozen.
  void turn(const Task& task);
  void check_exit();

  World& world_;
  const uint32_t process_;
  SplitMix random_;
  uint64_t next_id_ = 1;
  uint64_t last_post_ns_ = 0;
  std::unordered_map<uint64_t, Watch> watches_;
  std::unordered_map<uint64_t, Task> timers_;
  std::deque<Task> held_;  // of a frozen process, or of a dead one until revive()
  uint64_t holds_ = 0;
  bool frozen_ = false;
  bool dead_ = false;
  InOrder<End> ends_;
  InOrder<SimListener> listeners_;
  InOrder<SimProcess> watchers_;
};

}  // namespace comity::control::sim
