// The control planes of many processes in one thread: seeded, in virtual time. Everything above the Loop is
// the code that runs in a process; clock, timers, sockets, randomness and the ends of processes are the
// world's.
//
//   sim::World world(seed, processes, options);
//   Loop& loop = world.loop(3);                        // of process 3
//   loop.post([&] { ... });                            // runs when the world comes to it
//   bool came = world.run_until([&] { ... }, 30'000);  // events, one after the other, in virtual time
//
// By the seed, bytes arrive late by a jitter, in order per direction and in any order between connections;
// reads and writes take a part; timers and sockets that are ready at the same time run in any order. The same
// seed and the same calls replay exactly: trace_hash() says so.
//
// Connections behave as TCP's: bytes on their way are delivered before an end, closing with unread bytes
// resets, a frozen process's system still accepts connections and takes bytes until its window is full, a
// host that is cut off answers nothing. Descriptors are not passed, and all addresses are IPv4.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "src/base/bytes.h"
#include "src/base/hash.h"
#include "src/control/acceptor.h"
#include "src/control/loop.h"

namespace comity::control::sim {

class SimLoop;
class SimListener;

struct WorldOptions {
  uint32_t per_host = 4;         // processes of one host, which share its address
  uint64_t latency_ns = 20'000;  // one way
  uint64_t jitter_ns = 60'000;   // each arrival is late by 0..jitter_ns, uniformly
  size_t window_bytes = 32'768;  // that a connection's direction holds until they are read
  uint32_t short_percent = 20;   // chance that a read or a write takes a part only
  uint64_t wake_ns = 60'000;     // a timer, or one whose socket is ready, is late by 0..wake_ns
  // Where it is noted who runs: a process, or kNetwork. For counting what it allocates.
  uint32_t* running = nullptr;
};
inline constexpr uint32_t kNetwork = UINT32_MAX;

// What one process has sent.
struct Traffic {
  uint64_t connections = 0;  // that it began
  uint64_t messages = 0;     // writes; a whole message each where windows never fill and none are short
  uint64_t bytes = 0;
};

class World {
 public:
  World(uint64_t seed, uint32_t processes, const WorldOptions& options = {});
  // All of this world's objects that hold streams must be gone, or held by its loops alone: see end_all().
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  Loop& loop(uint32_t process);
  uint32_t processes() const { return static_cast<uint32_t>(loops_.size()); }
  uint64_t now_ns() const { return now_ns_; }
  uint64_t trace_hash() const { return trace_; }
  uint64_t event_count() const { return events_done_; }
  const Traffic& traffic(uint32_t process) const;
  // A listener of `process` at a port of its own.
  Listeners listen(uint32_t process);

  // The next event; false if there is none.
  bool step();
  // Until `condition` holds, looked at after every event; false if it does not within `ms` of virtual time.
  bool run_until(const std::function<bool()>& condition, uint64_t ms);
  void run_for_ms(uint64_t ms);

  // --- Faults ---
  // The process ends at once: its system closes its sockets, and who watches it hears of it. With
  // `connections_stay` a child that it forked keeps them open and never reads.
  void kill(uint32_t process, bool connections_stay = false);
  bool is_dead(uint32_t process) const;
  // It exits: its loop ends as a process's does, and then its sockets close.
  void exit(uint32_t process);
  void freeze(uint32_t process);
  void thaw(uint32_t process);
  // Its host answers nothing any more, and hears nothing.
  void cut_off(uint32_t host);
  // All connections between the two processes break.
  void break_connections(uint32_t one, uint32_t other);
  uint32_t host_of(uint32_t process) const { return process / options_.per_host; }

  // Every process is alone from now on: its connections are broken, and nobody answers. For owners of nodes,
  // which leave then; run_for_ms() lets them finish, so that nothing is left that holds itself.
  void isolate_all();

  // Sockets and processes that are still watched, in all.
  size_t watches() const;

  // --- For its loops and streams ---
  using Action = std::function<void()>;
  void at(uint64_t at_ns, Action action);
  uint64_t soon_ns() { return now_ns_ + random_.up_to(options_.wake_ns); }
  uint64_t arrival_ns() { return now_ns_ + options_.latency_ns + random_.up_to(options_.jitter_ns); }
  SplitMix& random() { return random_; }
  const WorldOptions& options() const { return options_; }
  void note(uint64_t what) { trace_ = mix(trace_, what); }
  bool reachable(uint32_t from, const SocketAddress& to) const;
  bool isolated() const { return isolated_; }
  SimListener* listener_at(const SocketAddress& address) const;
  void remove_listener(const SocketAddress& address) { listeners_.erase(key_of(address)); }
  // A copy of them; of large ones that equal the last large ones, the same.
  std::shared_ptr<const Bytes> in_flight(std::span<const std::byte> bytes);
  Traffic& traffic_of(uint32_t process) { return traffic_[process]; }
  SimLoop& sim_loop(uint32_t process) { return *loops_[process]; }
  // Returns who ran before.
  uint32_t turn_to(uint32_t process) {
    return options_.running == nullptr ? kNetwork : std::exchange(*options_.running, process);
  }

 private:
  struct Event {
    uint64_t at_ns;
    uint64_t order;
    Action action;
  };
  static bool is_later(const Event& one, const Event& other) {
    return std::pair(one.at_ns, one.order) > std::pair(other.at_ns, other.order);
  }
  static uint64_t key_of(const SocketAddress& address);

  const WorldOptions options_;
  SplitMix random_;
  uint64_t now_ns_ = 1'000'000'000;  // 0 means "never" to some
  uint64_t trace_ = 0;
  uint64_t events_done_ = 0;
  uint64_t next_order_ = 0;
  std::vector<Event> events_;  // a heap, the next one first
  std::map<uint64_t, SimListener*> listeners_;
  std::vector<uint16_t> next_port_;  // by host
  std::vector<bool> cut_off_;        // by host
  std::vector<Traffic> traffic_;
  std::vector<std::unique_ptr<SimLoop>> loops_;
  bool isolated_ = false;
  std::weak_ptr<const Bytes> last_large_;
};

}  // namespace comity::control::sim
