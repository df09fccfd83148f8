#include "src/control/epoll_loop.h"

#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <system_error>
#include <utility>

#include "src/base/clock.h"
#include "src/base/errno_text.h"
#include "src/base/fork.h"
#include "src/base/log.h"
#include "src/base/socket.h"

namespace comity::control {
namespace {
constexpr uint64_t kEventId = 0;  // of the eventfd among the watches
}  // namespace

// Under ProcessLock::kLoop until the process exits.
static constinit OfThisProcess<EpollLoop> loop_of_this_process;

// Stops the thread when static objects are destroyed, before the process ends.
class EpollLoop::Stopper {
 public:
  ~Stopper() {
    // A child of fork() that has no loop of its own has none to stop: its parent's runs in the parent.
    if (EpollLoop* loop = loop_of_this_process.find()) loop->stop();
  }
};

Loop& Loop::instance() {
  const std::lock_guard lock(process_lock(ProcessLock::kLoop));
  static const EpollLoop::Stopper stopper;
  return loop_of_this_process.get();
}

EpollLoop::EpollLoop()
    : epoll_(open_fd([] { return ::epoll_create1(EPOLL_CLOEXEC); })),
      event_(open_fd([] { return ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC); })) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = kEventId;
  const bool ready =
      epoll_.valid() && event_.valid() && ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, event_.get(), &event) == 0;
  if (ready) {
    start_thread();
  } else {
    COMITY_LOG_ERROR("the control thread cannot start: {}", errno_text(errno));
    stopped_ = true;
  }
}

void EpollLoop::start_thread() {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    thread_ = std::thread([this] { run(); });
    pthread_setname_np(thread_.native_handle(), "comity-control");
  } catch (const std::system_error& error) {
    COMITY_LOG_ERROR("the control thread cannot start: {}; see ulimit -u", error.what());
    stopped_ = true;
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void EpollLoop::stop() {
  stopping_ = true;
  wake();
  if (!thread_.joinable()) return;
  if (on_thread()) {
    thread_.detach();  // a callback called exit()
  } else {
    thread_.join();
  }
}

void EpollLoop::wake() {
  const uint64_t one = 1;
  // Fails only when the counter is full, and then the thread is awake anyway.
  [[maybe_unused]] const ssize_t written = ::write(event_.get(), &one, sizeof(one));
}

Status Loop::not_running() {
  return Status(Code::kSystemError,
                "the control thread does not run: the process is ending, or has no resources left");
}

void Loop::at_end(Task task) {
  if (ending_) {
    after_ms(0, std::move(task));
  } else {
    end_tasks_.push_back(std::move(task));
  }
}

void Loop::run_end_tasks() {
  for (const Task& task : end_tasks_) task();
}

bool EpollLoop::post(Task task) {
  if (stopped() || stopping_.load()) return false;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    tasks_.push_back(std::move(task));
    if (tasks_.size() > 1) return true;  // whoever put the first one woke the thread
  }
  wake();
  return true;
}

uint64_t EpollLoop::watch(Pollable& what, uint32_t events, Callback callback) {
  const int fd = what.fd();
  const uint64_t id = next_id_++;
  epoll_event event{};
  event.events = events;
  event.data.u64 = id;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
    // The owner's deadline ends what waits for this descriptor.
    COMITY_LOG_ERROR("the control thread cannot watch a socket: {}", errno_text(errno));
  }
  watches_[id] = Watch{fd, std::make_shared<Callback>(std::move(callback))};
  return id;
}

void EpollLoop::change(uint64_t id, uint32_t events) {
  const auto found = watches_.find(id);
  if (found == watches_.end()) return;
  epoll_event event{};
  event.events = events;
  event.data.u64 = id;
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, found->second.fd, &event);
}

void EpollLoop::unwatch(uint64_t id) {
  const auto found = watches_.find(id);
  if (found == watches_.end()) return;
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, found->second.fd, nullptr);
  watches_.erase(found);
}

uint64_t EpollLoop::after_ms(uint64_t ms, Task task) {
  const uint64_t id = next_id_++;
  const uint64_t at_ns = now_ns() + ms * 1'000'000u;
  timers_[{at_ns, id}] = std::move(task);
  timer_times_[id] = at_ns;
  return id;
}

void EpollLoop::cancel(uint64_t timer) {
  const auto found = timer_times_.find(timer);
  if (found == timer_times_.end()) return;
  timers_.erase({found->second, timer});
  timer_times_.erase(found);
}

int EpollLoop::run_timers() {
  while (!timers_.empty()) {
    const auto first = timers_.begin();
    const uint64_t now = now_ns();
    if (first->first.first > now) {
      const uint64_t left_ms = (first->first.first - now + 999'999u) / 1'000'000u;
      return left_ms > 60'000 ? 60'000 : static_cast<int>(left_ms);
    }
    const Task task = std::move(first->second);
    timer_times_.erase(first->first.second);
    timers_.erase(first);
    task();
  }
  return -1;
}

Result<StreamPtr> EpollLoop::connect(const SocketAddress& to) {
  COMITY_ASSIGN_OR_RETURN(UniqueFd fd, connect_to(to, nullptr));
  return StreamPtr(std::make_unique<KernelStream>(std::move(fd)));
}

Result<std::unique_ptr<Pollable>> EpollLoop::open_process(const ProcessName& process) {
  COMITY_ASSIGN_OR_RETURN(UniqueFd fd, control::open_process(process, this_process()));
  return std::unique_ptr<Pollable>(std::make_unique<KernelFile>(std::move(fd)));
}

void EpollLoop::run_tasks() {
  std::vector<Task> tasks;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    tasks.swap(tasks_);
  }
  for (const Task& task : tasks) task();
}

void EpollLoop::begin_to_end() {
  set_ending();
  run_tasks();  // what was handed over before the end is part of it
  run_end_tasks();
}

void EpollLoop::run() {
  thread_id_ = std::this_thread::get_id();
  epoll_event events[64];
  while (true) {
    if (stopping_.load() && !ending()) begin_to_end();
    const int timeout_ms = run_timers();
    if (ending() && holds_ == 0) break;
    const int count = ::epoll_wait(epoll_.get(), events, 64, timeout_ms);
    for (int i = 0; i < count; ++i) {
      if (events[i].data.u64 == kEventId) {
        uint64_t drained = 0;
        [[maybe_unused]] const ssize_t got = ::read(event_.get(), &drained, sizeof(drained));
        run_tasks();
        continue;
      }
      const auto found = watches_.find(events[i].data.u64);
      if (found == watches_.end()) continue;  // an earlier callback of this round removed it
      const std::shared_ptr<Callback> callback = found->second.callback;
      (*callback)(events[i].events);
    }
  }
  stopped_ = true;
}

}  // namespace comity::control
