// Blocks of registered memory, each in an arena of its own, and all-reduces on them: what ranks that are
// processes map of each other.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "comity/comity.h"

namespace comity::test {

class RankBlocks {
 public:
  ~RankBlocks() { release(); }
  // Allocates small blocks until they lie in `arenas` arenas.
  bool allocate(size_t arenas);
  // An all-reduce in place on one block of each arena: "right", "wrong", or "failed TEXT".
  std::string sum(comityComm_t comm) const;
  void release();

 private:
  std::vector<void*> all_;
  std::vector<int64_t*> one_each_;
};

// Arenas that are mapped in this process, its own and others'.
size_t mapped_arenas();

}  // namespace comity::test
