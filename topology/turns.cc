#include "topology/turns.h"

#include <algorithm>
#include <set>

namespace comity::topology {

std::vector<std::vector<RankPair>> turns_of(const std::vector<uint32_t>& host_of_rank) {
  const auto n = static_cast<uint32_t>(host_of_rank.size());
  std::vector<std::vector<RankPair>> turns;
  // The tournament's rounds: one seat is fixed, the others move around a circle; an odd one sits out.
  const uint32_t seats = n + n % 2;
  std::vector<RankPair> order;
  for (uint32_t round = 0; round + 1 < seats; ++round) {
    for (uint32_t i = 0; i < seats / 2; ++i) {
      const auto seat = [&](uint32_t place) {
        return place == 0 ? 0 : 1 + (place - 1 + round) % (seats - 1);
      };
      const uint32_t a = seat(i), b = seat(seats - 1 - i);
      if (a < n && b < n) order.emplace_back(std::min(a, b), std::max(a, b));
    }
  }
  std::vector<std::set<uint32_t>> busy;
  for (const RankPair& pair : order) {
    const uint32_t a = host_of_rank[pair.first], b = host_of_rank[pair.second];
    size_t turn = 0;
    while (turn < turns.size() && (busy[turn].contains(a) || busy[turn].contains(b))) ++turn;
    if (turn == turns.size()) {
      turns.emplace_back();
      busy.emplace_back();
    }
    turns[turn].push_back(pair);
    busy[turn].insert({a, b});
  }
  return turns;
}

}  // namespace comity::topology
