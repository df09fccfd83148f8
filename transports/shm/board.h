// The boards: the memory through which the ranks of one host speak to each other.
//
// One shared region per host and communicator, made by the lowest rank there and mapped by all, holds a board
// for every rank. Only its owner writes a board, with two exceptions: anyone may clear the doorbell, and
// members of a group take tickets from member 0's. So a line has one writer, and a reader learns by acquire
// loads of the words marked atomic here that the plain bytes before them are there.
//
//   page 0     header of the region
//   heads      by rank: doorbell, kMaxGroups keys: which members' group is here
//   lines      by group, then by rank: GroupLines: hello lines, progress, tickets
//   controls   by rank: kMaxRings RingControls: which peer's ring is here, how far its opposite was consumed
//   buffers    by rank: kMaxGroups GroupBuffers (eager slots, staging), then a RingArea per ring of segments
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

// Word of a rank that may be asleep: 1 while it sleeps or is about to.
struct alignas(kLineStride) Doorbell {
  std::atomic<uint32_t> sleeping;
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
  Tickets tickets;  // of the group, if the owner is its member 0
  Assist assist;
};
static_assert(sizeof(GroupLines) % kLineStride == 0);

struct alignas(4096) GroupBuffers {
  std::byte eager[kEagerSlots][kEagerBytes];
  std::byte staging[kStagingBytes];
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
inline constexpr uint32_t kBoardVersion = 2;
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
