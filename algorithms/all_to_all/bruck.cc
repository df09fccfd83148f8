// All-to-all, Bruck: blocks travel the binary digits of their distance, for any number of ranks.
//
//   P ranks, blocks of N bytes. Steps: ceil(log2 P), of at most P / 2 messages to one peer each. Bytes sent
//   by each rank: about N / 2 P log2 P.
//
//   P = 4, d blocks of distance d      round 0: d = 1, 3 to r+1      round 1: d = 2, 3 to r+2
//
// Rank r's block for rank r + d is at rank r + (d's digits so far): the digits of d that are 1 tell in which
// rounds it moves on. Blocks under way lie in scratch slot d. No rotations: the first message of a block is
// sent from the input, its last received where it belongs. A message is a block's, as in all plans, so it
// saves peers and not messages. J. Bruck, C.-T. Ho, S. Kipnis, E. Upfal, D. Weathersby, "Efficient algorithms
// for all-to-all communications in multiport message-passing systems", TPDS 1997.
#include <bit>

#include "algorithms/catalogue.h"
#include "algorithms/cost.h"
#include "algorithms/members.h"
#include "algorithms/tiling.h"

namespace comity::algorithms {
namespace {

// One slot for each distance of several digits, and one more while its content is sent on.
bool relayed(uint32_t distance) {
  return std::popcount(distance) > 1;
}

std::vector<uint32_t> slots_of(uint32_t ranks) {
  std::vector<uint32_t> slots(ranks, 0);
  uint32_t next = 0;
  for (uint32_t distance = 1; distance < ranks; ++distance) {
    slots[distance] = next;
    next += relayed(distance) ? 2 : 0;
  }
  slots.push_back(next);
  return slots;
}

Shape shape(const Request& request) {
  Shape shape = make_shape("bruck", Collective::kAllToAll, request, 1);
  shape.scratch_slots = slots_of(shape.nranks).back();
  set_tiles(shape, request.block_bytes, {.messages = 1, .footprint = shape.scratch_slots, .window = 2});
  shape.placement = plan::Placement::kOutOfPlaceOnly;
  return shape;
}

Part part(const Request&, const Shape& shape, uint32_t rank) {
  const uint32_t ranks = shape.nranks;
  const std::vector<uint32_t> slots = slots_of(ranks);
  Part part = empty_part(rank, 1);
  Steps steps(part.lanes[0].steps);
  struct Moving {
    ChunkRun run;                   // where the block of this distance that is here lies
    std::vector<After> ready;       // when it is there
    uint32_t hops = 0;              // it made
    std::vector<After> cleared[2];  // when its slots may be overwritten
  };
  std::vector<Moving> moving(ranks);
  for (uint32_t distance = 1; distance < ranks; ++distance)
    moving[distance].run = input((rank + distance) % ranks, 0, 1);
  for (uint32_t digit = 1; digit < ranks; digit *= 2) {
    for (uint32_t distance = digit; distance < ranks; ++distance) {
      if ((distance & digit) == 0) continue;
      Moving& block = moving[distance];
      const uint32_t sent = steps.send((rank + digit) % ranks, block.run, block.ready);
      const bool arrives = distance < 2 * digit;
      const uint32_t slot = block.hops % 2;
      if (block.hops > 0) block.cleared[1 - slot] = {steps.done(sent)};
      block.run =
          arrives ? output((rank + ranks - distance) % ranks, 0, 1) : scratch(slots[distance] + slot, 0, 1);
      block.ready = {steps.done(steps.recv((rank + ranks - digit) % ranks, block.run,
                                           arrives ? std::vector<After>{} : block.cleared[slot]))};
      ++block.hops;
    }
  }
  steps.copy(input(rank, 0, 1), output(rank, 0, 1));
  return part;
}

uint64_t cost_ns(const Request& request) {
  const Figures figures(request);
  Wide time = 0;
  for (uint64_t digit = 1; digit < figures.ranks; digit *= 2) {
    // Distances below the number of ranks with this digit.
    const uint64_t rest = figures.ranks % (2 * digit);
    const uint64_t blocks = figures.ranks / (2 * digit) * digit + (rest > digit ? rest - digit : 0);
    time += figures.exchange_ns(figures.bytes * blocks, digit) + (blocks - 1) * figures.gap_ns();
  }
  return narrow_ns(time);
}

}  // namespace

constinit const Algorithm kAllToAllBruck = {
    .name = "bruck",
    .collective = Collective::kAllToAll,
    .summary = "ceil(log2 P) rounds to one peer each, N/2 P log2 P bytes",
    .applies = applies_everywhere,
    .shape = shape,
    .part = part,
    .cost_ns = cost_ns,
};

}  // namespace comity::algorithms
