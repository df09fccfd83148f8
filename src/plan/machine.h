// The machine in which plans are proved. Private to this folder.
//
// It executes all parts at once, symbolically, in one order: every lane issues its next step as soon as it
// may, and it may at the latest moment that any runtime allows: a send only once the previous message of its
// channel was received, its completion only when its own message was received, a receive only while fewer
// than kMaxPosted of its channel wait, a group only in its turn, once the group before it is complete, and
// its completion only when all members are there, until when its lane issues nothing (a runtime without a
// provider for this group works through its definition there). Each condition stays true once it is true, so
// this order stalls exactly if every order does: no stall here means no deadlock anywhere, whichever groups
// have a provider.
//
// What the order happened to be is not relied on. Every access to a cell is compared with the accesses before
// it, one of them a write: the earlier step must be *surely* complete, that is, a chain of issues in lane
// order, of `after`, and of messages (sent before received, nothing more) leads from its completion to the
// later step's issue. Vector clocks of issued steps answer that: a step's completion precedes another's issue
// if the issue of one of its dependents does. Without a race all orders compute the same values, so the
// values of this one prove the result.
//
// Tiles do not mix: `after` and messages join steps of one tile, issue order leads only to later tiles, and
// what reuses scratch waits for the whole tile before. So clocks need no edge for the window.
//
// Where blocks have lengths of their own (extents.h), any of them may be empty, and what is empty is not
// sent: it orders nothing. There messages and groups lead no chain: only a rank's own issues and `after`
// order accesses. Leaving a message out makes nothing wait, so it stalls nothing, and a value is touched by
// steps of its own block alone, so what holds with all blocks there holds for each of them without the
// others.
//
// A send's completion is ordered with nothing but its dependents: a runtime may hold a source until the
// receiver has consumed it, or let go at once.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "src/plan/clocks.h"
#include "src/plan/goal.h"
#include "src/plan/layout.h"
#include "src/plan/plan.h"
#include "src/plan/values.h"
#include "src/plan/verify.h"
#include "src/plan/wiring.h"

namespace comity::plan {

struct MachineInput {
  const Shape* shape = nullptr;
  std::span<const Part> parts;  // by index; a peer is an index into it
  const Wiring* wiring = nullptr;
  const Columns* columns = nullptr;
  const Goal* goal = nullptr;
  bool in_place = false;  // aliases the caller's buffers; the wiring has the same placement
  uint32_t tiles = 1;
};

// A step of a tile.
struct Instance {
  uint32_t rank = 0, lane = 0, step = 0, flat = 0, tile = 0;
};
struct Message {
  Instance send;
  std::vector<ValueId> values;
  uint32_t clock = kNone;
};

class Machine {
 public:
  explicit Machine(const MachineInput& input);
  // The first violation of "deadlock", "race", "result" or "last", with rank an index into the parts; none if
  // the goal is reached in every tile. Call once.
  std::optional<Violation> run();

 private:
  struct Cell {
    ValueId value = kUndefined;
    uint32_t writer = kNone;   // the step that wrote it last in this tile
    uint32_t readers = kNone;  // who read it since: a list in Slot::readers
  };
  struct Reader {
    uint32_t step = 0;
    uint32_t next = kNone;
  };
  // One tile in flight on one rank.
  struct Slot {
    uint32_t tile = kNone;
    uint32_t left = 0;  // steps not complete
    std::vector<uint8_t> issued, done;
    std::vector<uint32_t> clock;    // what a complete or pending step's dependents learn, in clocks_
    std::vector<uint32_t> waiters;  // dependents yet to issue
    std::vector<Reader> readers;
  };
  // A group step, and the tile of its next call.
  struct Turn {
    uint32_t lane = 0, step = 0, flat = 0;
    uint64_t tile = 0;
  };
  struct Rank {
    uint32_t first_lane = 0;  // index into lanes_
    Layout layout;
    std::vector<Cell> cells;
    std::vector<Slot> slots;
    Clock end;                              // for goals that synchronize: what its completions imply
    std::vector<Turn> turns = {};           // of its group steps
    std::optional<Instance> in_group = {};  // the call that is not complete
  };
  struct LaneState {
    uint32_t rank = 0, lane = 0;
    uint32_t tile = 0, step = 0;
    bool queued = false;
    Clock clock;
  };
  struct ChannelState {
    std::optional<Message> message;  // sent, not received
    std::deque<Instance> posted;     // receives waiting
  };
  struct Arrival {
    Instance at;
    std::vector<std::vector<ValueId>> sources;
    uint32_t clock = kNone;
  };
  using Call = std::vector<Arrival>;  // by member; complete when all arrived
  struct MeetingState {
    std::deque<Call> calls;         // the first is the oldest that is not complete
    std::vector<uint64_t> arrived;  // calls begun, by member
    std::vector<uint32_t> missing;  // by call in `calls`
    uint64_t finished = 0;
  };

  const Step& step_of(const Instance& at) const { return parts_[at.rank].lanes[at.lane].steps[at.step]; }
  uint32_t slot_of(uint32_t tile) const { return tile % shape_.window; }
  Slot& slot(const Instance& at) { return ranks_[at.rank].slots[slot_of(at.tile)]; }
  LaneState& lane_of(const Instance& at) { return lanes_[ranks_[at.rank].first_lane + at.lane]; }
  void wake(uint32_t lane);
  void wake_rank(uint32_t rank);

  void advance(LaneState& lane);
  bool enter_tile(const LaneState& lane);
  void open(uint32_t rank, uint32_t tile);
  void close(uint32_t rank, uint32_t tile);
  bool ready(const Instance& at);
  bool has_turn(const Instance& at) const;
  const Turn* next_turn(uint32_t rank) const;
  void issue(const Instance& at);
  void learn(const Instance& at);
  void keep_clock(const Instance& at);
  void complete(const Instance& at);

  void issue_local(const Instance& at, const Step& step);
  void issue_send(const Instance& at, const Step& step);
  void issue_recv(const Instance& at, const Step& step);
  void issue_group(const Instance& at, const Step& step);
  void deliver(ChannelState& channel);
  void finish_call(MeetingState& meeting, const Group& group);
  void give_group_results(const Call& call, uint32_t member, const Group& group);
  ValueId group_value(const Call& call, const Group& group, uint32_t source, uint32_t chunk, bool folded,
                      uint32_t from);

  void read(const Instance& at, const ChunkRun& run, std::vector<ValueId>& values);
  void check_length(const Instance& at, const ChunkRun& run, ValueId id);
  void claim(const Instance& at, const ChunkRun& run);
  void store(const Instance& at, const ChunkRun& run, std::span<const ValueId> values);
  bool surely_before(const Instance& at, uint32_t earlier);

  void check_result(uint32_t rank, uint32_t tile);
  void check_value(uint32_t rank, const Promise& promise, ValueId id, const Cell& cell, uint32_t column);
  void check_synchronized(uint32_t rank);
  void fail(const Instance& at, std::string rule, std::string why);
  void fail_race(const Instance& at, uint32_t earlier, const ChunkRun& run, std::string_view how);
  Violation stalled();
  std::string why_stalled(const LaneState& lane, Instance& at);
  std::string why_group_stalls(const Instance& call) const;
  std::string whose_turn(const Instance& at) const;
  Instance instance_of(uint32_t rank, uint32_t flat, uint32_t tile) const;

  const Shape& shape_;
  std::span<const Part> parts_;
  const Wiring& wiring_;
  const Columns& columns_;
  const Goal& goal_;
  bool in_place_;
  uint32_t tiles_;
  ValueTable values_;
  std::vector<Rank> ranks_;
  std::vector<LaneState> lanes_;
  std::vector<ChannelState> channels_;
  std::vector<MeetingState> meetings_;
  std::deque<uint32_t> ready_lanes_;
  ClockPool clocks_;
  std::unordered_map<uint64_t, ValueId>
      agreed_;  // folded result by block and column: equal bits on all ranks
  std::optional<Violation> violation_;
};

}  // namespace comity::plan
