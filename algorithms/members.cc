#include "algorithms/members.h"

#include <numeric>
#include <utility>

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
  result.reduced = folding == Folding::kAtOnce || members.size() == 2
                       ? add_fold_at_once(steps, members, own, into, last, ready)
                       : add_fold_on_arrival(steps, members, own, into, last);
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
                          bool last) {
  std::vector<After> sent;
  for (uint32_t distance = 1; distance < members.size(); ++distance) {
    sent.push_back(steps.done_in_place(steps.send(members.ranks[members.after(distance)], x)));
  }
  return add_fold_at_once(steps, members, x, y, last, sent);
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
