// The table, as nccl-tests prints it, and the same as JSON. Rank 0 alone speaks.
#pragma once

#include <memory>
#include <string>

#include "comity/plugin/result.h"
#include "perf/core/measure.h"

namespace comity::perf {

struct ReportContext {
  std::string program;
  int nranks = 1;
  bool pinned = false;
};

class Report {
 public:
  Report(ReportContext context, const Options& options);
  ~Report();
  // The lines above the table; `alpha` values are printed with --limit.
  void header() const;
  // One row, flushed.
  void row(const RowResult& result);
  // The lines below, and the JSON file. kSystemError when that cannot be written.
  Status footer() const;
  // Elements that were wrong so far, over all rows.
  uint64_t wrong() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace comity::perf
