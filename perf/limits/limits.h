// What the machine can do at best: the yardsticks that a collective's time is held against.
//
// Constants do not transfer between machines, nor between two hours of a shared one; so each is measured
// here, by the ranks that are measured otherwise, pinned as they are and all running at once.
//
//   line      a cache line written by one core and seen by another: nothing is exchanged faster
//   B_rw      bytes read plus written per second by all ranks together
//   T_limit   = max(alpha, traffic / B_rw), traffic being the least that a collective's ranks read and write
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "comity/plugin/result.h"
#include "comity/plugin/types.h"
#include "perf/job/board.h"

namespace comity::perf {

// All functions with a Board are collective and block for the slowest rank.

// Two buffers of `bytes` each, a multiple of 64 at addresses that are multiples of 64, or one cut in halves.
struct Footprint {
  std::byte* a = nullptr;
  std::byte* b = nullptr;
  size_t bytes = 0;
};

// B_rw in bytes/s over all `nranks` ranks, each working on a footprint of the same size at the same time: the
// best of a[i] += b[i] (3 bytes moved for each of `bytes`), a copy past the caches (2) and a plain copy (3,
// the third being the line fetched to be overwritten). The best of several passes, at most about 0.3 s.
// Destroys the contents. Addition is of integers: no content is slow.
Result<double> memory_bandwidth(Board& board, int nranks, const Footprint& footprint);

// One-way latency in ns of a cache line between ranks 0 and 1, polled with pause: the median of so
// many batches of a ping-pong of 500 round trips. The other ranks wait. 0 for a single rank. Unsteady on
// virtual machines (50 to 700 ns within an hour): print it beside what it is compared with.
Result<double> line_latency_ns(SharedBoard& board, int rank, int nranks, int batch_count = 64);

// Cost in ns of sched_yield when nobody else wants the core.
double yield_ns();

// Cost in ns of a sched_yield that hands the core to another process: ranks 0 and 1 share a core and yield in
// turn. Both are where they were afterwards. 0 for a single rank.
Result<double> yield_switch_ns(SharedBoard& board, int rank, int nranks);

struct TcpLimits {
  double one_way_bytes_per_s = 0;  // rank 0 to rank 1, nothing back
  double two_way_bytes_per_s = 0;  // each direction while both run
  double latency_ns = 0;           // 8 bytes one way, spinning on a non-blocking receive
};

// A raw socket exchange between ranks 0 and 1 on one machine over `address` (IPv4, rank 0's), with blocking
// sends of 1 MiB, a thread for each direction. `congestion` names the congestion control, empty for the
// system's. About a second. kSystemError.
Result<TcpLimits> tcp_limits(SharedBoard& board, int rank, const std::string& address,
                             const std::string& congestion);

// The least bytes that all ranks together read and write in memory, for `bytes` of payload (the size column).
double least_traffic_bytes(Collective collective, double bytes, int nranks);

// The parts of T_limit that do not depend on the size.
struct Alpha {
  double line_ns = 0;
  double yield_switch_ns = 0;
  int cores = 1;
};

// alpha in ns: one line between ranks that all run; 2 nranks / cores hand-overs where they must take turns.
double alpha_ns(const Alpha& alpha, int nranks);

}  // namespace comity::perf
