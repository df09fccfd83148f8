// The results of a program as JSON (-J), in the form that nccl-tests writes, with more in it.
//
//   version   1
//   program   "all_reduce_perf"
//   config    nranks, pinned, cores, buffers, mode, transport, algorithm, iterations, warmup, checks
//   results   one object for each row: size (bytes), count (elements), type, redop, root, out_of_place and
//             in_place, each null where the collective has none, else:
//               time      microseconds, as in the table; min_us and max_us of single calls; iterations
//               alg_bw    10^9 bytes/s; bus_bw likewise
//               nwrong    elements, null if unchecked
//               line_ns, limit_percent, where they were measured
//   out_of_bounds           count, okay
//   average_bus_bandwidth   bandwidth, 10^9 bytes/s
#pragma once

#include <string>
#include <vector>

#include "perf/core/measure.h"
#include "perf/core/options.h"

namespace comity::perf {

struct ReportContext {
  std::string program;
  int nranks = 1;
  bool pinned = false;
};

struct Totals {
  uint64_t wrong = 0;  // elements, over all rows
  double average_busbw_gb_per_s = 0;
};
Totals totals_of(const std::vector<RowResult>& rows);

// The column "redop".
const char* op_text(const RowKey& key);

std::string results_json(const ReportContext& context, const Options& options,
                         const std::vector<RowResult>& rows);

}  // namespace comity::perf
