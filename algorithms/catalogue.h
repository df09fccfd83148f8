// Every algorithm there is, by the file that defines it. Constant-initialised: no order among files matters.
#pragma once

#include <bit>

#include "algorithms/algorithm.h"

namespace comity::algorithms {

extern const Algorithm kAllReduceDirect;
extern const Algorithm kAllReduceTwoShot;
extern const Algorithm kAllReduceRing;
extern const Algorithm kAllReduceRecursiveDoubling;
extern const Algorithm kAllReduceHalvingDoubling;
extern const Algorithm kAllReduceBinomialTree;
extern const Algorithm kAllReduceDoubleBinaryTree;
extern const Algorithm kAllReduceHierarchical;
extern const Algorithm kAllReduceBalancedDirect;
extern const Algorithm kAllReduceBalancedTwoShot;
extern const Algorithm kAllReduceGroup;
extern const Algorithm kReduceBinomial;
extern const Algorithm kReduceChain;
extern const Algorithm kReduceDirect;
extern const Algorithm kReduceTwoShot;
extern const Algorithm kReduceBalancedDirect;
extern const Algorithm kReduceBalancedTwoShot;
extern const Algorithm kReduceBalancedTree;
extern const Algorithm kReduceGroup;
extern const Algorithm kBroadcastBinomial;
extern const Algorithm kBroadcastChain;
extern const Algorithm kBroadcastGroup;
extern const Algorithm kAllGatherDirect;
extern const Algorithm kAllGatherRing;
extern const Algorithm kAllGatherBruck;
extern const Algorithm kAllGatherGroup;
extern const Algorithm kReduceScatterDirect;
extern const Algorithm kReduceScatterRing;
extern const Algorithm kReduceScatterHalving;
extern const Algorithm kReduceScatterBalanced;
extern const Algorithm kReduceScatterGroup;
extern const Algorithm kBarrierDissemination;
extern const Algorithm kBarrierGroup;
extern const Algorithm kAllToAllDirect;
extern const Algorithm kAllToAllPairwise;
extern const Algorithm kAllToAllBruck;
extern const Algorithm kAllToAllGroup;
extern const Algorithm kGatherDirect;
extern const Algorithm kGatherBinomial;
extern const Algorithm kGatherGroup;
extern const Algorithm kScatterDirect;
extern const Algorithm kScatterBinomial;
extern const Algorithm kScatterGroup;

// Chunks of a plan are at most this many (plan.h), and so are ranks of plans with a chunk per rank.
inline constexpr uint32_t kMaxChunks = 1u << 16;
// Beyond so many members of a level, of a host or of all hosts, roundings of partial results may grow with
// the logarithm of their number.
inline constexpr uint64_t kManyMembers = 64;

// Roundings: all operands are folded at once; each rank folds the sum of those before it; rounds that double.
inline uint32_t rounds_once(const Request& request) {
  return request.topology->nranks() > 1 ? 1 : 0;
}
inline uint32_t rounds_at_every_rank(const Request& request) {
  return request.topology->nranks() - 1;
}
inline uint32_t rounds_at_every_doubling(const Request& request) {
  const uint32_t ranks = request.topology->nranks();
  return ranks <= 1 ? 0 : static_cast<uint32_t>(std::bit_width(ranks - 1));
}
// Applies to every topology.
inline bool applies_everywhere(const topology::Topology&) {
  return true;
}
// Applies where a chunk per rank fits.
inline bool applies_with_chunk_per_rank(const topology::Topology& topology) {
  return topology.nranks() <= kMaxChunks;
}
// Applies where a chunk per rank of the largest power of two fits.
inline bool applies_with_core_chunks(const topology::Topology& topology) {
  return topology.nranks() < 2 * kMaxChunks;
}

// Of reductions whose rounds double: they fold by the balanced tree where each round doubles.
inline bool ranks_are_a_power_of_two(const topology::Topology& topology) {
  return std::has_single_bit(topology.nranks());
}

}  // namespace comity::algorithms
