// All-reduce, halving and doubling (Rabenseifner): halve what one is responsible for until one chunk is left,
// then double.
//
//   P ranks, N bytes, Q the largest power of two <= P. Steps: 2 log2 Q, two more if P > Q.
//   Bytes sent by each rank: 2 (Q - 1) / Q N, at most N more if P > Q.
//
//   P = 4, chunks 0..3     reduce-scatter   1 apart: 0 keeps 01, 1 keeps 23    2 apart: 0 keeps 0, 2 keeps 1
//                                                    2 keeps 01, 3 keeps 23             1 keeps 2, 3 keeps 3
//                          all-gather       2 apart: 0 and 2 have 01           1 apart: all have 0123
//                                                    1 and 3 have 23
//
// The longest messages go to the nearest ranks, which are the likeliest to share a host. The least bytes in
// logarithmically many steps, for powers of two. R. Rabenseifner, "Optimization of collective reduction
// operations", ICCS 2004.
#include <algorithm>

#include "algorithms/catalogue.h"
#include "algorithms/cost.h"
#include "algorithms/steps.h"
#include "algorithms/surplus.h"
#include "algorithms/tiling.h"

namespace comity::algorithms {
namespace {

Shape shape(const Request& request) {
  const Surplus surplus(request.topology->nranks());
  Shape shape = make_shape("halving_doubling", Collective::kAllReduce, request, surplus.core);
  set_tiles(shape, request.block_bytes, {.messages = surplus.core, .footprint = 2, .window = 2});
  return shape;
}

class HalvingDoubling {
 public:
  HalvingDoubling(Steps& steps, uint32_t ranks, uint32_t rank)
      : steps_(steps),
        surplus_(ranks),
        rank_(rank),
        index_(surplus_.index_of(rank)),
        held_{0, surplus_.core} {}

  void add() {
    const ChunkRun all_in = input(0, 0, surplus_.core);
    const ChunkRun all_out = output(0, 0, surplus_.core);
    if (surplus_.is_surplus(rank_)) {
      const uint32_t sent = steps_.send(rank_ + 1, all_in);
      steps_.recv(rank_ + 1, all_out, {steps_.done_in_place(sent)});
      return;
    }
    if (surplus_.has_surplus(rank_)) {
      fold(rank_ - 1, Order::kReceivedFirst, all_out, false, false);
    }
    for (uint32_t round = 0; round < surplus_.rounds(); ++round) halve(round);
    for (uint32_t round = surplus_.rounds(); round-- > 0;) double_up(round);
    if (surplus_.has_surplus(rank_)) steps_.send(rank_ - 1, all_out, ready_);
  }

 private:
  struct Span {
    uint32_t first = 0;
    uint32_t count = 0;
  };
  struct Round {
    uint32_t peer = 0;
    Span given;  // what the peer became responsible for
    After sent;  // the send of it
  };

  // `folded`: what the peer sends, it has folded.
  void fold(uint32_t peer, Order order, const ChunkRun& into, bool last, bool folded) {
    const uint32_t reduced = steps_.fold({.peer = peer,
                                          .own = moved_to(sum_, 0, into),
                                          .into = into,
                                          .order = order,
                                          .last = last,
                                          .after = ready_,
                                          .own_partial = sum_ == Space::kOutput,
                                          .received_partial = folded});
    sum_ = Space::kOutput;
    ready_ = {steps_.done(reduced)};
  }

  void halve(uint32_t round) {
    const uint32_t partner = index_ ^ (1u << round);
    const uint32_t half = held_.count / 2;
    const bool upper = index_ > partner;
    const Span given{upper ? held_.first : held_.first + half, half};
    held_ = {upper ? held_.first + half : held_.first, half};
    const uint32_t peer = surplus_.rank_of(partner);
    const bool from_input = sum_ == Space::kInput;
    const uint32_t sent = steps_.send(peer, {sum_, 0, given.first, given.count}, ready_);
    rounds_.push_back({peer, given, from_input ? steps_.done_in_place(sent) : steps_.done(sent)});
    fold(peer, order_of(index_, partner), output(0, held_.first, held_.count), round + 1 == surplus_.rounds(),
         round > 0 || surplus_.has_surplus(peer));
  }

  void double_up(uint32_t round) {
    const Round& met = rounds_[round];
    steps_.send(met.peer, output(0, held_.first, held_.count), ready_);
    const uint32_t arrived = steps_.recv(met.peer, output(0, met.given.first, met.given.count), {met.sent});
    ready_.push_back(steps_.done(arrived));
    held_ = {std::min(held_.first, met.given.first), 2 * held_.count};
  }

  Steps& steps_;
  Surplus surplus_;
  uint32_t rank_, index_;
  Span held_;                  // what this rank is responsible for, later what it has
  Space sum_ = Space::kInput;  // where its sums lie
  std::vector<After> ready_;   // when what it holds is complete
  std::vector<Round> rounds_;
};

Part part(const Request&, const Shape& shape, uint32_t rank) {
  if (shape.nranks == 1) return lone_part(shape);
  Part part = empty_part(rank, 1);
  Steps steps(part.lanes[0].steps);
  HalvingDoubling(steps, shape.nranks, rank).add();
  return part;
}

uint64_t cost_ns(const Request& request) {
  const Figures figures(request);
  const Surplus surplus(static_cast<uint32_t>(figures.ranks));
  // With surplus ranks, partners are not the ranks that differ in a bit.
  const bool aligned = surplus.extra == 0;
  Wide time = aligned ? 0 : 2 * figures.exchange_ns(figures.bytes, 1) + figures.reduce_ns(figures.bytes);
  for (uint32_t round = 0; round < surplus.rounds(); ++round) {
    const Wide half = figures.bytes >> (round + 1);
    const uint64_t distance = uint64_t{1} << round;
    const Wide exchange = aligned ? figures.pair_ns(half, distance) : figures.exchange_ns(half, distance);
    time += 2 * exchange + figures.reduce_ns(half);
  }
  return narrow_ns(time);
}

}  // namespace

constinit const Algorithm kAllReduceHalvingDoubling = {
    .name = "halving_doubling",
    .collective = Collective::kAllReduce,
    .summary = "2 log2 P steps (P no power of two: 2 more), 2 (P-1)/P N bytes",
    .applies = applies_with_core_chunks,
    .shape = shape,
    .part = part,
    .cost_ns = cost_ns,
    .roundings = rounds_at_every_doubling,
};

}  // namespace comity::algorithms
