// The Waker of the process: where its threads sleep until one of several things happens, and how they are
// woken.
//
// A thread that is about to sleep borrows a Berth. It sleeps in one of two ways, whichever is enough:
//
//   on a futex word      if it waits for one transport that has a word: the cheapest there is
//   in one ppoll(2)      else: on descriptors of all transports, and on a datagram socket of the berth's own.
//                        Its name, in the abstract space, lies beside every word that the thread is to hear,
//                        also in memory that other processes share: who takes the word out sends a datagram.
//
// So a word in shared memory and a socket end one sleep, at once, on every kernel: no thread turns one into
// the other, no descriptor is passed from process to process. A datagram without the berth's token, which
// lies in shared memory alone, is dropped by a filter before it wakes anybody.
//
// Where the system refuses the socket, or a peer may not send to it, sleeps that need it are short.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include <poll.h>

#include "comity/plugin/transport.h"
#include "src/base/fork.h"
#include "src/base/unique_fd.h"

namespace comity {

inline constexpr size_t kWatchedAtFirst = 128;  // descriptors that a sleep watches without an allocation
inline constexpr uint64_t kNapNs = 100'000;     // a sleep that something may not be able to end

class Berth final : public Sleeper {
 public:
  Berth() { polled_.reserve(kWatchedAtFirst); }
  Berth(const Berth&) = delete;
  Berth& operator=(const Berth&) = delete;

  // It has its socket.
  static bool is_ready(const Berth* berth) { return berth->ready_.load(std::memory_order_relaxed); }

  // A sleep is about to begin; `alone`: on one transport. From here on ring() counts. Between open() and
  // close(): arm() of the transports, sleep() or not, disarm().
  void open(bool alone);
  // Returns when rung since open(), when something watched is ready, after max_ns or what at_most() said, or
  // on a signal.
  void sleep(uint64_t max_ns);
  void close();

  // Sleeper.
  uint32_t watch(int descriptor, short events) override;
  short reported(uint32_t number) const override;
  Bell listen(std::atomic<uint32_t>& word) override;
  void at_most(uint64_t ns) override;
  void ring() override;

 private:
  friend struct GiveBack;
  friend class BerthReserve;
  bool have_socket();
  bool poll_for(uint64_t max_ns);

  const uint32_t era_ = fork_era();
  std::mutex mutex_;
  bool open_ = false;
  bool rung_ = false;
  bool alone_ = false;
  bool published_ = false;                 // bell_, for this sleep
  std::atomic<uint32_t>* word_ = nullptr;  // slept on as a futex
  UniqueFd socket_;                        // from the first sleep that needs it on
  std::atomic<bool> ready_{false};
  bool refused_ = false;  // there is none to be had
  Bell bell_;             // by which the socket is rung
  uint64_t most_ns_ = 0;
  std::vector<pollfd> polled_;
};

struct GiveBack {
  void operator()(Berth* berth) const;
};
using BerthLoan = std::unique_ptr<Berth, GiveBack>;
// One that nobody sleeps in. Any thread; takes ProcessLock::kBerths.
BerthLoan borrow_berth();

// While one lives there is a berth more, so that a first sleep allocates and opens nothing: a communicator
// has one, and a transport whose sleeps are on descriptors one with a socket. Any thread.
class BerthReserve {
 public:
  explicit BerthReserve(bool with_socket);
  ~BerthReserve();
  BerthReserve(const BerthReserve&) = delete;
  BerthReserve& operator=(const BerthReserve&) = delete;

 private:
  const bool with_socket_;
  const uint32_t era_ = fork_era();
};

// Ends every sleep in this process that is under way or about to begin: what happened is rare and concerns
// any of them (an abort, a verdict). Any thread; takes ProcessLock::kBerths; may allocate.
void wake_everyone();

// Rings a sleeper of any process on this host by what it published. False: the system does not let this
// process. Any thread; never blocks.
bool ring_bell(const Bell& bell);

// Of this process so far, for tests and measurements.
struct SleepCounts {
  uint64_t begun = 0;
  uint64_t timed_out = 0;  // of those: nothing ended it but time
};
SleepCounts sleep_counts();

}  // namespace comity
