// ProgressThread: carries out calls of any number of communicators on one thread of its own, so that the
// caller goes on.
//
// A Driver with all of them: calls of one communicator keep their order and run one at a time, calls of
// different ones advance together. While there is nothing to carry out the thread sleeps.
#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "src/engine/driver.h"

namespace comity::engine {

class ProgressThread {
 public:
  // `cpu`: the core that it keeps to; -1, or one that this process may not use (a warning): any. Throws
  // std::system_error where the system refuses a thread.
  explicit ProgressThread(int cpu);
  // Waits until everything that it was given is over.
  ~ProgressThread();
  ProgressThread(const ProgressThread&) = delete;
  ProgressThread& operator=(const ProgressThread&) = delete;

  // Carries out the source's calls, until its next() gives null: then the source may be given again, or
  // destroyed. Any thread; blocks only for a lock.
  void add(CallSource& calls);

 private:
  void run(int cpu);
  // Returns false when there will be no more.
  bool take_added();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<CallSource*> added_;
  bool ending_ = false;
  Driver driver_;  // the thread's own; wake() is anybody's
  std::thread thread_;
};

}  // namespace comity::engine
