// ProgressThread: carries out calls of any number of communicators on one thread of its own, so that the
// caller goes on.
//
// A Driver with all of them: calls of one communicator keep their order and run one at a time, calls of
// different ones advance together. While nothing is submitted the thread sleeps.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "comity/plugin/result.h"
#include "src/engine/driver.h"

namespace comity::engine {

class ProgressThread {
 public:
  // Told the outcome of a call, on the progress thread. Must not block.
  using Done = std::function<void(const Status&)>;

  ProgressThread();
  // Ends the thread; calls that are not complete are told kRemoteError, and their communicators are aborted.
  ~ProgressThread();
  ProgressThread(const ProgressThread&) = delete;
  ProgressThread& operator=(const ProgressThread&) = delete;

  // Hands a call over. From then until the last `done` of the communicator nobody else may progress it;
  // abort() ends its calls, whatever other communicators wait for. Any thread; blocks only for a lock.
  void submit(Communicator& communicator, const Call& call, Done done);

 private:
  struct Submitted {
    Communicator* communicator;
    Call call;
    Done done;
  };
  class Queue;

  void run();
  void take_submitted();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<Submitted> submitted_;
  bool ending_ = false;
  // The thread's own:
  std::vector<std::unique_ptr<Queue>> queues_;
  Driver driver_;  // wake() is anybody's
  std::thread thread_;
};

}  // namespace comity::engine
