// All-reduce, double binary tree: each half of a tile goes up and down a binary tree of its own, tiles
// pipelined.
//
//   P ranks, N bytes. Steps: at most 2 ceil(log2 P) per tile, tiles following one another. Bytes sent by each
//   rank: at most 2 N: a rank is an inner node of one tree, where it sends its half up and to two children,
//   and a leaf of the other.
//
//   P = 8    first half:   0              second half:   7        (the first mirrored; an odd number of
//                          `-- 4 --.              .-- 3 --'        ranks is shifted by one instead)
//                           .- 2   6 -.      .- 1    5 -.
//                           1  3   5  7      0  2    4  6
//
// Up and down, of either tree, are four lanes. Latency of a tree with the bandwidth of two half-loaded ones.
// P. Sanders, J. Speck, J. L. Traeff, "Two-tree algorithms for full bandwidth broadcast, reduction and scan",
// Parallel Computing 2009.
#include "algorithms/catalogue.h"
#include "algorithms/cost.h"
#include "algorithms/tiling.h"
#include "algorithms/tree.h"

namespace comity::algorithms {
namespace {

Shape shape(const Request& request) {
  const Figures figures(request);
  Shape shape = make_shape("double_binary_tree", Collective::kAllReduce, request, figures.ranks == 1 ? 1 : 2);
  shape.tile_bytes = pipelined_tile_bytes(figures, 2 * ceil_log2(figures.ranks));
  shape.window = 8;
  return shape;
}

// The node of a rank in tree 0 or 1, in ranks.
TreeNode node_of(uint32_t ranks, uint32_t tree, uint32_t rank) {
  // Mirrored, odd ranks of an even number become even positions; shifted by one, those of an odd number do.
  const bool mirrored = tree == 1 && ranks % 2 == 0;
  const bool shifted = tree == 1 && ranks % 2 == 1;
  const auto to_position = [=](uint32_t r) {
    return mirrored ? ranks - 1 - r : shifted ? (r + ranks - 1) % ranks : r;
  };
  const auto to_rank = [=](uint32_t p) { return mirrored ? ranks - 1 - p : shifted ? (p + 1) % ranks : p; };
  TreeNode node = in_order_node(ranks, to_position(rank));
  if (node.has_parent) node.parent = to_rank(node.parent);
  for (uint32_t& child : node.children) child = to_rank(child);
  return node;
}

Part part(const Request&, const Shape& shape, uint32_t rank) {
  if (shape.nranks == 1) return lone_part(shape);
  Part part = empty_part(rank, 4);
  for (uint32_t tree = 0; tree < 2; ++tree) {
    add_tree_all_reduce(part, 2 * tree, 2 * tree + 1, node_of(shape.nranks, tree, rank), tree);
  }
  return part;
}

// The pipe fills over 2 ceil(log2 P) hops, in each of which an inner node takes messages from two children.
// Then a tile leaves it in each interval: the busiest rank sends 2 N, and a host of several ranks, whose
// nodes have edges out of it in both trees, about 4 N.
uint64_t cost_ns(const Request& request) {
  const Figures figures(request);
  if (figures.ranks == 1) return 0;
  const uint64_t depth = 2 * ceil_log2(figures.ranks);
  const uint64_t tile = pipelined_tile_bytes(figures, depth);
  const uint64_t tiles = pipelined_tiles(figures, tile);
  const Wide length = figures.bytes / tiles;
  const Wide taken = figures.ranks > 3 ? length : length / 2;
  const Wide fill = depth * (figures.hop_ns(taken) + figures.gap_ns()) + depth / 2 * figures.reduce_ns(taken);
  const bool shares_way_out = figures.groups > 1 && figures.local > 1;
  const Wide interval =
      figures.hop_ns((shares_way_out ? 4 : 2) * length) + 2 * figures.gap_ns() + figures.reduce_ns(length);
  return narrow_ns(fill + (tiles - 1) * interval);
}

// An inner node folds two children one after the other, the root one.
uint32_t roundings(const Request& request) {
  const uint32_t ranks = request.topology->nranks();
  return ranks <= 1 ? 0 : 2 * ceil_log2(ranks) - 1;
}

}  // namespace

constinit const Algorithm kAllReduceDoubleBinaryTree = {
    .name = "double_binary_tree",
    .collective = Collective::kAllReduce,
    .summary = "2 ceil(log2 P) steps, pipelined, 2 N bytes",
    .applies = applies_everywhere,
    .shape = shape,
    .part = part,
    .cost_ns = cost_ns,
    .roundings = roundings,
    .least_lanes = 4,
};

}  // namespace comity::algorithms
