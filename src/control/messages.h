// The control plane's messages as values, and their bytes. Decoders take anything and answer nothing for what
// is malformed: counts and lengths are checked before use, trailing bytes are refused.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "comity/plugin/result.h"
#include "src/base/bytes.h"
#include "src/base/socket.h"
#include "src/control/call_log.h"
#include "src/control/rank_set.h"
#include "src/control/waiting_for.h"

namespace comity::control {

// Types of frames. Meeting and tree sockets share the numbering, so that a frame on the wrong socket is
// refused.
enum class MessageType : uint16_t {
  // Meeting
  kVisit = 1,
  kAnswer = 2,
  // Tree
  kStanding = 9,     // up: this connection is the one I use (an earlier one may have timed out on my side)
  kReady = 10,       // up: my whole subtree is connected
  kGo = 11,          // down: everyone is
  kGatherUp = 12,    // up: contributions of my subtree
  kGatherDown = 13,  // down: everyone's
  kAgreeUp = 14,
  kAgreeDown = 15,
  kReport = 16,   // up: somebody suspects calls of a communicator
  kAsk = 17,      // down: what did you call under these numbers?
  kOpinion = 18,  // up: this
  kDeclare = 19,  // up: an error that the root should make a verdict
  kVerdict = 20,  // to all neighbours
  kLeaving = 21,  // to all neighbours: my silence or end is no fault from now on
  kLeavingAck = 22,
  kLead = 23,      // down: the root's ballot, and what it proposes as the verdict
  kState = 24,     // up: who below has answered
  kFarewell = 25,  // to all neighbours: I end at once; this is why
  kPing = 26,      // up: are you there?
  kPong = 27,
  kEnded = 28,      // to a rank's parent: its process has ended; if it had not left, that is a fault
  kParted = 29,     // to all neighbours: communicators that I left, and others of whose family I stay
  kShared = 30,     // to all neighbours, once: the family has more communicators than the first
  kScopeUp = 31,    // up: what members of one communicator contribute to a gathering of theirs
  kScopeDown = 32,  // down, to where something came from: the whole
  kWaits = 33,      // up: what a rank waits for
  kWhoWaits = 34,   // down: what do you wait for?
  kGone = 35,       // from one that leaves the tree, to those below or whom it called: who is gone
  kLetter = 37,     // any way: from one rank to another
  kScopeLate = 36,  // up: a member waits no longer for a gathering; whoever has not come is at fault
  kRollCall = 38,   // up: somebody may be in nobody's sight; see who is there
};

// --- Meeting ---------------------------------------------------------------------------------------------
enum class VisitPurpose : uint8_t {
  kJoin = 1,    // here I am; who is my parent?
  kStatus = 2,  // has the meeting failed, and who is missing?
  kGiveUp = 3,  // my join failed, so the communicator cannot come to be
  kDone = 4,    // from rank 0: everyone is connected, the meeting may close
};
struct Visit {
  VisitPurpose purpose = VisitPurpose::kJoin;
  uint32_t nranks = 0;
  uint64_t visitor =
      0;  // random, the same in all visits of one join: tells a second process from a second visit
  Code code = Code::kSuccess;  // kGiveUp: why
  std::string text;
  std::vector<SocketAddress> addresses;  // kJoin: of the visitor's tree listener; at most 8
};
enum class AnswerKind : uint8_t {
  kParent = 1,    // rank 0: without addresses
  kComeBack = 2,  // your parent is not here yet
  kRefused = 3,   // the meeting failed, or you are wrong: code and text
  kNoted = 4,     // answers the other purposes
};
struct Answer {
  AnswerKind kind = AnswerKind::kNoted;
  uint32_t come_back_ms = 0;
  Code code = Code::kSuccess;
  std::string text;     // of a refusal
  std::string missing;  // "2, 5-7 of 8"; empty when all came
  std::vector<SocketAddress> addresses;
};
inline constexpr uint32_t kMeetingPayloadBytes = 8 * 1024;
inline constexpr size_t kMaxTextBytes = 3 * 1024;  // longer ones are cut

Bytes encode(const Visit& visit);
Bytes encode(const Answer& answer);
std::optional<Visit> decode_visit(std::span<const std::byte> bytes);
std::optional<Answer> decode_answer(std::span<const std::byte> bytes);

// --- Tree ------------------------------------------------------------------------------------------------
struct RankedBytes {
  uint32_t rank = 0;
  Bytes bytes;
};
struct Gathered {  // kGatherUp, kGatherDown
  uint64_t sequence = 0;
  std::vector<RankedBytes> items;  // ranks strictly ascending
};
struct Agreement {  // kAgreeUp, kAgreeDown
  uint64_t sequence = 0;
  bool equal = false;
  std::array<std::byte, 32> hash{};  // of the sender; zero on the way down
};
// A part of a gathering among the members of one communicator. kScopeUp, kScopeDown
struct ScopePart {
  uint64_t communicator = 0;
  uint64_t sequence = 0;  // of the communicator's gatherings
  uint32_t members = 0;   // that it has
  RankSet came;           // members whose contributions this holds; none: one of them has given up
  bool compares = false;
  bool equal = true;                  // compares: whether all hashes are
  std::array<std::byte, 32> hash{};   // compares: one of them
  uint64_t lowest = UINT64_MAX;       // compares: the least of their numbers
  std::array<uint64_t, 2> balance{};  // compares: the sums of theirs
  std::vector<RankedBytes> items;     // else: by rank in the communicator, ascending
};
// The deadline of a member has passed in a gathering of its communicator. kScopeLate
struct LateScope {
  uint64_t communicator = 0;
  uint64_t sequence = 0;
  uint32_t rank = 0;              // in the communicator
  std::vector<uint32_t> members;  // by rank in the communicator, their ranks in the family; empty: the same
  std::string what;               // it waited in: "comityCommFinalize"
};
// What a rank says of one call number of a communicator. kOpinion
enum class Standing : uint8_t {
  kCalled = 0,
  kLeft = 1,      // it left before it called that number
  kFinished = 2,  // it makes no further call
};
struct Opinion {
  uint64_t number = 0;
  uint32_t rank = 0;    // in the communicator
  uint32_t member = 0;  // in the family
  Standing standing = Standing::kCalled;
  CallRecord record;  // but for kCalled only its number counts, of the last call that it made
};
struct Opinions {
  uint64_t inquiry = 0;
  std::vector<Opinion> opinions;  // their numbers never descend
};
// What a rank waits for in one communicator, in the ranks' numbers there. kWaits
struct Waiting {
  uint64_t round = 0;  // of the question; 0: nobody asked
  uint64_t communicator = 0;
  uint32_t rank = 0;
  uint32_t member = 0;       // in the family
  uint64_t last_number = 0;  // of its collectives
  CallRecord record;  // of the collective in which it waits; number 0 where that is none that is recorded
  WaitingFor::Now now;
};
struct WhoWaits {  // kWhoWaits
  uint64_t round = 0;
  uint64_t communicator = 0;
  std::vector<uint32_t> ranks;  // of the communicator
};
struct Inquiry {  // kAsk; kReport with inquiry 0
  uint64_t inquiry = 0;
  uint64_t communicator = 0;
  uint64_t first = 0;  // calls [first, last], at most kMostAsked
  uint64_t last = 0;
};
inline constexpr uint64_t kMostAsked = 128;
inline constexpr uint32_t kNobody = UINT32_MAX;
struct Fault {  // kDeclare, kFarewell; with a slot kVerdict
  Code code = Code::kInternalError;
  std::string text;  // with a rank: what follows its name
  // What it ends: this communicator; or 0: all in which `rank` is and that it had not left; or all.
  uint64_t communicator = 0;
  uint32_t rank = kNobody;  // of the family: who ended, or aborted
  std::vector<uint64_t> left;
};
struct Decided {  // kVerdict
  uint64_t slot = 0;
  Fault fault;
};
// Of a verdict that is no decision of all: the join failed, or this part is cut off. It ends everything here.
inline constexpr uint64_t kNoSlot = UINT64_MAX;
// Cut to what a message holds, so that the declaring rank has the same sentence as those that are told.
Fault fault_of(Code code, std::string text);
struct Ended {  // kEnded
  uint32_t rank = 0;
};
struct Left {
  uint64_t communicator = 0;
  uint32_t rank = 0;  // there
  uint64_t last_number = 0;
};
struct Leaving {  // kLeaving: the communicators that others may still ask about
  std::vector<Left> left;
};
struct Parted {  // kParted
  std::vector<uint64_t> communicators;
};
// Of a root and its round: see decision.h. 0 is the first root's.
using Ballot = uint64_t;
struct Lead {  // kLead
  Ballot ballot = 0;
  uint64_t slot = 0;              // that is open
  std::optional<Fault> proposal;  // for it
};
struct Accepted {
  Ballot ballot = 0;
  Fault fault;
};
struct Gone {    // kGone
  RankSet all;   // who has exited, left or aborted: they refuse connections, or said that they will
  RankSet left;  // those of them that said so
  bool operator==(const Gone&) const = default;
};
struct TreeState {  // kState
  Ballot ballot = 0;
  uint64_t slot = 0;  // that is open
  RankSet promised;   // who heard of the ballot
  RankSet agreeing;   // who accepted its proposal for the slot
  Gone gone;
  std::optional<Accepted> accepted;  // for the slot; with the highest ballot of those that anyone accepted
};
inline constexpr uint32_t kTreePayloadBytes = 256u << 20;

Bytes encode(const Gathered& gathered);
Bytes encode(const Agreement& agreement);
Bytes encode(const ScopePart& part);
Bytes encode(const LateScope& late);
Bytes encode(const Opinions& opinions);
Bytes encode(const Inquiry& inquiry);
Bytes encode(const Waiting& waits);
Bytes encode(const WhoWaits& question);
Bytes encode(const Fault& fault);
Bytes encode(const Decided& decided);
Bytes encode(const Leaving& leaving);
Bytes encode(const Parted& parted);
Bytes encode(const Ended& ended);
Bytes encode(const Gone& gone);
Bytes encode(const Lead& lead);
Bytes encode(const TreeState& state);
std::optional<Gathered> decode_gathered(std::span<const std::byte> bytes);
std::optional<Agreement> decode_agreement(std::span<const std::byte> bytes);
std::optional<ScopePart> decode_scope_part(std::span<const std::byte> bytes);
std::optional<LateScope> decode_late_scope(std::span<const std::byte> bytes);
std::optional<Opinions> decode_opinions(std::span<const std::byte> bytes);
std::optional<Inquiry> decode_inquiry(std::span<const std::byte> bytes);
std::optional<Waiting> decode_waits(std::span<const std::byte> bytes);
std::optional<WhoWaits> decode_who_waits(std::span<const std::byte> bytes);
std::optional<Fault> decode_fault(std::span<const std::byte> bytes);
std::optional<Decided> decode_decided(std::span<const std::byte> bytes);
std::optional<Leaving> decode_leaving(std::span<const std::byte> bytes);
std::optional<Parted> decode_parted(std::span<const std::byte> bytes);
std::optional<Ended> decode_ended(std::span<const std::byte> bytes);
std::optional<Gone> decode_gone(std::span<const std::byte> bytes, uint32_t nranks);
std::optional<Lead> decode_lead(std::span<const std::byte> bytes);
// Ranks at or above `nranks` are malformed.
std::optional<TreeState> decode_tree_state(std::span<const std::byte> bytes, uint32_t nranks);

}  // namespace comity::control
