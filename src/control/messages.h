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
  kReport = 16,   // up: somebody suspects call `number`
  kAsk = 17,      // down: what did you call as `number`?
  kOpinion = 18,  // up: this
  kDeclare = 19,  // up: an error that the root should make the verdict
  kVerdict = 20,  // down
  kLeaving = 21,  // to all neighbours: my silence or end is no fault from now on
  kLeavingAck = 22,
  kLead = 23,      // down: the root's ballot, and what it proposes as the verdict
  kState = 24,     // up: who below has answered
  kFarewell = 25,  // to all neighbours: I end at once; this is why
  kPing = 26,      // up: are you there?
  kPong = 27,
  kEnded = 28,  // to a rank's parent: its process has ended; if it had not left, that is a fault
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
struct Opinion {  // kOpinion
  uint64_t inquiry = 0;
  uint32_t rank = 0;
  bool left = false;  // the rank left before it called that number; record.number is the last it called
  CallRecord record;
};
struct Inquiry {  // kAsk; kReport with inquiry 0
  uint64_t inquiry = 0;
  uint64_t number = 0;
};
struct Fault {  // kDeclare, kVerdict
  Code code = Code::kInternalError;
  std::string text;
};
// Cut to what a message holds, so that the declaring rank has the same sentence as those that are told.
Fault fault_of(Code code, std::string text);
struct Ended {  // kEnded
  uint32_t rank = 0;
};
struct Leaving {  // kLeaving
  uint64_t last_number = 0;
};
// Of a root and its round: see decision.h. 0 is the first root's.
using Ballot = uint64_t;
struct Lead {  // kLead
  Ballot ballot = 0;
  std::optional<Fault> proposal;
};
struct Accepted {
  Ballot ballot = 0;
  Fault fault;
};
struct TreeState {  // kState
  Ballot ballot = 0;
  RankSet promised;                  // who heard of the ballot
  RankSet agreeing;                  // who accepted its proposal
  RankSet gone;                      // who has exited, left or aborted
  std::optional<Accepted> accepted;  // with the highest ballot of those that anyone accepted
};
inline constexpr uint32_t kTreePayloadBytes = 256u << 20;

Bytes encode(const Gathered& gathered);
Bytes encode(const Agreement& agreement);
Bytes encode(const Opinion& opinion);
Bytes encode(const Inquiry& inquiry);
Bytes encode(const Fault& fault);
Bytes encode(const Leaving& leaving);
Bytes encode(const Ended& ended);
Bytes encode(const Lead& lead);
Bytes encode(const TreeState& state);
std::optional<Gathered> decode_gathered(std::span<const std::byte> bytes);
std::optional<Agreement> decode_agreement(std::span<const std::byte> bytes);
std::optional<Opinion> decode_opinion(std::span<const std::byte> bytes);
std::optional<Inquiry> decode_inquiry(std::span<const std::byte> bytes);
std::optional<Fault> decode_fault(std::span<const std::byte> bytes);
std::optional<Leaving> decode_leaving(std::span<const std::byte> bytes);
std::optional<Ended> decode_ended(std::span<const std::byte> bytes);
std::optional<Lead> decode_lead(std::span<const std::byte> bytes);
// Ranks at or above `nranks` are malformed.
std::optional<TreeState> decode_tree_state(std::span<const std::byte> bytes, uint32_t nranks);

}  // namespace comity::control
