#include <sched.h>

#include <algorithm>
#include <vector>

#include "perf/job/affinity.h"
#include "perf/limits/limits.h"
#include "src/base/clock.h"

namespace comity::perf {
namespace {

constexpr int kTripsPerBatch = 500;
constexpr int kYieldBatches = 50;
constexpr int kYieldsPerBatch = 100;

// Moves this process to one core for as long as it lives.
class SharedCore {
 public:
  explicit SharedCore(int core) {
    sched_getaffinity(0, sizeof before_, &before_);
    status_ = pin_to_core(core);
  }
  ~SharedCore() { sched_setaffinity(0, sizeof before_, &before_); }
  SharedCore(const SharedCore&) = delete;
  SharedCore& operator=(const SharedCore&) = delete;
  const Status& status() const { return status_; }

 private:
  cpu_set_t before_;
  Status status_;
};

// The lower quartile of some batches: low, because a third process that runs on this core in between is no
// part of the cost; not the lowest, because the last batches may find the other rank gone.
double yields_ns() {
  std::vector<double> batches(kYieldBatches);
  for (double& batch : batches) {
    const uint64_t begin = now_ns();
    for (int i = 0; i < kYieldsPerBatch; ++i) sched_yield();
    batch = static_cast<double>(now_ns() - begin) / kYieldsPerBatch;
  }
  std::nth_element(batches.begin(), batches.begin() + kYieldBatches / 4, batches.end());
  return batches[kYieldBatches / 4];
}

}  // namespace

Result<double> line_latency_ns(SharedBoard& board, int rank, int nranks, int batch_count) {
  if (nranks < 2) return 0.0;
  std::vector<double> batches(static_cast<size_t>(batch_count));
  COMITY_RETURN_IF_ERROR(board.barrier());
  if (rank == 0) __atomic_store_n(board.bounce_line(), uint64_t{0}, __ATOMIC_RELEASE);
  COMITY_RETURN_IF_ERROR(board.barrier());
  for (size_t batch = 0; rank < 2 && batch < batches.size(); ++batch) {
    batches[batch] = comity_bounce_ns(board.bounce_line(), rank, batch * 2 * kTripsPerBatch, kTripsPerBatch);
  }
  COMITY_RETURN_IF_ERROR(board.max_over_ranks(batches));
  std::nth_element(batches.begin(), batches.begin() + batch_count / 2, batches.end());
  return batches[static_cast<size_t>(batch_count / 2)];
}

double yield_ns() {
  return yields_ns();
}

Result<double> yield_switch_ns(SharedBoard& board, int rank, int nranks) {
  if (nranks < 2) return 0.0;
  double took = 0;
  if (rank < 2) {
    const SharedCore core(allowed_cores().front());
    COMITY_RETURN_IF_ERROR(core.status());
    COMITY_RETURN_IF_ERROR(board.barrier());
    took = yields_ns() / 2;  // each of this rank's yields is followed by one of the other's
  } else {
    COMITY_RETURN_IF_ERROR(board.barrier());
  }
  COMITY_RETURN_IF_ERROR(board.max_over_ranks({&took, 1}));
  return took;
}

}  // namespace comity::perf
