#include "perf/core/collective.h"

namespace comity::perf {
namespace {

// One block from every rank, the r-th at r blocks.
std::vector<Piece> a_block_of_each(size_t block, size_t first, int nranks) {
  std::vector<Piece> pieces;
  for (int from = 0; from < nranks; ++from) {
    pieces.push_back({from, static_cast<size_t>(from) * block, first, block});
  }
  return pieces;
}

std::vector<Piece> blocks_of_pairs(size_t unit, int rank, int nranks) {
  std::vector<Piece> pieces;
  size_t at = 0;
  for (int from = 0; from < nranks; ++from) {
    size_t first = 0;
    for (int to = 0; to < rank; ++to) first += pair_count(unit, from, to, nranks);
    const size_t count = pair_count(unit, from, rank, nranks);
    pieces.push_back({from, at, first, count});
    at += count;
  }
  return pieces;
}

}  // namespace

std::string_view name_of(const CollectiveSpec& spec) {
  return spec.name != nullptr ? spec.name : name_of(spec.kind);
}

size_t pair_count(size_t unit, int from, int to, int nranks) {
  return unit * (1 + static_cast<size_t>(from + to) % static_cast<size_t>(nranks));
}

std::vector<Piece> expected_pieces(Collective kind, const Shape& shape, int rank, int nranks, int root) {
  const auto r = static_cast<size_t>(rank);
  switch (kind) {
    case Collective::kAllReduce:
      return {{Piece::kReduced, 0, 0, shape.recv_count}};
    case Collective::kReduce:
      if (rank != root) return {};
      return {{Piece::kReduced, 0, 0, shape.recv_count}};
    case Collective::kBroadcast:
      return {{root, 0, 0, shape.recv_count}};
    case Collective::kReduceScatter:
      return {{Piece::kReduced, 0, r * shape.recv_count, shape.recv_count}};
    case Collective::kAllGather:
      return a_block_of_each(shape.send_count, 0, nranks);
    case Collective::kGather:
      if (rank != root) return {};
      return a_block_of_each(shape.send_count, 0, nranks);
    case Collective::kScatter:
      return {{root, 0, r * shape.recv_count, shape.recv_count}};
    case Collective::kAllToAll:
      return a_block_of_each(shape.argument, r * shape.argument, nranks);
    case Collective::kAllToAllV:
      return blocks_of_pairs(shape.argument, rank, nranks);
    case Collective::kExchange:  // from the rank before, in a ring
      return {{(rank + nranks - 1) % nranks, 0, 0, shape.recv_count}};
    default:
      return {};
  }
}

bool has_input(Collective kind, int rank, int root) {
  return gives_from_root(kind) ? rank == root : kind != Collective::kBarrier;
}

InPlace in_place_offsets(Collective kind, const Shape& shape, int rank) {
  const auto r = static_cast<size_t>(rank);
  if (has_output_blocks(kind)) return {r * shape.send_count, 0};
  if (has_input_blocks(kind)) return {0, r * shape.recv_count};
  return {};
}

}  // namespace comity::perf
