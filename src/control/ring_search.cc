#include "src/control/ring_search.h"

#include <fmt/core.h>

#include <algorithm>

#include "src/base/clock.h"
#include "src/base/handshake.h"
#include "src/control/scope.h"

namespace comity::control {
namespace {

PairCount pair_with(const Waiting& waits, uint32_t peer) {
  for (const PairCount& pair : waits.now.pairs) {
    if (pair.peer == peer) return pair;
  }
  return {peer, 0, 0};
}

// The first Send or Recv of `waits` whose other side `other` has not begun.
const WaitingFor::Exchange* unmet_exchange(const Waiting& waits, const Waiting& other) {
  const PairCount its = pair_with(other, waits.rank);
  for (const auto& one : waits.now.exchanges) {
    if (one.peer == other.rank && (one.sends ? its.receives : its.sends) < one.number) return &one;
  }
  return nullptr;
}

// Whether nobody leaves the collective, or `rank` does not, before `other` came to it.
bool cannot_leave_without(const CallRecord& record, uint32_t rank, uint32_t other) {
  if (record.number == 0) return true;  // the communicator is being finalized
  switch (planned_as(record.collective)) {
    case Collective::kBroadcast:
    case Collective::kScatter:
      return other == record.root;
    case Collective::kReduce:
    case Collective::kGather:
      return rank == record.root;
    default:
      return true;
  }
}

bool needs(const Waiting& waits, const Waiting& other) {
  const uint64_t number = waits.now.collective;
  if (number == 0) return unmet_exchange(waits, other) != nullptr;
  const bool came = std::max(other.last_number, other.now.collective) >= number;
  return !came && cannot_leave_without(waits.record, waits.rank, other.rank);
}

std::string describe_wait(const Waiting& waits, const Waiting& other) {
  const std::string name = name_of_rank(waits.rank, waits.member);
  const std::string whom = other.rank == waits.rank ? "itself" : name_of_rank(other.rank, other.member);
  if (waits.now.collective == 0) {
    const WaitingFor::Exchange& one = *unmet_exchange(waits, other);
    return fmt::format("{} waits in its {} {} {} {}", name, one.sends ? "Send" : "Recv", one.number,
                       one.sends ? "to" : "from", whom);
  }
  if (waits.record.number == 0)
    return fmt::format("{} waits for {} to finalize the communicator", name, whom);
  return fmt::format("{} waits for {} in collective {}, {}", name, whom, waits.now.collective,
                     describe(waits.record));
}

}  // namespace

// Depth first, without recursion: a ring may be of all ranks.
std::vector<uint32_t> find_ring(const std::map<uint32_t, Waiting>& waiting) {
  struct Step {
    uint32_t rank;
    std::map<uint32_t, Waiting>::const_iterator next;  // to be looked at from there
  };
  std::set<uint32_t> seen;
  for (const auto& start : waiting) {
    if (!seen.insert(start.first).second) continue;
    std::vector<Step> path = {{start.first, waiting.begin()}};
    std::set<uint32_t> on_path = {start.first};
    while (!path.empty()) {
      Step& step = path.back();
      if (step.next == waiting.end()) {
        on_path.erase(step.rank);
        path.pop_back();
        continue;
      }
      const auto& [next, its] = *step.next++;
      if (!needs(waiting.at(step.rank), its)) continue;
      if (on_path.contains(next)) {
        std::vector<uint32_t> ring;
        while (path.back().rank != next) {
          ring.push_back(path.back().rank);
          path.pop_back();
        }
        ring.push_back(next);
        std::reverse(ring.begin(), ring.end());
        std::rotate(ring.begin(), std::min_element(ring.begin(), ring.end()), ring.end());
        return ring;
      }
      if (!seen.insert(next).second) continue;
      on_path.insert(next);
      path.push_back({next, waiting.begin()});
    }
  }
  return {};
}

std::string describe_ring(const std::map<uint32_t, Waiting>& waiting, const std::vector<uint32_t>& ring) {
  const auto wait_of = [&](size_t at) {
    return describe_wait(waiting.at(ring[at]), waiting.at(ring[(at + 1) % ring.size()]));
  };
  std::string text = "ranks wait for one another and can never get on: " + wait_of(0);
  if (ring.size() > 1) text += ", " + wait_of(1);
  if (ring.size() > 2) text += fmt::format(", and so on around {} ranks", ring.size());
  return text;
}

void RingSearch::stop() {
  for (const auto& search : searches_) loop_.cancel(search.second.timer);
  searches_.clear();
  told_.clear();
}

void RingSearch::forget(uint64_t communicator) {
  if (const auto search = searches_.find(communicator); search != searches_.end()) {
    loop_.cancel(search->second.timer);
    searches_.erase(search);
  }
  told_.erase(communicator);
}

// The first time at once, then after twice the time of before, for as long as it waits for the same.
void RingSearch::report(uint64_t communicator) {
  const auto waits = port_.waits_in(communicator);
  if (!waits || waits->now.exchanges.empty()) return;
  Told& told = told_[communicator];
  const uint64_t now = loop_.now_ns();
  if (told.stamp != waits->now.stamp) told = Told{waits->now.stamp, now, kAnswerMs};
  if (now < told.next_ns) return;
  told.next_ns = now + told.every_ms * 1'000'000u;
  told.every_ms = std::min(2 * told.every_ms, kMostSeldomMs);
  take(*waits);
}

bool RingSearch::on_waits(std::span<const std::byte> payload) {
  const auto waits = decode_waits(payload);
  if (!waits || waits->member >= port_.nranks()) return false;
  take(*waits);
  return true;
}

void RingSearch::take(const Waiting& waits) {
  if (port_.has_parent()) return port_.to_parent(MessageType::kWaits, encode(waits));
  if (waits.round != 0) {
    const auto search = searches_.find(waits.communicator);
    if (search != searches_.end() && search->second.round == waits.round)
      search->second.answers[waits.rank] = waits;
    return;
  }
  Search& search = searches_[waits.communicator];
  search.ranks.insert(waits.rank);
  for (const auto& one : waits.now.exchanges) search.ranks.insert(one.peer);
  if (search.timer != 0) return;
  search.timer = loop_.after_ms(kCollectMs, [this, communicator = waits.communicator] { ask(communicator); });
}

void RingSearch::ask(uint64_t communicator) {
  Search& search = searches_[communicator];
  search.round = loop_.random_u64() | 1u;
  search.before = std::exchange(search.answers, {});
  const WhoWaits question{search.round, communicator, {search.ranks.begin(), search.ranks.end()}};
  search.timer = loop_.after_ms(kAnswerMs, [this, communicator] { evaluate(communicator); });
  port_.to_children(MessageType::kWhoWaits, encode(question));
  answer(question);
}

void RingSearch::evaluate(uint64_t communicator) {
  Search& search = searches_[communicator];
  if (!search.second) {
    search.second = true;
    return ask(communicator);
  }
  std::map<uint32_t, Waiting> unchanged;
  for (const auto& [rank, waits] : search.answers) {
    const auto before = search.before.find(rank);
    if (before != search.before.end() && before->second.now == waits.now) unchanged[rank] = waits;
  }
  searches_.erase(communicator);
  const std::vector<uint32_t> ring = find_ring(unchanged);
  if (ring.empty()) return;
  port_.declare_fault(communicator, Code::kInvalidUsage, describe_ring(unchanged, ring));
}

bool RingSearch::on_who_waits(std::span<const std::byte> payload) {
  const auto question = decode_who_waits(payload);
  if (!question) return false;
  port_.to_children(MessageType::kWhoWaits, payload);
  answer(*question);
  return true;
}

// Of its counts, those of ranks in question are told.
void RingSearch::answer(const WhoWaits& question) {
  auto waits = port_.waits_in(question.communicator);
  if (!waits || !waits->now.waits) return;
  const auto is_asked = [&](uint32_t rank) {
    return std::find(question.ranks.begin(), question.ranks.end(), rank) != question.ranks.end();
  };
  if (!is_asked(waits->rank)) return;
  std::erase_if(waits->now.pairs, [&](const PairCount& pair) { return !is_asked(pair.peer); });
  waits->round = question.round;
  take(*waits);
}

}  // namespace comity::control
