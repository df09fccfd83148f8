#include "perf/core/collective.h"

namespace comity::perf {

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
    case Collective::kAllGather: {
      std::vector<Piece> pieces;
      for (int from = 0; from < nranks; ++from) {
        pieces.push_back({from, static_cast<size_t>(from) * shape.send_count, 0, shape.send_count});
      }
      return pieces;
    }
    case Collective::kBarrier:
      return {};
  }
  return {};
}

bool has_input(Collective kind, int rank, int root) {
  return kind == Collective::kBroadcast ? rank == root : kind != Collective::kBarrier;
}

InPlace in_place_offsets(Collective kind, const Shape& shape, int rank) {
  const auto r = static_cast<size_t>(rank);
  if (kind == Collective::kAllGather) return {r * shape.send_count, 0};
  if (kind == Collective::kReduceScatter) return {0, r * shape.recv_count};
  return {};
}

}  // namespace comity::perf
