// Scatter, direct: the root sends everyone its block.
//
//   P ranks, blocks of N bytes. Steps: 1. Bytes sent by the root: (P - 1) N, the least possible.
//
//   0 (root): a b c ---> 1, 2      0: a
//   1:                             1: b
//   2:                             2: c
//
// The linear scatter of MPICH and Open MPI for long blocks: R. Thakur, R. Rabenseifner, W. Gropp,
// "Optimization of collective communication operations in MPICH", IJHPCA 2005.
#include "algorithms/catalogue.h"
#include "algorithms/cost.h"
#include "algorithms/members.h"
#include "algorithms/tiling.h"

namespace comity::algorithms {
namespace {

Shape shape(const Request& request) {
  Shape shape = make_shape("direct", Collective::kScatter, request, 1);
  set_tiles(shape, request.block_bytes, {.messages = 1, .footprint = 0, .window = 2});
  shape.any_lengths = true;
  return shape;
}

Part part(const Request&, const Shape& shape, uint32_t rank) {
  Part part = empty_part(rank, 1);
  Steps steps(part.lanes[0].steps);
  if (rank != shape.root) {
    steps.recv(shape.root, output(0, 0, 1));
    return part;
  }
  add_scatter_at_root(steps, everyone(shape.nranks, rank), whole_blocks(Space::kInput, shape.nranks),
                      output(0, 0, 1));
  return part;
}

uint64_t cost_ns(const Request& request) {
  const Figures figures(request);
  return narrow_ns(figures.gather_ns(figures.bytes));
}

}  // namespace

constinit const Algorithm kScatterDirect = {
    .name = "direct",
    .collective = Collective::kScatter,
    .summary = "1 step, (P-1) N bytes from the root",
    .applies = applies_everywhere,
    .shape = shape,
    .part = part,
    .cost_ns = cost_ns,
};

}  // namespace comity::algorithms
