#include "src/control/scope.h"

#include <fmt/core.h>

namespace comity::control {
namespace {

constexpr uint64_t kRecordsKept = 64;  // no rank can be further ahead of another

}  // namespace

std::string name_of_rank(uint32_t rank, uint32_t member) {
  if (rank == member) return fmt::format("rank {}", rank);
  return fmt::format("rank {} (rank {} of the family)", rank, member);
}

std::string sentence_for(const Fault& fault, const Scope& scope) {
  if (fault.rank == kNobody) return fault.text;
  const std::optional<uint32_t> rank = scope.rank_of(fault.rank);
  if (!rank) return fmt::format("rank {} of the family {}", fault.rank, fault.text);
  return name_of_rank(*rank, fault.rank) + " " + fault.text;
}

LeftScope left_scope_of(const Scope& scope) {
  LeftScope left{scope.id, scope.rank, scope.calls.last_number(), {}};
  const uint64_t first = left.last_number > kRecordsKept ? left.last_number - kRecordsKept + 1 : 1;
  for (uint64_t number = first; number <= left.last_number; ++number) {
    if (const auto record = scope.calls.find(number)) left.records.push_back(*record);
  }
  return left;
}

}  // namespace comity::control
