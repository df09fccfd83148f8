// The distances of halving and doubling for any number of ranks: p, ceil(p / 2), ceil(ceil(p / 2) / 2),
// ..., 1.
//
// In the round from skips[k] to skips[k + 1] a rank exchanges skips[k] - skips[k + 1] blocks with the rank
// skips[k + 1] away. ceil(log2 p) rounds and p - 1 blocks in all. After J. L. Traeff, arXiv 2410.14234. Pure.
#pragma once

#include <cstdint>
#include <vector>

#include "algorithms/cost.h"

namespace comity::algorithms {

// At least {ranks}; descending to 1.
std::vector<uint32_t> halving_skips(uint32_t ranks);
// Time of all rounds: a message per block, and `per_block_ns` of work on each.
Wide skip_rounds_ns(const Figures& figures, Wide per_block_ns);

}  // namespace comity::algorithms
