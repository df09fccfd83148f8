#include "src/base/fork.h"

#include <fcntl.h>
#include <pthread.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <new>
#include <vector>

#include "src/base/unique_fd.h"

namespace comity {
namespace {

constexpr auto kLocks = static_cast<uint32_t>(ProcessLock::kCount);
constexpr auto kFirstTaken = static_cast<uint32_t>(ProcessLock::kDescriptorService);
constexpr int kLowest = 3;

// Nothing here is ever destroyed: threads may outlive statics.
constinit std::array<std::mutex, kLocks> locks;
pthread_rwlock_t gate =
    PTHREAD_RWLOCK_INITIALIZER;            // shared: making or closing a descriptor; exclusive: forking
constinit std::mutex list_mutex;           // taken under the gate
std::vector<bool>* listed = nullptr;       // by descriptor: whether it is ours
std::vector<const void*>* left = nullptr;  // to parents; under list_mutex
constinit std::atomic<uint32_t> era{1};
constinit std::array<std::atomic<void (*)()>, 16> hooks{};

void before_fork() {
  for (uint32_t i = kFirstTaken; i < kLocks; ++i) locks[i].lock();
  ::pthread_rwlock_wrlock(&gate);
}

void after_fork_in_parent() {
  ::pthread_rwlock_unlock(&gate);
  for (uint32_t i = kLocks; i > kFirstTaken; --i) locks[i - 1].unlock();
}

// Threads that held or awaited a lock are not here: locks are made anew rather than unlocked.
void after_fork_in_child() {
  gate = PTHREAD_RWLOCK_INITIALIZER;
  for (std::mutex& lock : locks) new (&lock) std::mutex;
  new (&list_mutex) std::mutex;
  era.fetch_add(1, std::memory_order_relaxed);
  if (listed != nullptr) {
    for (size_t fd = 0; fd < listed->size(); ++fd) {
      if ((*listed)[fd]) ::close(static_cast<int>(fd));
    }
    listed->clear();
  }
  for (const auto& hook : hooks) {
    if (void (*forget)() = hook.load(std::memory_order_acquire)) forget();
  }
}

[[maybe_unused]] const int registered =
    ::pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);

void put_on_list(int fd, bool ours) {
  const std::lock_guard lock(list_mutex);
  if (listed == nullptr) listed = new std::vector<bool>;
  const auto at = static_cast<size_t>(fd);
  if (at >= listed->size()) listed->resize(at + 1, false);
  (*listed)[at] = ours;
}

}  // namespace

std::mutex& process_lock(ProcessLock which) {
  return locks[static_cast<uint32_t>(which)];
}

uint32_t fork_era() {
  return era.load(std::memory_order_relaxed);
}

void leave_to_parent(const void* object) {
  const std::lock_guard lock(list_mutex);
  if (left == nullptr) left = new std::vector<const void*>;
  left->push_back(object);
}

void on_fork_in_child(void (*forget)()) {
  for (auto& hook : hooks) {
    void (*expected)() = nullptr;
    if (hook.compare_exchange_strong(expected, forget)) return;
  }
  std::abort();  // more of them than kinds of things to forget
}

DescriptorGate::DescriptorGate() {
  ::pthread_rwlock_rdlock(&gate);
}

DescriptorGate::~DescriptorGate() {
  ::pthread_rwlock_unlock(&gate);
}

UniqueFd own_fd(int fd) {
  if (fd < 0) return UniqueFd();
  const int before = errno;
  if (fd < kLowest) {
    const int moved = ::fcntl(fd, F_DUPFD_CLOEXEC, kLowest);
    const int why = errno;
    ::close(fd);
    errno = moved < 0 ? why : before;
    if (moved < 0) return UniqueFd();
    fd = moved;
  }
  put_on_list(fd, true);
  return UniqueFd(fd, fork_era());
}

int UniqueFd::release() {
  if (era_ != 0 && era_ == fork_era()) {
    const DescriptorGate held;
    put_on_list(fd_, false);
  }
  era_ = 0;
  return std::exchange(fd_, -1);
}

void UniqueFd::reset(int fd) {
  if (fd_ >= 0 && era_ == 0) ::close(fd_);
  if (fd_ >= 0 && era_ != 0 && era_ == fork_era()) {
    const DescriptorGate held;
    put_on_list(fd_, false);
    ::close(fd_);
  }
  fd_ = fd;
  era_ = 0;
}

}  // namespace comity
