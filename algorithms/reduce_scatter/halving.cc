// Reduce-scatter, halving: blocks that a rank is responsible for halve each round, for any number of ranks.
//
//   P ranks, blocks of N bytes. Steps: ceil(log2 P), of at most P / 2 messages to one peer each. Bytes sent
//   by each rank: (P - 1) N, the least possible.
//
//   P = 5, seen from rank r, which holds sums for blocks r .. r + 4 and
//     round 0: sends r+3, r+4 to r+3      round 1: sends r+2 to r+2      round 2: sends r+1 to r+1
//   and folds as many into those it keeps; block r remains.
//
// Sums of kept blocks lie in scratch, that of the own block in the output. J. L. Traeff, "Optimal,
// non-pipelined reduce-scatter and allreduce algorithms", arXiv 2410.14234: halving without the detour for
// numbers that are no powers of two.
#include "algorithms/catalogue.h"
#include "algorithms/cost.h"
#include "algorithms/skips.h"
#include "algorithms/steps.h"
#include "algorithms/tiling.h"

namespace comity::algorithms {
namespace {

Shape shape(const Request& request) {
  Shape shape = make_shape("halving", Collective::kReduceScatter, request, 1);
  shape.scratch_slots = shape.nranks < 3 ? 0 : (shape.nranks + 1) / 2 - 1;
  set_tiles(shape, request.block_bytes,
            {.messages = 1, .footprint = uint64_t{shape.scratch_slots} + shape.nranks - 1, .window = 2});
  return shape;
}

class Halving {
 public:
  Halving(Steps& steps, uint32_t ranks, uint32_t rank) : steps_(steps), ranks_(ranks), rank_(rank) {}

  void add() {
    const std::vector<uint32_t> skips = halving_skips(ranks_);
    sums_.resize(skips.size() > 1 ? skips[1] : 1);
    for (size_t round = 0; round + 1 < skips.size(); ++round) {
      const uint32_t skip = skips[round + 1];
      const uint32_t blocks = skips[round] - skip;
      // In turn: a message of one lane is not relied on to overtake its predecessor to the same peer.
      for (uint32_t i = 0; i < blocks; ++i) {
        steps_.send(at(skip), sum(skip + i), ready(skip + i));
        // What comes is to its sender what is sent here: all ranks do the same.
        keep(i, (rank_ + ranks_ - skip) % ranks_, round + 2 == skips.size(), started(skip + i));
      }
    }
  }

 private:
  struct Sum {
    bool started = false;
    uint32_t reduced = 0;
  };

  uint32_t at(uint32_t distance) const { return (rank_ + distance) % ranks_; }
  bool started(uint32_t i) const { return i < sums_.size() && sums_[i].started; }
  // Where the sum for block rank + i lies; the input as long as it is only the own contribution.
  ChunkRun sum(uint32_t i) const { return started(i) ? home(i) : input(at(i), 0, 1); }
  static ChunkRun home(uint32_t i) { return i == 0 ? output(0, 0, 1) : scratch(i - 1, 0, 1); }
  std::vector<After> ready(uint32_t i) const {
    return started(i) ? std::vector<After>{steps_.done(sums_[i].reduced)} : std::vector<After>{};
  }
  void keep(uint32_t i, uint32_t peer, bool last, bool received_partial) {
    sums_[i].reduced = steps_.fold({.peer = peer,
                                    .own = sum(i),
                                    .into = home(i),
                                    .order = Order::kReceivedFirst,
                                    .last = last,
                                    .after = ready(i),
                                    .own_partial = started(i),
                                    .received_partial = received_partial});
    sums_[i].started = true;
  }

  Steps& steps_;
  uint32_t ranks_, rank_;
  std::vector<Sum> sums_;  // by distance
};

Part part(const Request&, const Shape& shape, uint32_t rank) {
  if (shape.nranks == 1) return lone_part(shape);
  Part part = empty_part(rank, 1);
  Steps steps(part.lanes[0].steps);
  Halving(steps, shape.nranks, rank).add();
  return part;
}

uint64_t cost_ns(const Request& request) {
  const Figures figures(request);
  return narrow_ns(skip_rounds_ns(figures, figures.reduce_ns(figures.bytes)));
}

}  // namespace

constinit const Algorithm kReduceScatterHalving = {
    .name = "halving",
    .collective = Collective::kReduceScatter,
    .summary = "ceil(log2 P) rounds to one peer each, (P-1) N bytes",
    .applies = applies_everywhere,
    .shape = shape,
    .part = part,
    .cost_ns = cost_ns,
    .roundings = rounds_at_every_doubling,
};

}  // namespace comity::algorithms
