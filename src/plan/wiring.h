// Who talks to whom in a set of parts: channels of matched sends and receives, meetings of groups, and for
// each step which steps wait for it. Private to this folder.
//
// A channel is (source, destination, lane); its k-th send meets its k-th receive, in every tile alike. Two
// runs have equal length for every tile length exactly when they begin and end at the same chunks: all ranks
// share the weights, and boundaries are rounded down by position, so equal weights elsewhere in the tile do
// not suffice. A meeting is (lane, collective, members, root); the k-th group step of one on each member is
// one call, and all members state the same order and lag for it. Where blocks have lengths of their own, both
// ends of a message name the same block (extents.h).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "src/plan/plan.h"
#include "src/plan/verify.h"

namespace comity::plan {

inline constexpr uint32_t kNone = UINT32_MAX;

// The first step of a lane that waits for a given step: every later one of that lane is issued after it.
struct Dependent {
  uint32_t lane = 0;
  uint32_t step = 0;
};

// One rank's steps, numbered flat: lane 0's steps, then lane 1's, ...
struct RankWiring {
  std::vector<uint32_t> lane_begin;       // lanes + 1 entries
  std::vector<uint32_t> channel;          // of a send, recv: the channel; of a group: the meeting; else kNone
  std::vector<uint32_t> dependent_begin;  // steps + 1 entries into dependents
  std::vector<Dependent> dependents;      // one for each lane that waits, its first step that does
  std::vector<uint32_t> waiters;          // per step: how many `after` entries name it
  uint32_t steps() const { return lane_begin.back(); }
  std::span<const Dependent> dependents_of(uint32_t step) const {
    return std::span(dependents)
        .subspan(dependent_begin[step], dependent_begin[step + 1] - dependent_begin[step]);
  }
};

struct Channel {
  uint32_t source = 0, destination = 0, lane = 0;
};

struct Meeting {
  const Group* group = nullptr;  // of the member with the lowest rank
  uint32_t lane = 0;
};

struct Wiring {
  std::vector<RankWiring> ranks;
  std::vector<Channel> channels;
  std::vector<Meeting> meetings;
  std::optional<Violation>
      violation;  // rule "match": sends and receives, or members' groups, that do not meet
};

// Wires parts whose bounds were checked. `in_place` keeps dependencies that only a call in place needs.
Wiring wire(const Shape& shape, std::span<const Part> parts, bool in_place);

}  // namespace comity::plan
