#include <sched.h>

#include <algorithm>
#include <array>

#include "perf/job/affinity.h"
#include "perf/limits/limits.h"
#include "src/base/clock.h"

namespace comity::perf {
namespace {

constexpr int kBatches = 64;
constexpr uint64_t kTripsPerBatch = 500;
constexpr int kYields = 5000;

// Waits for the line to hold `value`. Gives the core away now and then, lest two ranks that share one hang.
void await_value(const uint64_t* line, uint64_t value) {
  for (uint32_t probes = 1; __atomic_load_n(line, __ATOMIC_ACQUIRE) != value; ++probes) {
    if (probes % 4096 == 0) {
      sched_yield();
    } else {
      cpu_pause();
    }
  }
}

// One batch of round trips; every value written is one more than the one before.
double batch_ns(uint64_t* line, int rank, uint64_t first) {
  const uint64_t begin = now_ns();
  for (uint64_t trip = 0; trip < kTripsPerBatch; ++trip) {
    const uint64_t value = first + 2 * trip;
    if (rank == 0) {
      __atomic_store_n(line, value + 1, __ATOMIC_RELEASE);
      await_value(line, value + 2);
    } else {
      await_value(line, value + 1);
      __atomic_store_n(line, value + 2, __ATOMIC_RELEASE);
    }
  }
  return static_cast<double>(now_ns() - begin) / (2.0 * kTripsPerBatch);
}

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

double yields_ns() {
  const uint64_t begin = now_ns();
  for (int i = 0; i < kYields; ++i) sched_yield();
  return static_cast<double>(now_ns() - begin) / kYields;
}

}  // namespace

Result<double> line_latency_ns(SharedBoard& board, int rank, int nranks) {
  if (nranks < 2) return 0.0;
  std::array<double, kBatches> batches{};
  COMITY_RETURN_IF_ERROR(board.barrier());
  if (rank == 0) __atomic_store_n(board.bounce_line(), uint64_t{0}, __ATOMIC_RELEASE);
  COMITY_RETURN_IF_ERROR(board.barrier());
  for (int batch = 0; rank < 2 && batch < kBatches; ++batch) {
    const uint64_t first = static_cast<uint64_t>(batch) * 2 * kTripsPerBatch;
    batches[static_cast<size_t>(batch)] = batch_ns(board.bounce_line(), rank, first);
  }
  COMITY_RETURN_IF_ERROR(board.max_over_ranks(batches));
  std::nth_element(batches.begin(), batches.begin() + kBatches / 2, batches.end());
  return batches[kBatches / 2];
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
