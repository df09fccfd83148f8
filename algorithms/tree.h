// Trees over ranks: each node computed alone, in time proportional to its children. Pure.
#pragma once

#include <bit>
#include <cstdint>
#include <vector>

#include "algorithms/algorithm.h"
#include "algorithms/steps.h"

namespace comity::algorithms {

struct TreeNode {
  bool has_parent = false;  // the root has none
  uint32_t parent = 0;
  std::vector<uint32_t> children;
  std::vector<bool> inner;  // by child: it has children itself
};

// Binomial tree: distance d from the root has children d + 1, d + 2, d + 4, ... below its lowest set bit;
// children in ascending order, so that folding them in order folds contiguous ranges.
TreeNode binomial_node(uint32_t ranks, uint32_t root, uint32_t rank);

// The blocks that pass a rank of the binomial tree when each rank's goes to the root or comes from it: its
// own, and those of the distances behind it. Numbered by how far behind, 0 is the own.
struct BinomialBlocks {
  BinomialBlocks(uint32_t ranks, uint32_t root, uint32_t rank);
  bool is_root = false;
  uint32_t parent = 0;  // of all but the root
  uint32_t count = 1;
  // Whose block i is.
  uint32_t owner(uint32_t i) const { return (rank_ + i) % ranks_; }
  // Through which child block i passes, i > 0.
  uint32_t child_with(uint32_t i) const { return owner(std::bit_floor(i)); }

 private:
  uint32_t ranks_, rank_;
};
// The shape of a plan of these, with a slot for each block of others that passes a rank but the root.
Shape binomial_blocks_shape(Collective collective, const Request& request);

// Binary tree numbered in order under a root with one child: position 0 is the root; position v of height h
// (trailing zeros) has children v - 2^(h-1) and v + 2^(h-1), clipped to what exists. Depth at most ceil(log2
// ranks); odd positions are leaves. Children in ascending order. Positions, not ranks.
//
//   ranks = 8        0
//                    `-- 4 --.
//                     .- 2   6 -.
//                     1  3   5  7
TreeNode in_order_node(uint32_t positions, uint32_t position);

// Folds every child's message and the own input into `into`.
struct Gathered {
  ChunkRun sum;              // `into`, or the input where there are no children
  std::vector<After> ready;  // when it is complete
};
// The own operand leads each fold; each chunk is folded once on the way up, so no other rank's bits depend on
// it. The root's last fold is marked so.
Gathered add_gather_from_children(Steps& steps, const TreeNode& node, const ChunkRun& into);

// All-reduce over one tree: up on lane `up`, down on lane `down`, so that tiles overlap in both directions.
void add_tree_all_reduce(Part& part, uint32_t up, uint32_t down, const TreeNode& node, uint32_t chunk);

}  // namespace comity::algorithms
