#include "src/api/worker.h"

#include <pthread.h>

#include <csignal>
#include <utility>

#include "src/api/handle.h"

namespace comity::api {
namespace {

void run_errands(comityComm_t comm) {
  while (true) {
    std::function<void()> errand;
    {
      const std::lock_guard lock(comm->mutex);
      comm->works = !comm->errands.empty();
      if (!comm->works) return;
      errand = std::move(comm->errands.front());
      comm->errands.pop_front();
    }
    errand();
  }
}

// Signals are for the threads of the program.
std::thread thread_without_signals(comityComm_t comm) {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread thread;
  try {
    thread = std::thread(run_errands, comm);
  } catch (...) {
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    throw;
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return thread;
}

}  // namespace

void start_worker(comityComm_t comm, std::function<void()> body) {
  {
    const std::lock_guard lock(comm->mutex);
    comm->errands.push_back(std::move(body));
    if (std::exchange(comm->works, true)) return;
  }
  join_worker(comm);  // which has ended
  std::thread thread;
  try {
    thread = thread_without_signals(comm);
  } catch (...) {
    const std::lock_guard lock(comm->mutex);
    comm->errands.clear();
    comm->works = false;
    throw;
  }
  const std::lock_guard lock(comm->mutex);
  comm->worker = std::move(thread);
}

void join_worker(comityComm_t comm) {
  std::thread thread;
  {
    const std::lock_guard lock(comm->mutex);
    thread = std::move(comm->worker);
  }
  if (thread.joinable()) thread.join();
}

}  // namespace comity::api
