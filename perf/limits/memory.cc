#include <algorithm>
#include <cmath>

#include "perf/limits/limits.h"
#include "perf/limits/memory_kernels.h"
#include "src/base/clock.h"

namespace comity::perf {
namespace {

using Kernel = void (*)(std::byte*, const std::byte*, size_t);

struct Candidate {
  Kernel kernel;
  double bytes_moved_per_byte;
};

constexpr Candidate kCandidates[] = {{add_into, 3}, {copy_past_caches, 2}, {copy_through_caches, 3}};
constexpr int kPasses = 7;
constexpr size_t kLeastBytesPerPass = 512 << 10;  // a pass is much longer than its start is ragged

// From the first rank's begin to the last one's end in ns: ranks that take turns on a core are not done when
// each has had its turn.
Result<double> span_ns(Board& board, uint64_t begin_ns, uint64_t end_ns) {
  if (!board.one_clock()) {
    double took = static_cast<double>(end_ns - begin_ns);
    COMITY_RETURN_IF_ERROR(board.max_over_ranks({&took, 1}));
    return took;
  }
  double outer[2] = {-static_cast<double>(begin_ns), static_cast<double>(end_ns)};
  COMITY_RETURN_IF_ERROR(board.max_over_ranks(outer));
  return outer[0] + outer[1];
}

// The time of one repetition in ns, all ranks running: the best pass.
Result<double> best_ns(Board& board, Kernel kernel, const Footprint& at) {
  const size_t repetitions = std::max<size_t>(1, kLeastBytesPerPass / at.bytes);
  double best = INFINITY;
  for (int pass = 0; pass < kPasses; ++pass) {
    COMITY_RETURN_IF_ERROR(board.start_together());
    const uint64_t begin = now_ns();
    for (size_t i = 0; i < repetitions; ++i) kernel(at.a, at.b, at.bytes);
    COMITY_ASSIGN_OR_RETURN(const double took, span_ns(board, begin, now_ns()));
    if (pass > 0)
      best = std::min(best, took / static_cast<double>(repetitions));  // the first warms the caches
  }
  return best;
}

}  // namespace

Result<double> memory_bandwidth(Board& board, int nranks, const Footprint& footprint) {
  double best = 0;
  for (const Candidate& candidate : kCandidates) {
    COMITY_ASSIGN_OR_RETURN(const double ns, best_ns(board, candidate.kernel, footprint));
    const double moved = candidate.bytes_moved_per_byte * static_cast<double>(footprint.bytes) * nranks;
    best = std::max(best, moved / (ns * 1e-9));
  }
  return best;
}

double least_traffic_bytes(Collective collective, double bytes, int nranks) {
  switch (collective) {
    case Collective::kAllReduce:
      return 2.0 * nranks * bytes;  // each rank's input is read, each rank's result written
    case Collective::kReduce:
    case Collective::kBroadcast:
      return (nranks + 1.0) * bytes;  // one side has nranks buffers of `bytes`, the other one
    case Collective::kAllGather:
    case Collective::kReduceScatter:
      return (nranks + 1.0) * bytes;  // `bytes` is the whole: once in pieces, once on each rank
    case Collective::kGather:
    case Collective::kScatter:
      return 2.0 * bytes;  // `bytes` is the root's whole: read once, written once
    case Collective::kAllToAll:
    case Collective::kExchange:
      return 2.0 * nranks * bytes;  // `bytes` is what one rank gives
    default:
      return 0;
  }
}

double alpha_ns(const Alpha& alpha, int nranks) {
  if (nranks <= 1) return 0;
  if (nranks <= alpha.cores) return alpha.line_ns;
  return 2.0 * nranks / alpha.cores * alpha.yield_switch_ns;
}

}  // namespace comity::perf
