// How many calls each rank of a communicator made, compared when it is finalized.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "comity/plugin/result.h"
#include "src/base/bytes.h"
#include "src/control/call_log.h"
#include "src/control/waiting_for.h"

namespace comity::control {

struct CallCounts {
  uint32_t rank = 0;
  uint64_t collectives = 0;
  std::vector<PairCount> pairs;
  std::string next;  // what it called after the least number of collectives that a rank made; may be empty
  std::vector<uint64_t> recent;  // signatures of its last collectives, the latest first
};

// Sums of these over all ranks are zero if on every pair and in each direction as many Sends as Recvs were
// made; if not, they are with probability 2^-128 at most about: each message counts a hash of (from, to),
// once up for the Send and once down for the Recv.
std::array<uint64_t, 2> balance_of(const CallCounts& counts);

// A rank may be so many calls ahead of others, and end, before a call that differs is met by anybody.
inline constexpr uint64_t kRecentCalls = 144;
// Signatures of the last so many that are still known.
std::vector<uint64_t> recent_signatures(const CallLog& calls);

Bytes encode(const CallCounts& counts);
// By rank, as encode() made them. kRemoteError: malformed.
Result<std::vector<CallCounts>> decode_counts(const std::vector<Bytes>& everyone);
// kInvalidUsage: the lowest two ranks whose numbers of collectives differ, else the lowest pair of which one
// sent what the other did not receive. `everyone`: by rank; `lowest`: the least number of collectives. Every
// rank computes the same sentence.
Status first_difference_in_counts(const std::vector<CallCounts>& everyone, uint64_t lowest);
// Of as many collectives on every rank, the first that two ranks called differently, with the lowest rank
// that differs from rank 0; number 0: all alike.
struct DifferingCall {
  uint64_t number = 0;
  uint32_t rank = 0;
};
DifferingCall first_differing_call(const std::vector<CallCounts>& everyone);

}  // namespace comity::control
