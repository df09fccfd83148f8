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
#include "algorithms/steps.h"
#include "algorithms/surplus.h"
#include "algorithms/tiling.h"

namespace comity::algorithms {
namespace {

Shape shape(const Request& request) {
  Shape shape = make_shape("recursive_doubling", Collective::kAllReduce, request, 1);
  const Surplus surplus(shape.nranks);
  const uint32_t stages = surplus.rounds() + (surplus.extra > 0 ? 1 : 0);
  shape.scratch_slots = stages > 1 ? 1 : 0;
  set_tiles(shape, request.block_bytes, {.messages = 1, .footprint = stages + 1, .window = 2});
  return shape;
}

class Doubling {
 public:
  Doubling(Steps& steps, uint32_t ranks, uint32_t rank)
      : steps_(steps), surplus_(ranks), rank_(rank), index_(surplus_.index_of(rank)) {
    stages_ = surplus_.rounds() + (surplus_.has_surplus(rank) ? 1 : 0);
  }

  void add() {
    if (surplus_.is_surplus(rank_)) {
      const uint32_t sent = steps_.send(rank_ + 1, input(0, 0, 1));
      steps_.recv(rank_ + 1, output(0, 0, 1), {steps_.done_in_place(sent)});
      return;
    }
    const bool speaks = surplus_.has_surplus(rank_);
    if (speaks) add_fold(0, rank_ - 1, Order::kReceivedFirst);
    for (uint32_t k = 0; k < surplus_.rounds(); ++k) {
      const uint32_t partner = index_ ^ (1u << k);
      const uint32_t stage = k + (speaks ? 1 : 0);
      const uint32_t sent = steps_.send(surplus_.rank_of(partner), source(stage), reduced_);
      if (stage == 0 && into(0).space == Space::kOutput) in_place_ = {steps_.done_in_place(sent)};
      add_fold(stage, surplus_.rank_of(partner), order_of(index_, partner));
      previous_send_ = {sent, true};
      in_place_.clear();
      if (stage == 0 && stages_ > 1 && into(1).space == Space::kOutput)
        in_place_ = {steps_.done_in_place(sent)};
    }
    if (speaks) steps_.send(rank_ - 1, output(0, 0, 1), reduced_);
  }

 private:
  // The last stage ends in the output; those before alternate.
  ChunkRun into(uint32_t stage) const {
    return (stages_ - 1 - stage) % 2 == 0 ? output(0, 0, 1) : scratch(0, 0, 1);
  }
  ChunkRun source(uint32_t stage) const { return stage == 0 ? input(0, 0, 1) : into(stage - 1); }

  void add_fold(uint32_t stage, uint32_t peer, Order order) {
    std::vector<After> after = reduced_;
    // What stage - 1 sent lies where this stage writes, from the third stage on; before, it was the input.
    if (previous_send_.valid && stage >= 2) after.push_back(steps_.done(previous_send_.step));
    const uint32_t reduced = steps_.fold({.peer = peer,
                                          .own = source(stage),
                                          .into = into(stage),
                                          .order = order,
                                          .last = stage + 1 == stages_,
                                          .after = after,
                                          .in_place = in_place_});
    reduced_ = {steps_.done(reduced)};
  }

  struct Sent {
    uint32_t step = 0;
    bool valid = false;
  };
  Steps& steps_;
  Surplus surplus_;
  uint32_t rank_, index_, stages_ = 0;
  std::vector<After> reduced_;   // the reduce whose result is current
  std::vector<After> in_place_;  // what the next reduce waits for in place
  Sent previous_send_;
};

Part part(const Request&, const Shape& shape, uint32_t rank) {
  if (shape.nranks == 1) return lone_part(shape);
  Part part = empty_part(rank, 1);
  Steps steps(part.lanes[0].steps);
  Doubling(steps, shape.nranks, rank).add();
  return part;
}

uint64_t cost_ns(const Request& request) {
  const Figures figures(request);
  const Surplus surplus(static_cast<uint32_t>(figures.ranks));
  const Wide reduce = figures.reduce_ns(figures.bytes);
  Wide time = surplus.extra > 0 ? 2 * figures.exchange_ns(figures.bytes, 1) + reduce : 0;
  for (uint32_t k = 0; k < surplus.rounds(); ++k)
    time += figures.exchange_ns(figures.bytes, uint64_t{1} << k) + reduce;
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
};

}  // namespace comity::algorithms
