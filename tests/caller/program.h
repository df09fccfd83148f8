// A random program of calls, the same for all ranks: what a caller might do with communicators, streams,
// groups and splits, made from a seed.
//
// Every rank has the same buffers. Each buffer belongs to one queue (the caller's thread, or a stream),
// and only calls of that queue touch it; events and synchronisation hand buffers from queue to queue. So
// the program has one outcome, whatever overlaps with what: that of carrying it out one call after the
// other (reference.h). Types are integers, whose sums and products wrap: exact in every order.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "comity/plugin/types.h"

namespace comity::test {

inline constexpr uint64_t kBufferBytes = 96 * 1024;
inline constexpr uint32_t kBuffersPerQueue = 6;
inline constexpr uint32_t kStreams = 2;
inline constexpr uint32_t kQueues = kStreams + 1;  // queue 0 is the caller's thread: NULL streams
inline constexpr uint32_t kBuffers = kBuffersPerQueue * kQueues;

// Bytes of a buffer.
struct Place {
  uint32_t buffer = 0;
  uint64_t offset = 0;
};

struct Message {  // of an exchange; ranks are members
  uint32_t from = 0, to = 0;
  DataType type = DataType::kInt32;
  uint64_t count = 0;
  Place source, destination;
};

struct FuzzCall {
  uint32_t comm = 0;
  uint32_t queue = 0;
  Collective collective = Collective::kBarrier;
  DataType type = DataType::kInt32;
  RedOp op = RedOp::kSum;
  bool scaled = false;  // a PreMulSum; member m multiplies by scale + m
  int scale = 0;
  uint32_t root = 0;
  uint64_t count = 0;
  bool in_place = false;
  Place input, output;
  // Of v-variants, elements: all_gather_v, reduce_scatter_v, gather_v, scatter_v: of block r; all_to_all_v:
  // [s * p + r], from s to r. Blocks begin `gap` elements after the one before ends.
  std::vector<uint64_t> counts;
  uint64_t gap = 0;
  std::vector<Message> messages;
};

struct FuzzOp {
  enum class Kind : uint8_t { kCall, kGroup, kSplit, kHandOver, kSynchronize, kDestroy };
  Kind kind = Kind::kCall;
  std::vector<FuzzCall> calls;    // kCall: one; kGroup: some
  uint32_t comm = 0;              // kSplit, kDestroy
  std::vector<int> colors, keys;  // kSplit, by member; -1: none
  std::vector<int> made;          // by member: index of the communicator that it gets, or -1
  uint32_t from = 0, to = 0;      // kHandOver: streams; kSynchronize: of `from`
};

struct FuzzComm {
  std::vector<uint32_t> members;  // ranks of the whole program, by rank in the communicator
  bool alive = true;
  // The rank that `rank` has in it, or -1.
  int member(uint32_t rank) const;
};

struct Program {
  uint64_t seed = 0;
  uint32_t nranks = 1;
  std::vector<FuzzComm> comms;  // comms[0] is of all ranks
  std::vector<FuzzOp> ops;
};

// What programs are made of.
struct Ingredients {
  uint32_t nranks = 4;
  uint32_t ops = 200;
};
Program make_program(uint64_t seed, const Ingredients& ingredients);

// One rank's mistake, for programs that must end with an error.
struct Mistake {
  enum class Kind : uint8_t { kSkip, kCount, kType, kRoot, kSwap };
  Kind kind = Kind::kSkip;
  uint32_t op = 0;    // index in Program::ops, of kind kCall with a collective; kSwap: with the one after it
  uint32_t rank = 0;  // of the whole program
};
// A mistake that some other rank can notice.
Mistake plant(const Program& program, uint64_t seed);

std::string describe(const FuzzCall& call);
std::string describe(const FuzzOp& op);
std::string describe(const Mistake& mistake);
std::string text_of(const Program& program);

// Elements of the whole input and output of a rank's side, gaps included.
uint64_t block_begin(const FuzzCall& call, uint32_t nranks, uint32_t member, bool of_input, uint32_t block);

}  // namespace comity::test
