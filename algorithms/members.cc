#include "algorithms/members.h"

#include <bit>
#include <numeric>
#include <utility>

#include "src/plan/balanced.h"

namespace comity::algorithms {
Members everyone(uint32_t nranks, uint32_t rank) {
  Members members{std::vector<uint32_t>(nranks), rank};
  std::iota(members.ranks.begin(), members.ranks.end(), 0);
  return members;
}

// Landings from all others, by member, and the reduce over them in members' order.
uint32_t add_fold_at_once(Steps& steps, const Members& members, const ChunkRun& own, const ChunkRun& into,
                          bool last, const std::vector<After>& in_place) {
  std::vector<ChunkRun> sources(members.size(), marked(own, members.is_partial(members.me)));
  std::vector<After> after;
  for (uint32_t distance = 1; distance < members.size(); ++distance) {
    const uint32_t from = members.before(distance);
    const uint32_t arrival = steps.land(members.ranks[from], own);
    sources[from] = marked(steps.landed(arrival), members.is_partial(from));
    after.push_back(steps.done(arrival));
  }
  after.insert(after.end(), in_place.begin(), in_place.end());
  return steps.reduce(std::move(sources), into, std::move(after), last);
}

uint32_t add_fold_on_arrival(Steps& steps, const Members& members, const ChunkRun& own, const ChunkRun& into,
                             bool last) {
  Steps::Fold fold{.own = own, .into = into, .own_partial = members.is_partial(members.me)};
  uint32_t reduced = 0;
  for (uint32_t distance = 1; distance < members.size(); ++distance) {
    const uint32_t from = members.before(distance);
    fold.peer = members.ranks[from];
    fold.received_partial = members.is_partial(from);
    fold.last = last && distance + 1 == members.size();
    reduced = steps.fold(fold);
    fold.own = into;
    fold.own_partial = true;
    fold.after = {steps.done(reduced)};
  }
  return reduced;
}

namespace {

// Writes the tree's reductions in the order in which its nodes are done, depth first, each after the one
// before: a slot is free for another node once its node was folded into the one above.
class BalancedFold {
 public:
  struct Leaf {
    ChunkRun run;
    std::vector<After> ready;
  };

  BalancedFold(Steps& steps, std::vector<Leaf> leaves, const ChunkRun& into)
      : steps_(steps), leaves_(std::move(leaves)), into_(into) {}

  uint32_t add(bool last, const std::vector<After>& in_place) {
    const auto size = static_cast<uint32_t>(leaves_.size());
    after_ = in_place;
    add_node(0, size, 0, true, last);
    return reduced_;
  }

 private:
  ChunkRun operand(uint32_t begin, uint32_t end, uint32_t slot) {
    if (end - begin > 1) return add_node(begin, end, slot, false, false);
    after_.insert(after_.end(), leaves_[begin].ready.begin(), leaves_[begin].ready.end());
    return leaves_[begin].run;
  }

  ChunkRun add_node(uint32_t begin, uint32_t end, uint32_t slot, bool root, bool last) {
    const uint32_t middle = begin + plan::balanced_split(end - begin);
    const ChunkRun left = operand(begin, middle, slot);
    const ChunkRun right = operand(middle, end, slot + (middle - begin > 1 ? 1 : 0));
    const ChunkRun sum = root ? into_ : moved_to(Space::kScratch, slot, into_);
    reduced_ = steps_.reduce({left, right}, sum, std::exchange(after_, {}), last);
    after_ = {steps_.done(reduced_)};
    return marked(sum, true);
  }

  Steps& steps_;
  std::vector<Leaf> leaves_;
  ChunkRun into_;
  std::vector<After> after_;  // what the next reduction waits for
  uint32_t reduced_ = 0;
};

}  // namespace

uint32_t balanced_slots(uint32_t members) {
  // The sum of a left half and, while the right half is computed, those within it; the last is no slot's.
  return members < 3 ? 0 : static_cast<uint32_t>(std::bit_width(members)) - 1;
}

uint32_t add_balanced_fold(Steps& steps, const Members& members, const ChunkRun& own, const ChunkRun& into,
                           bool last, const std::vector<After>& in_place) {
  std::vector<BalancedFold::Leaf> leaves(members.size());
  leaves[members.me].run = marked(own, members.is_partial(members.me));
  for (uint32_t distance = 1; distance < members.size(); ++distance) {
    const uint32_t from = members.before(distance);
    const uint32_t arrival = steps.land(members.ranks[from], own);
    leaves[from] = {marked(steps.landed(arrival), members.is_partial(from)), {steps.done(arrival)}};
  }
  return BalancedFold(steps, std::move(leaves), into).add(last, in_place);
}

ReduceScatterSteps add_reduce_scatter(Steps& steps, const Members& members, std::span<const ChunkRun> x,
                                      const ChunkRun& into, bool last, Folding folding,
                                      const std::vector<After>& ready) {
  ReduceScatterSteps result;
  result.sends.resize(members.size());
  for (uint32_t distance = 1; distance < members.size(); ++distance) {
    const uint32_t to = members.after(distance);
    result.sends[to] = steps.send(members.ranks[to], x[to], ready);
  }
  const ChunkRun& own = x[members.me];
  if (folding == Folding::kBalanced) {
    result.reduced = add_balanced_fold(steps, members, own, into, last, ready);
  } else if (folding == Folding::kAtOnce || members.size() == 2) {
    result.reduced = add_fold_at_once(steps, members, own, into, last, ready);
  } else {
    result.reduced = add_fold_on_arrival(steps, members, own, into, last);
  }
  return result;
}

std::vector<uint32_t> add_all_gather(Steps& steps, const Members& members, const ChunkRun& own,
                                     std::span<const ChunkRun> y, const std::vector<After>& ready,
                                     const std::vector<After>& cleared) {
  std::vector<uint32_t> sends;
  for (uint32_t distance = 1; distance < members.size(); ++distance) {
    sends.push_back(steps.send(members.ranks[members.after(distance)], own, ready));
  }
  for (uint32_t distance = 1; distance < members.size(); ++distance) {
    const uint32_t from = members.before(distance);
    steps.recv(members.ranks[from], y[from],
               cleared.empty() ? std::vector<After>{} : std::vector<After>{cleared[from]});
  }
  return sends;
}

void add_two_shot(Steps& steps, const Members& members, std::span<const ChunkRun> x,
                  std::span<const ChunkRun> y, bool last, Folding folding) {
  const ReduceScatterSteps scattered = add_reduce_scatter(steps, members, x, y[members.me], last, folding);
  std::vector<After> cleared;
  for (uint32_t sent : scattered.sends) cleared.push_back(steps.done_in_place(sent));
  add_all_gather(steps, members, y[members.me], y, {steps.done(scattered.reduced)}, cleared);
}

uint32_t add_exchange_all(Steps& steps, const Members& members, const ChunkRun& x, const ChunkRun& y,
                          bool last, Folding folding) {
  std::vector<After> sent;
  for (uint32_t distance = 1; distance < members.size(); ++distance) {
    sent.push_back(steps.done_in_place(steps.send(members.ranks[members.after(distance)], x)));
  }
  return folding == Folding::kBalanced ? add_balanced_fold(steps, members, x, y, last, sent)
                                       : add_fold_at_once(steps, members, x, y, last, sent);
}

void add_all_to_all(Steps& steps, const Members& members, std::span<const ChunkRun> x,
                    std::span<const ChunkRun> y) {
  for (uint32_t distance = 1; distance < members.size(); ++distance) {
    const uint32_t to = members.after(distance);
    steps.send(members.ranks[to], x[to]);
  }
  for (uint32_t distance = 1; distance < members.size(); ++distance) {
    const uint32_t from = members.before(distance);
    steps.recv(members.ranks[from], y[from]);
  }
  steps.copy(x[members.me], y[members.me]);
}

void add_gather_at_root(Steps& steps, const Members& members, const ChunkRun& own,
                        std::span<const ChunkRun> y) {
  for (uint32_t distance = 1; distance < members.size(); ++distance) {
    const uint32_t from = members.after(distance);
    steps.recv(members.ranks[from], y[from]);
  }
  if (own != y[members.me]) steps.copy_own(own, y[members.me], {});
}

void add_scatter_at_root(Steps& steps, const Members& members, std::span<const ChunkRun> x,
                         const ChunkRun& own) {
  for (uint32_t distance = 1; distance < members.size(); ++distance) {
    const uint32_t to = members.after(distance);
    steps.send(members.ranks[to], x[to]);
  }
  if (own != x[members.me]) steps.copy_own(x[members.me], own, {});
}

void add_dissemination(Steps& steps, const Members& members, const ChunkRun& token) {
  std::vector<After> heard;
  for (uint32_t distance = 1; distance < members.size(); distance *= 2) {
    steps.send(members.ranks[members.after(distance)], token, heard);
    const uint32_t arrival = steps.land(members.ranks[members.before(distance)], token);
    heard.push_back(steps.done(arrival));
  }
}

}  // namespace comity::algorithms
