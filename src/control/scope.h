// One communicator of the family as one rank has it: what its session and the node share.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "src/control/call_log.h"
#include "src/control/control.h"
#include "src/control/gathering.h"
#include "src/control/messages.h"
#include "src/control/waiting_for.h"

namespace comity::control {

struct Scope {
  // `members`: by rank here, their ranks in the family; empty for the first communicator, which has all.
  // `its_name`: for the log; may be empty.
  Scope(uint64_t scope_id, std::vector<uint32_t> scope_members, uint32_t own_rank, uint32_t count,
        std::string its_name)
      : id(scope_id),
        members(std::move(scope_members)),
        rank(own_rank),
        nranks(count),
        name(std::move(its_name)) {}

  const uint64_t id;
  const std::vector<uint32_t> members;
  const uint32_t rank;
  const uint32_t nranks;
  const std::string name;
  CallLog calls;
  WaitingFor waiting;
  std::atomic<const Verdict*> verdict{nullptr};
  std::atomic<bool> finalizes{false};  // this rank makes no further call

  // Reports that were handed to the control thread and not yet taken: of calls [first, last]; last 0: none.
  std::mutex report_mutex;
  uint64_t report_first = 0;
  uint64_t report_last = 0;

  // Guarded by Node::Waits::mutex:
  std::map<uint64_t, GatherResult> results;  // by sequence
  bool gone = false;                         // its user has left, and need not wait for anybody

  // Control thread only:
  std::unique_ptr<const Verdict> verdict_storage;
  bool left = false;

  // The rank here of a rank of the family.
  std::optional<uint32_t> rank_of(uint32_t member) const {
    if (members.empty()) return member < nranks ? std::optional(member) : std::nullopt;
    const auto found = std::find(members.begin(), members.end(), member);
    if (found == members.end()) return std::nullopt;
    return static_cast<uint32_t>(found - members.begin());
  }
  bool ended_by(const Fault& fault) const {
    if (fault.communicator != 0) return fault.communicator == id;
    if (fault.rank == kNobody) return true;
    return rank_of(fault.rank) && std::find(fault.left.begin(), fault.left.end(), id) == fault.left.end();
  }
};

// "rank 1", and of a split communicator "rank 1 (rank 5 of the family)" where the numbers differ.
std::string name_of_rank(uint32_t rank, uint32_t member);
// The words of a fault for the members of `scope`.
std::string sentence_for(const Fault& fault, const Scope& scope);

// What is kept of a communicator that this rank has left, to answer questions of those that have not.
struct LeftScope {
  uint64_t id = 0;
  uint32_t rank = 0;
  uint64_t last_number = 0;
  std::vector<CallRecord> records;  // the last ones, as many as others may be behind
};
LeftScope left_scope_of(const Scope& scope);

}  // namespace comity::control
