#include "perf/core/comm_board.h"

#include <fmt/core.h>

namespace comity::perf {

Status status_of(comityResult_t result, comityComm_t comm, const std::string& what) {
  if (result == comitySuccess) return {};
  const std::string sentence = comityGetLastError(comm);
  const auto code = static_cast<Code>(result);
  return Status(code, fmt::format("{}: {}{}{}", what, comityGetErrorString(result),
                                  sentence.empty() ? "" : ": ", sentence));
}

Status CommBoard::start_together() {
  return status_of(comityBarrier(comm_, nullptr), comm_, "the barrier before timing");
}

Status CommBoard::max_over_ranks(std::span<double> values) {
  return status_of(
      comityAllReduce(values.data(), values.data(), values.size(), comityFloat64, comityMax, comm_, nullptr),
      comm_, "combining times");
}

Result<uint64_t> CommBoard::sum_over_ranks(uint64_t value) {
  COMITY_RETURN_IF_ERROR(status_of(
      comityAllReduce(&value, &value, 1, comityUint64, comitySum, comm_, nullptr), comm_, "adding counts"));
  return value;
}

}  // namespace comity::perf
