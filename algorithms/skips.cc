#include "algorithms/skips.h"

namespace comity::algorithms {

std::vector<uint32_t> halving_skips(uint32_t ranks) {
  std::vector<uint32_t> skips{ranks};
  while (skips.back() > 1) skips.push_back(skips.back() / 2 + skips.back() % 2);
  return skips;
}

Wide skip_rounds_ns(const Figures& figures, Wide per_block_ns) {
  const std::vector<uint32_t> skips = halving_skips(static_cast<uint32_t>(figures.ranks));
  Wide time = 0;
  for (size_t round = 0; round + 1 < skips.size(); ++round) {
    const uint32_t blocks = skips[round] - skips[round + 1];
    time += figures.exchange_ns(figures.bytes * blocks, skips[round + 1]);
    time += (blocks - 1) * figures.gap_ns() + blocks * per_block_ns;
  }
  return time;
}

}  // namespace comity::algorithms
