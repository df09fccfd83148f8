// Reductions whose bits show in which order they were folded, and the bits that the balanced tree over ranks
// gives: computed element by element, by an account of its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "comity/comity.h"
#include "comity/plugin/types.h"

namespace comity::test {

// One type and operation: `elements` per rank of random numbers of mixed signs and sizes, near which sums
// cancel.
struct BalancedCase {
  BalancedCase(DataType type, RedOp op, uint32_t nranks, uint64_t elements);
  DataType type;
  RedOp op;
  uint64_t elements;
  std::vector<std::vector<std::byte>> inputs;  // by rank
  std::vector<std::byte> wanted;
  // Elements of which a fold from the left, rank after rank, gives other bits.
  uint64_t differing = 0;
};

// All types by sum, product and average, and two that are several tiles long.
std::vector<BalancedCase> balanced_cases(uint32_t nranks);

// All three reductions of these through the C API, whole and of a short part. "" if every result of this rank
// is the wanted one bit for bit, else the first that is not.
std::string run_balanced_rows(comityComm_t comm, uint32_t rank, const std::vector<BalancedCase>& cases);

}  // namespace comity::test
