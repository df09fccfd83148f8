/* A starting line for ranks on one machine: a barrier in shared memory that lets everyone go at one instant.
 *
 * A plain barrier releases its last arriver one cache-line transfer before the others, and that transfer then
 * counts as time of whatever is measured next: at 8 bytes as much again as the collective itself. Here the
 * last arriver names an instant of the common clock that is safely ahead, and each rank leaves when it has
 * come. The same code starts Comity's programs and those of other libraries (C99, header only), so that
 * nobody's own barrier is part of anybody's time.
 *
 * Memory of zeros is a valid line for any number of ranks. All ranks share the machine's CLOCK_MONOTONIC. */
#ifndef COMITY_PERF_JOB_START_LINE_H_
#define COMITY_PERF_JOB_START_LINE_H_

#include <sched.h>
#include <stdint.h>
#include <time.h>

/* 192 bytes, each field written by different ranks on a cache line of its own. */
struct comity_start_line {
  uint32_t arrived; /* ranks waiting in this generation */
  char pad0[60];
  uint32_t generation; /* counted up by the last arriver */
  uint32_t abandoned;  /* set by a rank that gave up: nobody waits any more */
  char pad1[56];
  uint64_t start_ns; /* when this generation goes; 0: at once */
  char pad2[56];
};

static inline uint64_t comity_clock_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline void comity_relax(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

/* Waits until `generation` moved on from `seen`. Spins with pause; every 4096 probes, or at every probe if
 * `crowded`, gives the core away. 0, or -1 when the line was abandoned or `timeout_ns` passed. */
static inline int comity_await_generation(struct comity_start_line* line, uint32_t seen, int crowded,
                                          uint64_t timeout_ns) {
  const uint64_t give_up_ns = comity_clock_ns() + timeout_ns;
  uint32_t probes = 0;
  while (__atomic_load_n(&line->generation, __ATOMIC_ACQUIRE) == seen) {
    if (!crowded && ++probes % 4096 != 0) {
      comity_relax();
      continue;
    }
    if (__atomic_load_n(&line->abandoned, __ATOMIC_RELAXED) != 0) return -1;
    if (comity_clock_ns() > give_up_ns) {
      __atomic_store_n(&line->abandoned, 1, __ATOMIC_RELAXED);
      return -1;
    }
    sched_yield();
  }
  return 0;
}

/* Blocks until `nranks` ranks have called it, then until the common instant, `slack_ns` after the last one
 * came (0: none; it must exceed the time in which the others see it). `crowded`: more ranks than cores, so
 * that a waiting rank must give its core away. 0, or -1 when a rank stayed away for `timeout_ns`; the line is
 * then abandoned for everyone. Any thread, one per rank at a time. */
static inline int comity_start_together(struct comity_start_line* line, int nranks, int crowded,
                                        uint64_t slack_ns, uint64_t timeout_ns) {
  const uint32_t seen = __atomic_load_n(&line->generation, __ATOMIC_ACQUIRE);
  if (__atomic_add_fetch(&line->arrived, 1, __ATOMIC_ACQ_REL) == (uint32_t)nranks) {
    __atomic_store_n(&line->arrived, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&line->start_ns, slack_ns == 0 ? 0 : comity_clock_ns() + slack_ns, __ATOMIC_RELAXED);
    __atomic_store_n(&line->generation, seen + 1, __ATOMIC_RELEASE);
  } else if (comity_await_generation(line, seen, crowded, timeout_ns) != 0) {
    return -1;
  }
  if (slack_ns == 0) return 0;
  const uint64_t start_ns = __atomic_load_n(&line->start_ns, __ATOMIC_RELAXED);
  while (comity_clock_ns() < start_ns) {
  }
  return 0;
}

/* One-way ns of the cache line `line` between ranks 0 and 1: `trips` round trips, polled with pause. Both
 * call it at about the same time with the same `first`, the value that the line holds; it holds first + 2 *
 * trips afterwards. On a virtual machine this tells where the host has put the two cores just now. */
/* NOLINTNEXTLINE(readability-non-const-parameter): both ranks store to it */
static inline double comity_bounce_ns(uint64_t* line, int rank, uint64_t first, int trips) {
  const uint64_t begin_ns = comity_clock_ns();
  uint64_t value = first;
  for (int i = 0; i < trips; ++i, value += 2) {
    if (rank == 0) __atomic_store_n(line, value + 1, __ATOMIC_RELEASE);
    const uint64_t awaited = value + (rank == 0 ? 2 : 1);
    for (uint32_t probes = 1; __atomic_load_n(line, __ATOMIC_ACQUIRE) != awaited; ++probes) {
      if (probes % 4096 == 0) {
        sched_yield(); /* lest two ranks that share a core hang */
      } else {
        comity_relax();
      }
    }
    if (rank == 1) __atomic_store_n(line, value + 2, __ATOMIC_RELEASE);
  }
  return (double)(comity_clock_ns() - begin_ns) / (2.0 * trips);
}

#endif /* COMITY_PERF_JOB_START_LINE_H_ */
