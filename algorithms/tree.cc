#include "algorithms/tree.h"

#include <algorithm>
#include <bit>

#include "algorithms/tiling.h"

namespace comity::algorithms {
namespace {

// Blocks of others that pass a rank other than the root, at most.
uint32_t most_relayed(uint32_t ranks) {
  if (ranks < 3) return 0;
  const uint32_t half = std::bit_floor(ranks - 1);  // the farthest child of the root
  return std::max(ranks - half, half / 2) - 1;
}

}  // namespace

TreeNode binomial_node(uint32_t ranks, uint32_t root, uint32_t rank) {
  const auto rank_at = [&](uint64_t distance) { return static_cast<uint32_t>((root + distance) % ranks); };
  const uint64_t distance = (uint64_t{rank} + ranks - root) % ranks;
  TreeNode node;
  node.has_parent = distance != 0;
  const uint64_t limit = node.has_parent ? distance & (~distance + 1) : std::bit_ceil(uint64_t{ranks});
  if (node.has_parent) node.parent = rank_at(distance - limit);
  for (uint64_t bit = 1; bit < limit && distance + bit < ranks; bit *= 2) {
    node.children.push_back(rank_at(distance + bit));
    node.inner.push_back(bit > 1 && distance + bit + 1 < ranks);
  }
  return node;
}

BinomialBlocks::BinomialBlocks(uint32_t ranks, uint32_t root, uint32_t rank) : ranks_(ranks), rank_(rank) {
  const TreeNode node = binomial_node(ranks, root, rank);
  const uint32_t distance = (rank + ranks - root) % ranks;
  is_root = !node.has_parent;
  parent = node.parent;
  count = is_root ? ranks : std::min(distance & (~distance + 1), ranks - distance);
}

Shape binomial_blocks_shape(Collective collective, const Request& request) {
  Shape shape = make_shape("binomial", collective, request, 1);
  shape.scratch_slots = most_relayed(shape.nranks);
  set_tiles(shape, request.block_bytes, {.messages = 1, .footprint = shape.scratch_slots, .window = 2});
  return shape;
}

TreeNode in_order_node(uint32_t positions, uint32_t position) {
  TreeNode node;
  if (position == 0) {
    if (positions > 1) node.children = {std::bit_floor(positions - 1)};
    for (const uint32_t child : node.children) node.inner.push_back(child % 2 == 0);
    return node;
  }
  const uint64_t height_bit = position & (~position + 1);
  const uint64_t below = position - height_bit;
  const uint64_t above = below | (height_bit * 2);
  node.has_parent = true;
  node.parent = static_cast<uint32_t>(above < positions ? above : below);
  if (height_bit == 1) return node;
  node.children.push_back(static_cast<uint32_t>(position - height_bit / 2));
  for (uint64_t step = height_bit / 2; step > 0; step /= 2) {
    if (position + step >= positions) continue;
    node.children.push_back(static_cast<uint32_t>(position + step));
    break;
  }
  for (const uint32_t child : node.children) node.inner.push_back(child % 2 == 0);
  return node;
}

Gathered add_gather_from_children(Steps& steps, const TreeNode& node, const ChunkRun& into) {
  Gathered gathered{moved_to(Space::kInput, 0, into), {}};
  for (size_t i = 0; i < node.children.size(); ++i) {
    const uint32_t reduced = steps.fold({.peer = node.children[i],
                                         .own = gathered.sum,
                                         .into = into,
                                         .last = !node.has_parent && i + 1 == node.children.size(),
                                         .after = gathered.ready,
                                         .own_partial = i > 0,
                                         .received_partial = node.inner[i]});
    gathered.sum = into;
    gathered.ready = {steps.done(reduced)};
  }
  return gathered;
}

void add_tree_all_reduce(Part& part, uint32_t up, uint32_t down, const TreeNode& node, uint32_t chunk) {
  const ChunkRun result = output(0, chunk, 1);
  Steps rising(part.lanes[up].steps, up);
  Steps falling(part.lanes[down].steps, down);
  Gathered gathered = add_gather_from_children(rising, node, result);
  if (node.has_parent) {
    const uint32_t sent = rising.send(node.parent, gathered.sum, gathered.ready);
    // What was sent is overwritten by the result; a leaf sent its input.
    const After cleared = node.children.empty() ? rising.done_in_place(sent) : rising.done(sent);
    gathered.ready = {falling.done(falling.recv(node.parent, result, {cleared}))};
  }
  for (uint32_t child : node.children) falling.send(child, result, gathered.ready);
}

}  // namespace comity::algorithms
