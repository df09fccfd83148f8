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
// other's is reduced. P. Patarasu, X. Yuan, "Bandwidth optimal all-reduce algorithms for clusters of
// workstations", JPDC 2009.
#include "algorithms/catalogue.h"
#include "algorithms/cost.h"
#include "algorithms/steps.h"
#include "algorithms/tiling.h"

namespace comity::algorithms {
namespace {

constexpr uint64_t kTwoLanesFromBytes = 1 << 20;

Shape shape(const Request& request) {
  const uint32_t ranks = request.topology->nranks();
  const bool wide = request.block_bytes >= kTwoLanesFromBytes && ranks > 1 && ranks <= kMaxChunks / 2;
  const uint32_t chunks = ranks * (wide ? 2 : 1);
  Shape shape = make_shape("ring", Collective::kAllReduce, request, chunks);
  set_tiles(shape, request.block_bytes, {.messages = chunks, .footprint = 1, .window = 2});
  return shape;
}

// One lane's ring over the chunks c * lanes + lane.
class Ring {
 public:
  Ring(std::vector<Step>& lane_steps, uint32_t lane, uint32_t lanes, uint32_t ranks, uint32_t rank)
      : steps_(lane_steps, lane), lane_(lane), lanes_(lanes), ranks_(ranks), rank_(rank), sent_(ranks) {}

  void add() {
    const uint32_t next = (rank_ + 1) % ranks_;
    const uint32_t previous = (rank_ + ranks_ - 1) % ranks_;
    std::vector<After> ready;
    for (uint32_t s = 0; s + 1 < ranks_; ++s) {
      const uint32_t outgoing = (rank_ + ranks_ - s) % ranks_;
      const uint32_t incoming = (outgoing + ranks_ - 1) % ranks_;
      sent_[outgoing] = steps_.send(next, chunk(s == 0 ? Space::kInput : Space::kOutput, outgoing), ready);
      const uint32_t reduced = steps_.fold({.peer = previous,
                                            .own = chunk(Space::kInput, incoming),
                                            .into = chunk(Space::kOutput, incoming),
                                            .order = Order::kReceivedFirst,
                                            .last = s + 2 == ranks_});
      ready = {steps_.done(reduced)};
    }
    for (uint32_t s = 0; s + 1 < ranks_; ++s) {
      const uint32_t outgoing = (rank_ + 1 + ranks_ - s) % ranks_;
      const uint32_t incoming = (outgoing + ranks_ - 1) % ranks_;
      steps_.send(next, chunk(Space::kOutput, outgoing), ready);
      // What is overwritten was sent before: the own chunk from the input, others from the output.
      const uint32_t sent = sent_[incoming];
      const After cleared = s == 0 ? steps_.done_in_place(sent) : steps_.done(sent);
      ready = {steps_.done(steps_.recv(previous, chunk(Space::kOutput, incoming), {cleared}))};
    }
  }

 private:
  ChunkRun chunk(Space space, uint32_t index) const { return {space, 0, index * lanes_ + lane_, 1}; }

  Steps steps_;
  uint32_t lane_, lanes_, ranks_, rank_;
  std::vector<uint32_t> sent_;  // by chunk: the reduce-scatter's send of it
};

Part part(const Request&, const Shape& shape, uint32_t rank) {
  if (shape.nranks == 1) return lone_part(shape);
  const auto lanes = static_cast<uint32_t>(shape.weights.size() / shape.nranks);
  Part part = empty_part(rank, lanes);
  for (uint32_t lane = 0; lane < lanes; ++lane)
    Ring(part.lanes[lane].steps, lane, lanes, shape.nranks, rank).add();
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
};

}  // namespace comity::algorithms
