// Driver: advances any number of calls of any number of communicators on the thread that calls it, and waits
// for them.
//
// The one place that waits, and the only one that looks at abort, verdict, deadline and progress: a blocking
// call is a Driver with one (run()), a group a Driver with several, the progress thread a Driver with all.
// Calls of one communicator keep their order and run one at a time; those of different ones advance together,
// and the end of one never waits for another: what is over is let go at once.
//
//   poll each communicator's call -> got on? again at once; else spin, yield, sleep until something comes
//
// It sleeps on all that its calls wait for at once, in a Berth of the process (src/base/berth.h): whatever
// moves one of them, an abort, a verdict or wake() ends the sleep.
//
// One thread at a time, except for wake(). Allocates nothing.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>

#include "comity/plugin/result.h"
#include "src/base/berth.h"
#include "src/engine/communicator.h"

namespace comity::engine {

// The calls of one communicator, as a Driver asks for them. Owned by whoever adds it.
class CallSource {
 public:
  explicit CallSource(Communicator* communicator) : communicator_(communicator) {}
  virtual ~CallSource() = default;
  CallSource(const CallSource&) = delete;
  CallSource& operator=(const CallSource&) = delete;

  // The call to start now, valid until ended(). Null: there is none (any more). The driver forgets this
  // object then, which may be destroyed; the communicator it has left alone since the last ended(). Must not
  // block, nor add().
  virtual const Call* next() = 0;
  // What has to end on users' streams before that call starts. Valid until ended().
  virtual std::span<const std::shared_ptr<Passage>> ahead() const { return {}; }
  // How the call that next() gave last has ended, or why it could not start. Must not block, nor add().
  virtual void ended(const Status& status) = 0;

 private:
  friend class Driver;
  Communicator* communicator_;
  CallSource* following_ = nullptr;
  bool busy_ = false;
  bool armed_ = false;            // the thread sleeps, or is about to, for this call too
  bool marked_ = false;           // mark_ was taken in this silence
  bool warned_ = false;           // of this silence
  uint64_t silent_since_ns_ = 0;  // 0: the call got on since the last look
  uint64_t reported_at_ns_ = 0;
  uint64_t told_at_ns_ = 0;
  uint64_t mismatch_since_ns_ = 0;
  uint64_t failed_at_ns_ = 0;
  uint64_t mark_ = 0;  // Communicator::mark()
};

class Driver {
 public:
  Driver() = default;
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;

  // Starts a call and waits for its end.
  static Status run(Communicator& communicator, const Call& call);

  // Takes calls on, until their next() gives null.
  void add(CallSource& calls);
  bool empty() const { return first_ == nullptr; }
  // Advances everything until nothing is left, or until wake().
  void wait();
  // Ends the wait() under way, or else the next one. Any thread.
  void wake();
  // How long a sleep lasts that nothing ends; transports may ask for less. Tests lengthen it, so that a
  // wake-up that is lost shows. Any thread.
  static void set_longest_sleep(uint64_t ns);
  // After what silence a call that waits is warned of, once: a minute. Tests shorten it. Any thread.
  static void set_warning_after(uint64_t ns);

 private:
  enum class Step : uint8_t { kNone, kAdvanced, kOver };

  // Calls `visit` for each source, and drops those for which it says kOver. True if any got on.
  template <typename Visit>
  bool for_each(Visit visit);
  bool round();
  bool look(uint64_t now_ns);
  Step step(CallSource& calls);
  Step begin_next(CallSource& calls);
  Step finish(CallSource& calls, const Status& status);
  Step attend(CallSource& calls, uint64_t now_ns);
  Status fault(CallSource& calls, uint64_t now_ns) const;
  Status silence(CallSource& calls, uint64_t now_ns) const;
  void rest(uint64_t waited_ns);
  void sleep();
  uint32_t transports_in_use() const;
  bool awaits_device() const;
  void open_berth(bool alone);
  void disarm(CallSource& calls);

  CallSource* first_ = nullptr;
  bool crowded_ = false;  // ranks of one of the communicators outnumber cores
  std::atomic<bool> woken_{false};
  std::mutex mutex_;
  BerthLoan berth_;  // from the first sleep on; made under mutex_, since wake() rings it
};

}  // namespace comity::engine
