// The table, as nccl-tests prints it; the same as JSON and as a plot. Rank 0 alone speaks.
#pragma once

#include <memory>
#include <string>

#include "comity/plugin/result.h"
#include "perf/core/measure.h"
#include "perf/core/results_json.h"

namespace comity::perf {

class Report {
 public:
  Report(ReportContext context, const Options& options);
  ~Report();
  // The lines above the table; `alpha` values are printed with --limit.
  void header() const;
  // One row, flushed.
  void row(const RowResult& result);
  // The lines below, the JSON file and the plot. kSystemError when one cannot be written.
  Status footer() const;
  // Elements that were wrong so far, over all rows.
  uint64_t wrong() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace comity::perf
