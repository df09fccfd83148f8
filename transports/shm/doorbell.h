// How a rank is woken, across threads and processes: a word in its board.
//
// The sleeper: arm() (sets the word), looks once more at everything, sleeps. The poster: writes what it has
// to say, then ring(): whoever takes the word out wakes the sleeper, by a futex call on it or, where that
// thread sleeps on more than this, by a datagram (src/base/berth.h). A wake-up is lost only if the poster's
// look at the word overtakes its write, on its way through the store buffer, and the sleeper's last look
// came before the write. A full fence in the poster excludes that and costs 13 ns; so only groups that
// expect sleepers (more ranks than cores) post with one, and all others rely on sleeps being short.
#pragma once

#include <atomic>
#include <cstdint>

#include "transports/shm/board.h"

namespace comity::shm {

// Orders all earlier stores before all later loads of this thread. Unlike atomic_thread_fence known to every
// sanitizer (they need no telling: what is ordered by it are atomics).
inline void full_fence() {
#if defined(__x86_64__)
  asm volatile("lock; orq $0, (%%rsp)" ::: "memory", "cc");
#elif defined(__aarch64__)
  asm volatile("dmb ish" ::: "memory");
#else
  std::atomic<uint32_t> word{0};
  word.exchange(1, std::memory_order_seq_cst);
#endif
}

// What is left of ring() once the word was taken out.
void wake(Doorbell& bell);

// Wakes the rank of this doorbell if it sleeps. A load of a line that rarely changes, otherwise.
inline void ring(Doorbell& bell) {
  if (bell.sleeping.load(std::memory_order_relaxed) == 0) [[likely]] {
    return;
  }
  if (bell.sleeping.exchange(0, std::memory_order_acq_rel) != 0) wake(bell);
}

// Of the owner.
void arm(Doorbell& bell, Sleeper& sleeper);
inline void disarm(Doorbell& bell) {
  bell.sleeping.store(0, std::memory_order_relaxed);
}

}  // namespace comity::shm
