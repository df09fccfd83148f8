// The boards: the memory through which the ranks of one host speak to each other.
//
// One shared region per host and communicator, made by the lowest rank there and mapped by all, holds a
// board for every rank. Only its owner writes a board, with two exceptions: anyone may clear the doorbell or
// say that it is unheard, and members of a group take tickets from member 0's. So a line has one writer, and
// a reader learns by acquire loads of the words marked atomic here that the plain bytes before them are
// there.
//
//   page 0     header of the region
//   heads      by rank: doorbell, kMaxGroups keys: which members' group is here
//   lines      by group, then by rank: GroupLines: hello lines, progress, acknowledged, tickets
//   controls   by rank: kMaxRings RingControls: which peer's ring is here, how far its opposite was consumed
//   buffers    by rank: kMaxGroups GroupBuffers (eager slots, staging, rooted slots, streams), then a
//              RingArea per ring of segments
//
// What all ranks look at lies together, by kind: a rank among p touches p lines of a few pages, not p pages
// of as many places, whose page tables alone were megabytes. Rings and groups are taken in the order of need,
// and found by peers through their entries, so ranks need not agree on indexes. All of it is address space at
// first: pages come at first touch and are kept.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "comity/plugin/transport.h"

namespace comity::shm {

// Two cache lines: what is written by different ranks lies this far apart, since hardware prefetches lines in
// pairs.
inline constexpr size_t kLineStride = 128;

// Word of a rank that may be asleep: 1 while it sleeps or is about to. The line beside it says how it is
// woken.
struct alignas(kLineStride) Doorbell {
  std::atomic<uint32_t> sleeping;
  std::atomic<uint32_t> unheard;  // 1: the system did not let somebody ring it
  std::atomic<uint64_t> name;     // comity::Bell
  std::atomic<uint64_t> token;
};

// ---- Groups of ranks.

inline constexpr size_t kInlineBytes = 48;
inline constexpr size_t kEagerSlots = 4;
inline constexpr size_t kEagerBytes = 64 * 1024;      // of one slot
inline constexpr size_t kStagingBytes = 1024 * 1024;  // of a group, cut into slots by the group

enum HelloFlags : uint32_t {
  kHelloEager = 1,   // the contribution lies in the eager slot
  kHelloDirect = 2,  // all members can address the buffers
  kHelloCross = 4,  // this member may use cross-memory attach on all others, and its buffers can be described
  kHelloSrcArena = 8,  // src_offset counts from src_arena; else it is an address
  kHelloDstArena = 16,
  kHelloInPlace = 32,
  kHelloNoCross = 64,  // the kernel does not let this member copy, or no longer: nobody tries any more
};

// What a rank says of its buffers in a call too large to be inline.
struct HelloBuffers {
  uint32_t flags;      // kHello...
  uint32_t src_arena;  // valid where the flag says so; else the offset is an address in its process
  uint32_t dst_arena;
  uint32_t variant;     // member 0's choice among equally right ways; of others: ignored
  uint64_t src_offset;  // of piece 0
  uint64_t dst_offset;
  uint64_t
      stride;  // from a piece to the next, where there are several; 0: each begins where the one before ends
  uint64_t reserved;
};
static_assert(sizeof(HelloBuffers) == kInlineBytes);

// By which a rank announces a call: one line, two by parity of the sequence, so that a rank that runs ahead
// by one call does not overwrite what a slower one still reads.
struct alignas(kLineStride) HelloLine {
  std::atomic<uint64_t> sequence;  // of the call; written last
  uint64_t signature;
  union {
    std::byte payload[kInlineBytes];
    HelloBuffers buffers;
  };
};
static_assert(sizeof(HelloLine) == kLineStride);

// How far its owner is within a call: sequence of the call << kStepBits | steps done. One counter serves all
// paths: since the sequence leads, calls that never touch it need no bookkeeping.
struct alignas(kLineStride) ProgressLine {
  std::atomic<uint64_t> steps;
  std::atomic<uint64_t> beats;  // counted up where it gets on without a step, for whoever waits for it
};
inline constexpr int kStepBits = 28;

// How far its owner is in the calls that do not meet (rooted.h): their history so far << 32 | low half of
// their count. One word, so that who reads the count sees the history that belongs to it.
struct alignas(kLineStride) AcknowledgedLine {
  std::atomic<uint64_t> done;
};

// Work that whoever is on a core takes, where members outnumber cores. In both words: sequence of the call <<
// kStepBits | count.
struct Tickets {
  alignas(kLineStride) std::atomic<uint64_t> taken;
  alignas(kLineStride) std::atomic<uint64_t> finished;
};

// What the owner asks another member to copy between that member's buffer and the owner's staging memory,
// where the kernel refuses to do it (see cross.h). One at a time.
struct Assist {
  alignas(kLineStride)
      std::atomic<uint64_t> asked;  // count of requests << kMemberBits | member asked; written last
  uint64_t offset;                  // from the start of that member's input, or output
  uint64_t bytes;
  bool writes;                                          // into that output; else out of that input
  alignas(kLineStride) std::atomic<uint64_t> answered;  // the count that is done; by the member asked
};
inline constexpr int kMemberBits = 20;

struct GroupLines {
  HelloLine hello[2];
  ProgressLine progress;
  AcknowledgedLine acknowledged;
  Tickets tickets;  // of the group, if the owner is its member 0
  Assist assist;
};
static_assert(sizeof(GroupLines) % kLineStride == 0);

inline constexpr uint64_t kRootedSlots = 64;        // calls that a rank may be ahead of another
inline constexpr uint64_t kRootedBytes = 8 * 1024;  // longest that a rank gives in one of them
inline constexpr uint64_t kRootedInlineBytes = 104;
inline constexpr uint64_t kRootedShortBytes =
    1024;  // has places of its own, that lie dense: few pages to touch

// What a rank gives in a call that does not meet: short, in the lines of its signature; else in its payload.
struct alignas(kLineStride) RootedSlot {
  std::atomic<uint64_t> count;  // of those calls, from 1; written last
  uint64_t signature;
  uint64_t bytes;
  std::byte payload[kRootedInlineBytes];
};
static_assert(sizeof(RootedSlot) == kLineStride);

// ---- Blocks whose lengths only their giver and their taker are told (varying.h, streams.h).

inline constexpr uint32_t kMostVarying = 512;  // members of a group that carries out such calls
inline constexpr uint64_t kStreamSlots = 8;
inline constexpr uint64_t kStreamSlotBytes = 64 * 1024;

enum OfferFlags : uint32_t {
  kOfferDirect = 1,  // the takers copy from where the blocks lie; else through the giver's slots
  kOfferArena = 2,   // places count from the arena; else they are addresses
};

// How a giver gives what is too long for a slot: to all its takers.
struct StreamOffer {
  uint32_t flags;  // kOffer...
  uint32_t arena;
  uint64_t base;  // of staged ones: windows that the giver filled in all calls before
};

// Of an all_to_all, by member: what its table's owner gives it and expects of it.
struct PairLengths {
  uint64_t given;     // bytes
  uint64_t place;     // of the block: in the eager slot, or as offered
  uint64_t expected;  // bytes
};
static_assert(kMostVarying * sizeof(PairLengths) <= kEagerBytes / 2, "a table begins an eager slot");

// Of a scatter, by member: its block, where the root's blocks lie in the slot, and where they are offered.
struct SlotBlock {
  uint32_t bytes;
  uint32_t place;
};
struct OfferedBlock {
  uint64_t bytes;
  uint64_t place;
};
static_assert(kMostVarying * sizeof(OfferedBlock) <= kRootedBytes, "a table has the place of a payload");

// What its owner gives as streams, and how far it took those of others.
struct StreamArea {
  alignas(kLineStride) std::atomic<uint64_t> filled;  // windows
  alignas(
      kLineStride) std::atomic<uint64_t> taken[kMostVarying];  // by giver: windows with a part for the owner
  alignas(4096) std::byte slots[kStreamSlots][kStreamSlotBytes];
};

struct alignas(4096) GroupBuffers {
  std::byte eager[kEagerSlots][kEagerBytes];
  std::byte staging[kStagingBytes];
  RootedSlot rooted[kRootedSlots];
  std::byte rooted_short[kRootedSlots][kRootedShortBytes];
  std::byte rooted_long[kRootedSlots][kRootedBytes];
  StreamArea streams;
};

// ---- Rings of segments.

inline constexpr uint32_t kRingSegmentBytes = 64 * 1024;
inline constexpr uint32_t kRingSlots = 16;
inline constexpr size_t kSlotInlineBytes = 64;

// One segment: the header's line and the one beside it, which holds a short payload.
struct alignas(kLineStride) RingSlot {
  std::atomic<uint64_t> number;  // 1 + count of segments before this one in the ring; written last
  SegmentHeader header;
  uint64_t reserved;
  std::byte payload[kSlotInlineBytes];
};
static_assert(sizeof(RingSlot) == kLineStride);

struct RingArea {
  RingSlot slots[kRingSlots];
  alignas(4096) std::byte payloads[kRingSlots][kRingSegmentBytes];
};

struct RingControl {
  alignas(kLineStride) std::atomic<uint32_t> peer;  // 1 + rank this ring leads to; 0: free
  alignas(kLineStride)
      std::atomic<uint64_t> consumed;  // segments that the owner took from that peer's opposite ring
};

// ---- The whole.

inline constexpr uint32_t kMaxRings = 256;
inline constexpr uint32_t kMaxGroups = 64;
inline constexpr uint32_t kBoardMagic = 0x59544d43;  // "CMTY"
inline constexpr uint32_t kBoardVersion = 5;
// Boards of one region, by rank modulo this prime: address space for more would not be had. Two ranks of a
// host that share a place cannot share memory; it takes more than 131,071 hosts with ranks in turn.
inline constexpr uint32_t kMaxBoards = 131'071;

struct RegionHeader {
  uint32_t magic;
  uint32_t version;
  uint32_t owner;  // rank that made it
  uint32_t nranks;
  uint64_t bytes;
};

struct alignas(kLineStride) BoardHead {
  Doorbell doorbell;
  std::atomic<uint64_t> groups[kMaxGroups];  // group_key() of the members; 0: free
};

// One rank's part of a mapped region: a view that owns nothing. Taking entries is the owner's, from one
// thread.
class Board {
 public:
  Board() = default;

  bool valid() const { return head_ != nullptr; }
  Doorbell& doorbell() const { return head_->doorbell; }

  // Index of the ring to `peer`, or -1: not (yet) there.
  int find_ring(uint32_t peer) const;
  // As find_ring(), taking a free one if there is none; -1: all are taken.
  int take_ring(uint32_t peer) const;
  RingControl& ring_control(int index) const { return controls_[index]; }
  RingArea& ring(int index) const;

  // The same for the group of these members.
  int find_group(uint64_t key) const;
  int take_group(uint64_t key) const;
  GroupLines& group_lines(int index) const;
  GroupBuffers& group_buffers(int index) const;

 private:
  friend class BoardRegion;
  BoardHead* head_ = nullptr;
  std::byte* lines_ = nullptr;  // of group 0
  uint64_t lines_stride_ = 0;   // from a group's to the next one's
  RingControl* controls_ = nullptr;
  std::byte* buffers_ = nullptr;  // groups', then rings'
  uint32_t rings_ = 0;
};

// The boards of all ranks in mapped memory, which stays its owner's.
class BoardRegion {
 public:
  BoardRegion() = default;
  // Bytes of a region for a communicator of `nranks`: address space, of which little is ever touched.
  static uint64_t bytes_for(uint32_t nranks);
  // Writes the header of fresh, zeroed memory of bytes_for(nranks) bytes.
  static BoardRegion create(std::byte* memory, uint32_t owner, uint32_t nranks);
  // Looks at the mapped memory of another rank, `bytes` long. kRemoteError: no region of `owner` for so many
  // ranks, or of another layout.
  static Result<BoardRegion> open(std::byte* memory, uint64_t bytes, uint32_t owner, uint32_t nranks);

  bool valid() const { return memory_ != nullptr; }
  Board board(uint32_t rank) const;

 private:
  BoardRegion(std::byte* memory, uint32_t nranks) : memory_(memory), nranks_(nranks) {}
  std::byte* memory_ = nullptr;
  uint32_t nranks_ = 0;
};

// Where a rank's board lies in a region, and so which two cannot share one.
uint32_t board_place(uint32_t rank);

// Names an ordered set of ranks; never 0.
uint64_t group_key(std::span<const uint32_t> members);

}  // namespace comity::shm
