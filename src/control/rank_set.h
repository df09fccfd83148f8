// A set of ranks as ranges: those of a subtree, of the dead, of those who agreed. Small, since a subtree is
// one range per level of the tree.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "src/base/bytes.h"

namespace comity::control {

class RankSet {
 public:
  RankSet() = default;
  // [first, first + count)
  RankSet(uint32_t first, uint32_t count) { add(first, count); }
  // True if that changed the set.
  bool add(uint32_t rank) { return add(rank, 1); }
  bool add(uint32_t first, uint32_t count);
  bool add(const RankSet& other);
  void remove(uint32_t rank);
  void clear() { ranges_.clear(); }
  bool empty() const { return ranges_.empty(); }
  bool contains(uint32_t rank) const;
  uint64_t size() const;
  // The lowest; of a set that is not empty.
  uint32_t first() const { return ranges_.begin()->first; }
  // The lowest rank >= `from` that is not in the set.
  uint32_t next_absent(uint32_t from) const;
  RankSet without(const RankSet& other) const;
  bool operator==(const RankSet&) const = default;

  // "2, 5-7"; at most 16 ranges, then "and 34 more".
  std::string text() const;
  void encode(ByteWriter& writer) const;
  // Ranges ascending, apart, below `limit`; else nothing.
  static std::optional<RankSet> decode(ByteReader& reader, uint32_t limit);

 private:
  std::map<uint32_t, uint32_t> ranges_;  // first to last, both in; no two touch
};

}  // namespace comity::control
