// Times and checks one row of the table.
//
// Back to back (the default, as in nccl-tests): the ranks start together, make all calls without a pause, and
// the time is the slowest rank's divided by their number. The buffers stay in the caches of whoever wrote
// them last, which flatters shared memory. Owner-writes: before each call each rank rewrites its input, and
// the ranks start together; each call's time is its slowest rank's, and the row's is their median.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "comity/plugin/result.h"
#include "perf/core/collective.h"
#include "perf/core/options.h"
#include "perf/core/session.h"
#include "perf/limits/limits.h"

namespace comity::perf {

struct RowKey {
  uint64_t bytes = 0;  // as asked for; a shape may round it down
  DataType type = DataType::kFloat32;
  std::optional<RedOp> op;
  int root = 0;
};

struct PlacementResult {
  double time_us = 0;  // the mean back to back, the median with owner-writes
  double min_us = 0;   // equal to time_us back to back, unless iterations are timed
  double max_us = 0;
  int iterations = 0;
  std::vector<double> iterations_us;  // each one's, of its slowest rank, in their order; if asked for
  double algbw_gb_per_s = 0;
  double busbw_gb_per_s = 0;
  std::optional<uint64_t> wrong;  // elements of all ranks, and broken guard bytes; nothing if not checked
  std::optional<double> limit_percent;
  // With owner-writes, on one machine: the line latency right before and after the timed calls.
  std::optional<std::array<double, 2>> line_ns;
};

struct RowResult {
  RowKey key;
  Shape shape;
  uint64_t bytes = 0;  // what the row moves after rounding: the column "size"
  PlacementResult out_of_place;
  std::optional<PlacementResult> in_place;  // nothing where a call in place is none

  uint64_t wrong() const {
    return out_of_place.wrong.value_or(0) + (in_place ? in_place->wrong.value_or(0) : 0);
  }
};

// The same on all ranks; `run` is collective.
class Measurer {
 public:
  // References must outlive it. `send` and `recv` hold at least options.max_bytes, and 8 KiB.
  Measurer(const CollectiveSpec& spec, const Options& options, Session& session, Buffer& send, Buffer& recv)
      : spec_(spec), options_(options), session_(session), send_(send), recv_(recv) {}
  // Measures the parts of the limit that do not depend on the size, once before the first row.
  Status prepare_limit();
  // kInvalidArgument for a row that the collective refuses; any other error ends the job.
  Result<RowResult> run(const RowKey& key);

 private:
  struct Row;
  const Buffer& buffer_of(const void* at) const;
  Status write_input(const Row& row, const Call& call, size_t shift) const;
  Result<uint64_t> count_wrong(const Row& row, const Call& call, size_t shift) const;
  Result<PlacementResult> run_placement(const Row& row, bool in_place);
  Status warm_up(const Row& row, const Call& call);
  comityResult_t iterate(const Call& call);
  Result<double> over_ranks(double time_us);
  Status time_back_to_back(const Row& row, const Call& call, PlacementResult& result);
  Status time_one_by_one(const Row& row, const Call& call, PlacementResult& result);
  Result<uint64_t> check(const Row& row, const Call& call);
  Result<uint64_t> check_barrier(const Call& call);
  Result<uint64_t> checked_call(const Row& row, const Call& call, size_t shift);
  Result<double> limit_us(const Row& row, bool in_place);
  bool watches_line() const;
  Result<double> line_now_ns();
  Status make_call(const Call& call);

  const CollectiveSpec& spec_;
  const Options& options_;
  Session& session_;
  Buffer& send_;
  Buffer& recv_;
  Alpha alpha_;
};

}  // namespace comity::perf
