// Who measures with whom, and when. Pure.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace comity::topology {

using RankPair = std::pair<uint32_t, uint32_t>;

// All pairs of ranks, each once, lower rank first, in turns: pairs of one turn are measured at once, and no
// host is in two of them, so that they share no NIC and no memory. In the order of a round-robin tournament
// (T. P. Kirkman, 1847), each pair in the first turn that is free for it: for n hosts of one rank each, n - 1
// turns, or n where n is odd.
std::vector<std::vector<RankPair>> turns_of(const std::vector<uint32_t>& host_of_rank);

}  // namespace comity::topology
