// All-reduce, recursive doubling: in round k, ranks 2^k apart exchange all they have and both fold it.
//
//   P ranks, N bytes, Q the largest power of two <= P. Steps: log2 Q, two more if P > Q.
//   Bytes sent by each rank: N log2 Q, at most N more if P > Q.
//
//   P = 4:   0: a         ab          abcd
//            1: b   <->   ab          abcd     rounds at distance 1, then 2
//            2: c         cd   <->    abcd
//            3: d   <->   cd          abcd
//
// For short blocks. Both partners fold the lower's operand first, so all hold the same bits. Results of
// rounds alternate between output and one scratch slot, so that a round's reduction may begin while the
// previous one's send is under way. R. Thakur, R. Rabenseifner, W. Gropp, "Optimization of Collective
// Communication Operations in MPICH", IJHPCA 2005.
#include "algorithms/catalogue.h"
#include "algorithms/doubling_steps.h"
#include "algorithms/members.h"
#include "algorithms/surplus.h"
#include "algorithms/tiling.h"

namespace comity::algorithms {
namespace {

Shape shape(const Request& request) {
  Shape shape = make_shape("recursive_doubling", Collective::kAllReduce, request, 1);
  shape.scratch_slots = DoublingSteps::scratch_slots(shape.nranks);
  set_tiles(shape, request.block_bytes,
            {.messages = 1, .footprint = DoublingSteps::most_folds(shape.nranks) + 1u, .window = 2});
  return shape;
}

Part part(const Request&, const Shape& shape, uint32_t rank) {
  if (shape.nranks == 1) return lone_part(shape);
  Part part = empty_part(rank, 1);
  Steps steps(part.lanes[0].steps);
  DoublingSteps doubling(steps, {.members = everyone(shape.nranks, rank).ranks, .position = rank});
  doubling.begin();
  for (uint32_t round = 0; round < doubling.rounds(); ++round) {
    doubling.send(round);
    doubling.fold(round);
  }
  doubling.end();
  return part;
}

uint64_t cost_ns(const Request& request) {
  const Figures figures(request);
  const Surplus surplus(static_cast<uint32_t>(figures.ranks));
  const Wide reduce = figures.reduce_ns(figures.bytes);
  // With surplus ranks, partners are not the ranks that differ in a bit.
  const bool aligned = surplus.extra == 0;
  Wide time = aligned ? 0 : 2 * figures.exchange_ns(figures.bytes, 1) + reduce;
  for (uint32_t round = 0; round < surplus.rounds(); ++round) {
    const uint64_t distance = uint64_t{1} << round;
    time += reduce;
    time += aligned ? figures.pair_ns(figures.bytes, distance) : figures.exchange_ns(figures.bytes, distance);
  }
  return narrow_ns(time);
}

}  // namespace

constinit const Algorithm kAllReduceRecursiveDoubling = {
    .name = "recursive_doubling",
    .collective = Collective::kAllReduce,
    .summary = "log2 P steps (P no power of two: 2 more), N log2 P bytes",
    .applies = applies_everywhere,
    .shape = shape,
    .part = part,
    .cost_ns = cost_ns,
    .roundings = rounds_at_every_doubling,
    .balanced = ranks_are_a_power_of_two,
};

}  // namespace comity::algorithms
