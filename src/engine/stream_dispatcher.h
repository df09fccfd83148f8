// StreamDispatcher: gives calls on streams to progress threads in an order that every rank can finish.
//
//   enqueue -> its communicator's CallQueue -> when first there, and all before it on its streams has ended:
//   a progress thread's Driver -> its places end -> who waited for them goes on
//
// Calls of one communicator are carried out in the order in which they were enqueued, whatever their streams;
// calls on one stream one after the other. The calls of one launch (a group) wait for what was on their
// streams before it and not for each other, so ranks may put communicators into a group in different orders.
// A call waits only for earlier ones: no circle of them can stand still. Any thread; every method takes the
// one lock, and those that block say so.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "comity/plugin/result.h"
#include "src/engine/call.h"
#include "src/engine/driver.h"
#include "src/engine/progress_thread.h"
#include "src/engine/stream.h"

namespace comity::engine {

class StreamDispatcher;

// How calls that somebody waits for have ended. Under the dispatcher's lock.
struct Outcome {
  size_t left = 0;   // calls that have not ended
  size_t index = 0;  // the lowest of the calls that failed; of several with it, the first
  Status error;
};

// What is enqueued not for a progress thread, but for whoever awaits it: the communicator is that one's from
// await_turn() to end_turn(). Under the dispatcher's lock.
struct Turn {
  bool come = false;
  bool over = false;
  Status error;  // once it is over
};

struct Enqueued {
  std::shared_ptr<CallQueue> queue;
  KeptCall call;
  const char* function = "";                     // that made the call, for its error; static
  std::vector<std::shared_ptr<Stream>> streams;  // each once; none: only its communicator orders it
  std::shared_ptr<Outcome> outcome;              // may be null
  size_t index = 0;                              // for the outcome
  std::shared_ptr<Turn> turn = nullptr;          // not null: instead of the call
};

// The calls of one communicator that are enqueued. Until idle() a progress thread may advance the
// communicator, and nobody else does; abort() is anybody's.
class CallQueue final : public CallSource, public std::enable_shared_from_this<CallQueue> {
 public:
  // `cpu`: of the progress thread; -1: any. `name`: of the communicator, for errors; may be empty.
  CallQueue(StreamDispatcher& dispatcher, Communicator& communicator, int cpu, std::string name = {})
      : CallSource(&communicator), dispatcher_(dispatcher), cpu_(cpu), name_(std::move(name)) {}
  StreamDispatcher& dispatcher() const { return dispatcher_; }
  // Whether all calls have ended. One load.
  bool idle() const { return pending_.load(std::memory_order_acquire) == 0; }

  // CallSource, for the progress thread.
  const Call* next() override;
  std::span<const std::shared_ptr<Passage>> ahead() const override { return ahead_; }
  void ended(const Status& status) override;

 private:
  friend class StreamDispatcher;
  struct Place {
    Mark mark;
    uint64_t after = 0;  // what must have ended before
  };
  struct Waiting {
    Enqueued what;
    std::vector<Place> places;
    std::vector<std::shared_ptr<Passage>> ahead;  // on users' streams
  };

  StreamDispatcher& dispatcher_;
  const int cpu_;
  const std::string name_;
  std::atomic<uint32_t> pending_{0};
  // Under the dispatcher's lock:
  std::list<Waiting> waiting_;  // a list: it holds nothing while it is empty, as handles keep it for ever
  bool running_ = false;        // a progress thread has it, or is about to, or it is somebody's turn
  bool started_ = false;        // the first of waiting_ is in flight
  // Of the call that next() gave last; the progress thread's.
  std::span<const std::shared_ptr<Passage>> ahead_;
};

class StreamDispatcher {
 public:
  StreamDispatcher() = default;
  // All that was enqueued must have ended.
  ~StreamDispatcher() = default;
  StreamDispatcher(const StreamDispatcher&) = delete;
  StreamDispatcher& operator=(const StreamDispatcher&) = delete;

  // Makes the progress thread of core `cpu`, if there is none yet. Throws what std::thread throws.
  void start(int cpu);
  // Takes a launch on whole. Throws what start() throws; then nothing was taken on, as after an error: that
  // of Device::pass() for a user's stream.
  Status enqueue(std::vector<Enqueued> launch);
  // Ends all calls of the queue that are not in flight with this error. That in flight is ended by
  // Communicator::abort(), not here.
  void cancel(CallQueue& queue, const Status& error);
  // Blocks until what was enqueued with this turn is first in its queue; or returns why it never will be.
  Status await_turn(const Turn& turn);
  // Of the first in the queue, whose turn had come.
  void end_turn(CallQueue& queue, const Status& status);
  // The turn, which is not enqueued, will not come.
  void give_up_turn(Turn& turn, const Status& why);
  // Blocks until the queue is idle and nobody has it.
  void drain(CallQueue& queue);
  // A copy. await() blocks until nothing of it is left.
  Outcome look(const Outcome& outcome);
  Outcome await(const Outcome& outcome);

  Mark mark(const std::shared_ptr<Stream>& stream);
  bool ended(const Mark& mark);
  void await(const Mark& mark);
  // What is enqueued on `stream` from now on, a user's work on it included, waits for `mark`. Errors: those
  // of Device::pass().
  Status hold(const std::shared_ptr<Stream>& stream, const Mark& mark);
  Status take_error(Stream& stream);

 private:
  friend class CallQueue;
  const Call* next(CallQueue& queue);
  void ended(CallQueue& queue, const Status& status);
  bool ready(CallQueue& queue);
  void consider(CallQueue& queue);
  bool begin_turn(CallQueue& queue);
  // Passages of places that end, which are let go without the lock: a gate that opens is a driver's affair.
  using Opening = std::vector<std::shared_ptr<Passage>>;
  static void take_passages(CallQueue::Waiting& of, Opening& opening);
  void settle(CallQueue& queue, CallQueue::Waiting& over, const Status& status, Opening& opening);
  void end_place(Mark place, Opening& opening);

  std::mutex mutex_;
  std::condition_variable changed_;                         // something ended
  std::map<int, std::unique_ptr<ProgressThread>> threads_;  // by core
};

}  // namespace comity::engine
