// What the verifier knows of a chunk's content: whose contributions it holds, and how they were folded.
// Private to this folder.
//
// A value is made once and named by a number; copies and messages pass the number on. Number 0 is undefined
// content.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace comity::plan {

using ValueId = uint32_t;
inline constexpr ValueId kUndefined = 0;

struct Value {
  uint64_t expression = 0;  // hash of the fold: equal where the bits are equal whatever the data
  uint32_t tile = 0;
  uint32_t block = 0;  // of the contributors' input
  uint32_t rank = 0;   // who made it, in which lane and step: for messages
  uint32_t lane = 0;
  uint32_t step = 0;
  bool undefined = false;        // a part of it is undefined
  bool duplicate = false;        // a contribution is in it twice
  bool mixed = false;            // it holds different blocks or tiles
  bool divided = false;          // it passed a `last` reduction
  bool wrongly_divided = false;  // that reduction did not complete it, or was not the only one
};

// Who makes a value.
struct Maker {
  uint32_t rank = 0, lane = 0, step = 0;
};

class ValueTable {
 public:
  explicit ValueTable(uint32_t ranks);

  // Rank's own contribution of one block's chunk in a tile.
  ValueId leaf(uint32_t rank, uint32_t block, uint32_t chunk, uint32_t tile);
  // The fold of the sources from the left. One source that is not `last` stays itself.
  ValueId fold(std::span<const ValueId> sources, bool last, const Maker& maker);

  const Value& operator[](ValueId id) const { return values_[id]; }
  bool has(ValueId id, uint32_t rank) const { return (words(id)[rank / 64] >> (rank % 64) & 1) != 0; }
  // What `expression` is of the balanced tree over all ranks, the last fold `last`.
  uint64_t balanced_expression(uint32_t block, uint32_t chunk) const;
  // Every rank's contribution is there.
  bool complete(ValueId id) const { return count(id) == ranks_; }
  uint32_t count(ValueId id) const;
  // The lowest rank that is missing; ranks if none is.
  uint32_t first_missing(ValueId id) const;
  // "the contributions of ranks 0, 1 and 3 to block 2", for messages.
  std::string describe(ValueId id) const;
  uint32_t ranks() const { return ranks_; }

 private:
  ValueId add(const Value& value);
  uint64_t* words(ValueId id) { return bits_.data() + size_t{id} * words_; }
  const uint64_t* words(ValueId id) const { return bits_.data() + size_t{id} * words_; }

  uint32_t ranks_;
  uint32_t words_;
  std::vector<Value> values_;
  std::vector<uint64_t> bits_;  // words_ per value
};

}  // namespace comity::plan
