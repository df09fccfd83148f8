// What becomes of this library in a child made by fork().
//
// The child has the forking thread alone and a copy of all memory. Of ours it keeps nothing that its parent
// uses:
//
//   prepare   the forking thread takes every lock of ProcessLock, so that nothing in the child is half
//             changed
//   child     frees the locks, counts the era up, closes every descriptor of ours (unique_fd.h), forgets what
//             belongs to the parent (the functions given to on_fork_in_child)
//   parent    frees the locks
//
// Nothing is sent, shut down or unlinked: the parent and its peers see no difference. What is left in the
// child is as at the start of a process, so it may meet others and make communicators of its own; its
// parent's it may not use. See docs/decisions/0015-fork-and-death.md.
#pragma once

#include <cstdint>
#include <mutex>

namespace comity {

// The locks of the whole process, outermost first: whoever holds one takes only later ones. What guards
// objects that the child never looks at (a communicator's, a transport's) is no such lock.
enum class ProcessLock : uint32_t {
  // Held while drivers and vendors' libraries are opened, which may themselves fork: not taken for a fork,
  // but free in the child. What they guard is published whole or not at all.
  kDiscovery,
  kDevices,
  // Taken for a fork. Held briefly, and nothing under them forks.
  kDescriptorService,
  kArenas,
  kRegions,
  kBoards,
  kHandles,
  kLoop,
  kBerths,
  kLog,
  kCount,
};

std::mutex& process_lock(ProcessLock which);

// How often this process and those it comes from forked, from 1: what carries another number is the parent's.
// Any thread; one load.
uint32_t fork_era();

// Remembers what a child of fork() leaves as it is because it is its parent's: it is no leak. Any thread.
void leave_to_parent(const void* object);

// One T of this process, made at first use and never destroyed, as threads may outlive statics. A child of
// fork() gets one of its own; its parent's stays behind untouched. Whoever calls get() sees to it that one
// thread does at a time, by a ProcessLock or because there is only one. For constinit objects of a namespace.
template <typename T>
class OfThisProcess {
 public:
  T& get() {
    if (made_ != nullptr && era_ == fork_era()) return *made_;
    if (made_ != nullptr) leave_to_parent(made_);
    made_ = new T();
    era_ = fork_era();
    return *made_;
  }
  // Null if this process has none yet.
  T* find() const { return era_ == fork_era() ? made_ : nullptr; }

 private:
  T* made_ = nullptr;
  uint32_t era_ = 0;
};

// Calls `forget` in each child of a fork from now on, in the order of registration, in its only thread, when
// the locks are free and the era is the child's. It may allocate; what it forgets it leaves as it is rather
// than destroys it. At most 16, for the whole life of the process. Any thread.
void on_fork_in_child(void (*forget)());

}  // namespace comity
