// Where the verifier keeps what each chunk of a rank holds: one cell per chunk of every block, scratch slot
// and landing, for each tile in flight. In place, the caller's input and output share cells. Private to this
// folder.
//
// Chunks that every step of every rank treats alike are one column: a plan of 65536 chunks that works on
// halves of the tile has two columns.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "src/plan/plan.h"

namespace comity::plan {

// Columns of chunks: chunk `first` begins column of[first]; a run is the columns [of[first], of[first +
// count]).
struct Columns {
  std::vector<uint32_t> of;     // chunks + 1 entries
  std::vector<uint32_t> chunk;  // first chunk of each column
  uint32_t count() const { return static_cast<uint32_t>(chunk.size()); }
};
// Columns for parts whose bounds were checked; definitions of groups count too.
Columns columns_of(const Shape& shape, std::span<const Part> parts);

// Cells [begin, begin + count) of a rank, and the column of the first.
struct CellRange {
  uint64_t begin = 0;
  uint32_t count = 0;
  uint32_t column = 0;
};

class Layout {
 public:
  // `aliased`: the caller's input and output are related as in place.
  Layout(const Shape& shape, const Columns& columns, const Part& part, bool aliased);

  // Cells of a run that `lane` names, in window slot `slot`.
  CellRange range(const ChunkRun& run, uint32_t lane, uint32_t slot) const;
  uint64_t cells() const { return per_slot_ * window_; }
  // The first cell of a slot; each has per_slot() of them.
  uint64_t slot_begin(uint32_t slot) const { return per_slot_ * slot; }
  uint64_t per_slot() const { return per_slot_; }
  // Of each slot the first user_cells() cells are the caller's buffers: new in every tile.
  uint64_t user_cells() const { return user_; }

 private:
  const Columns& columns_;
  uint32_t window_;
  uint64_t input_ = 0;   // cell of input block 0
  uint64_t output_ = 0;  // of output block 0
  uint64_t user_ = 0;
  uint64_t per_slot_ = 0;
  std::vector<std::vector<uint64_t>> landing_;  // by lane and step; unused for other steps
};

}  // namespace comity::plan
