// Inputs whose reduction is exact in every order, and the outputs that they must give: for bit-for-bit
// comparison.
//
// Every element is a small integer that depends on rank, index, type, operation and number of ranks; all
// partial results are representable in the type, so tolerance is zero. The encoder is independent of the
// library's kernels.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "comity/plugin/types.h"

namespace comity::test {

struct Row {
  Collective collective = Collective::kAllReduce;
  DataType type = DataType::kFloat32;
  RedOp op = RedOp::kSum;
  uint32_t nranks = 1;
  uint32_t root = 0;
  uint64_t count = 0;  // as the C API counts
  bool in_place = false;
};

std::string describe(const Row& row);

// Elements of a rank's input and output buffer for a row.
uint64_t input_count(const Row& row);
uint64_t output_count(const Row& row);

// The integer that rank `rank` contributes at element `index` of its input.
int64_t contribution(const Row& row, uint32_t rank, uint64_t index);
// The integer that the result has at element `index` of `rank`'s output.
int64_t expected(const Row& row, uint32_t rank, uint64_t index);
// Bits of a small integer in a type.
uint64_t encode(DataType type, int64_t value);

// Fills `rank`'s input / what its output must be. The spans are of element size x count bytes.
void fill_input(const Row& row, uint32_t rank, std::byte* to);
void fill_expected(const Row& row, uint32_t rank, std::byte* to);
// Whether `rank` has a defined output (all but reduce's non-roots).
bool has_output(const Row& row, uint32_t rank);

}  // namespace comity::test
