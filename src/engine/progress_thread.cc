#include "src/engine/progress_thread.h"

#include <pthread.h>
#include <sched.h>

#include <csignal>

#include "src/base/errno_text.h"
#include "src/base/log.h"

namespace comity::engine {

// Signals are for the threads of the program.
ProgressThread::ProgressThread(int cpu) {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    thread_ = std::thread([this, cpu] { run(cpu); });
  } catch (...) {
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    throw;
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

ProgressThread::~ProgressThread() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void ProgressThread::add(CallSource& calls) {
  {
    const std::lock_guard lock(mutex_);
    added_.push_back(&calls);
  }
  wake_.notify_one();
  driver_.wake();
}

bool ProgressThread::take_added() {
  std::unique_lock lock(mutex_);
  if (driver_.empty()) wake_.wait(lock, [this] { return ending_ || !added_.empty(); });
  for (CallSource* calls : added_) driver_.add(*calls);
  added_.clear();
  return !driver_.empty();
}

void ProgressThread::run(int cpu) {
  pthread_setname_np(pthread_self(), "comity-progress");
  if (cpu >= 0) {
    cpu_set_t only;
    CPU_ZERO(&only);
    if (cpu < CPU_SETSIZE) CPU_SET(static_cast<size_t>(cpu), &only);
    if (const int error = pthread_setaffinity_np(pthread_self(), sizeof only, &only); error != 0)
      COMITY_LOG_WARN("the progress thread cannot keep to core {}: {}", cpu, errno_text(error));
  }
  while (take_added()) driver_.wait();
}

}  // namespace comity::engine
