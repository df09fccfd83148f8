// Blocks of different lengths: what a Plan says so that every step's length is known on both sides.
//
// An *extent* is the number of a block that has a length of its own:
//
//   all_gather, gather        r            rank r's input, which is block r of the output
//   reduce_scatter, scatter   r            block r of the input, which is rank r's output
//   all_to_all, on rank s     r            block r of its input: what s sends to r
//                             nranks + r   block r of its output: what s gets from r
//
// A step has one extent. A run in one of the caller's blocks has that block's, and so have all the step's
// other runs; a step that touches only scratch and what was received states it (Step::extent). Each piece of
// a group step has that of its own block, and lies in one. Tile t of a step is the piece [t * tile_bytes, (t
// + 1) * tile_bytes) of its extent, cut into chunks as in plan.h: behind the extent's end it is empty, and an
// empty step is complete as it issues. So a rank carries out as many tiles as the longest extent has that it
// is given.
//
// Every rank is given all lengths of all_gather and reduce_scatter: what is empty is not sent. Of gather and
// scatter only the root is given all, and the others their own; of all_to_all each rank those of its own
// blocks: there the two ends of a message may have been told different lengths. So each message of tile 0 is
// sent even if it is empty, with the length of its whole extent, which the receiver compares to its own.
//
// A Plan with Shape::any_lengths keeps these rules, and its algorithm never depends on lengths that not every
// rank is given. check_part() refuses steps without an extent, and with one whose length this rank is not
// given; verify() those that take a value for another block's, and messages whose ends differ. Pure; nothing
// here fails.
#pragma once

#include <cstdint>
#include <optional>

#include "src/plan/plan.h"

namespace comity::plan {

// How many there are: nranks, twice that for all_to_all, 0 for collectives whose blocks cannot differ.
uint32_t extents(const Shape& shape);
// Whether every rank is given every length.
bool all_lengths_are_given(Collective collective);
// Whether `rank` is given the length of an extent (below extents()).
bool is_given(const Shape& shape, uint32_t rank, uint32_t extent);
// Of a run in one of the caller's blocks on `rank`; nothing for scratch and what was received.
std::optional<uint32_t> extent_of(const Shape& shape, uint32_t rank, const ChunkRun& run);
// Of a step that is no group: implied by its runs, or stated. Nothing if neither.
std::optional<uint32_t> extent_of(const Shape& shape, uint32_t rank, const Step& step);
// The block itself, the same number on whichever rank an extent names it.
uint64_t block_of_extent(const Shape& shape, uint32_t rank, uint32_t extent);
// That of block `block` of rank `owner`'s input.
uint64_t block_of_input(const Shape& shape, uint32_t owner, uint32_t block);

}  // namespace comity::plan
