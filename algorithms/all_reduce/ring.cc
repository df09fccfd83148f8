// All-reduce, ring: chunks travel once around to be reduced, and once more to be known.
//
//   P ranks, N bytes. Steps: 2 (P - 1). Bytes sent by each rank: 2 (P - 1) / P N, the least possible.
//
//   P = 3, chunks a b c; rank r sends chunk r - s to r + 1 in step s:
//     reduce-scatter  s=0  0:a->1  1:b->2  2:c->0      s=1  0:c->1  1:a->2  2:b->0
//     now complete         0:b     1:c     2:a
//     all-gather      s=0  0:b->1  1:c->2  2:a->0      s=1  0:a->1  1:b->2  2:c->0
//
// From 1 MiB up a tile has 2 P chunks on two lanes, so that one lane's message is on its way while the
// other's is reduced. P. Patarasuk, X. Yuan, "Bandwidth optimal all-reduce algorithms for clusters of
// workstations", JPDC 2009.
#include "algorithms/catalogue.h"
#include "algorithms/cost.h"
#include "algorithms/ring_steps.h"
#include "algorithms/tiling.h"

namespace comity::algorithms {
namespace {

constexpr uint64_t kTwoLanesFromBytes = 1 << 20;

Shape shape(const Request& request) {
  const uint32_t ranks = request.topology->nranks();
  const bool wide = request.block_bytes >= kTwoLanesFromBytes && request.max_lanes > 1 && ranks > 1 &&
                    ranks <= kMaxChunks / 2;
  const uint32_t chunks = ranks * (wide ? 2 : 1);
  Shape shape = make_shape("ring", Collective::kAllReduce, request, chunks);
  set_tiles(shape, request.block_bytes, {.messages = chunks, .footprint = 1, .window = 2});
  return shape;
}

// One lane's ring, over the chunks i * lanes + lane.
void add_ring(Part& part, uint32_t lane, uint32_t lanes, uint32_t ranks) {
  Steps steps(part.lanes[lane].steps, lane);
  RingSteps ring(steps, {.size = ranks,
                         .position = part.rank,
                         .next = (part.rank + 1) % ranks,
                         .previous = (part.rank + ranks - 1) % ranks,
                         .first_chunk = lane,
                         .stride = lanes});
  for (uint32_t s = 0; s < ring.rounds(); ++s) {
    ring.scatter_send(s);
    ring.scatter_fold(s);
  }
  for (uint32_t s = 0; s < ring.rounds(); ++s) {
    ring.gather_send(s);
    ring.gather_recv(s);
  }
}

Part part(const Request&, const Shape& shape, uint32_t rank) {
  if (shape.nranks == 1) return lone_part(shape);
  const auto lanes = static_cast<uint32_t>(shape.weights.size() / shape.nranks);
  Part part = empty_part(rank, lanes);
  for (uint32_t lane = 0; lane < lanes; ++lane) add_ring(part, lane, lanes, shape.nranks);
  return part;
}

uint64_t cost_ns(const Request& request) {
  const Figures figures(request);
  const Wide chunk = figures.bytes / figures.ranks;
  const Wide rounds = figures.ranks - 1;
  return narrow_ns(rounds * (2 * figures.exchange_ns(chunk, 1) + figures.reduce_ns(chunk)));
}

}  // namespace

constinit const Algorithm kAllReduceRing = {
    .name = "ring",
    .collective = Collective::kAllReduce,
    .summary = "2 (P-1) steps, 2 (P-1)/P N bytes",
    .applies = applies_with_chunk_per_rank,
    .shape = shape,
    .part = part,
    .cost_ns = cost_ns,
    .roundings = rounds_at_every_rank,
};

}  // namespace comity::algorithms
