// Inputs whose reduction is exact in every order, and the outputs that they must give: for bit-for-bit
// comparison.
//
// Every element is a small integer that depends on rank, index, type, operation and number of ranks; all
// partial results are representable in the type, so tolerance is zero. The encoder is independent of the
// library's kernels. What a rank gives repeats after a prime number of elements, so that bytes which end in
// another place than theirs, by a segment, a block or a power of two, still show.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "comity/plugin/types.h"

namespace comity::test {

// An operation of the communicator's own in which every rank has another scalar: scalar_of().
inline constexpr RedOp kPreMulSum = static_cast<RedOp>(kRedOpCount);

inline constexpr uint64_t kPatternPeriod = 1021;

// How long the blocks of a v-variant are: the row's count each; that or 0; from 0 to four times as much.
enum class Lengths : uint8_t { kEqual, kZeros, kWild };
inline constexpr int kLengthsCount = 3;

struct Row {
  Collective collective = Collective::kAllReduce;
  DataType type = DataType::kFloat32;
  RedOp op = RedOp::kSum;  // or kPreMulSum
  uint32_t nranks = 1;
  uint32_t root = 0;
  uint64_t count = 0;  // as the C API counts
  bool in_place = false;
  Lengths lengths = Lengths::kEqual;
  bool gaps = false;  // displacements of a rank's own, with gaps; else NULL

  bool operator==(const Row&) const = default;
};

std::string describe(const Row& row);

// Elements of a rank's input and output buffer for a row without lengths of its own.
uint64_t input_count(const Row& row);
uint64_t output_count(const Row& row);

// Elements that lie together in a buffer, `offset` from its start; the first is element `index` of the row.
struct Run {
  uint64_t offset, index, count;
};
// What a rank's buffers hold: block by block for a v-variant's blocks, else in one run.
std::vector<Run> input_runs(const Row& row, uint32_t rank);
std::vector<Run> output_runs(const Row& row, uint32_t rank);
// Elements from a buffer's start to the end of its last run.
uint64_t extent_of(const std::vector<Run>& runs);

// The integer that rank `rank` contributes at element `index` of its input.
int64_t contribution(const Row& row, uint32_t rank, uint64_t index);
// The integer that the result has at element `index` of `rank`'s output.
int64_t expected(const Row& row, uint32_t rank, uint64_t index);
// What `rank` multiplies by in kPreMulSum: a half, an integer or -1, as the type has it.
double scalar_of(const Row& row, uint32_t rank);
// Bits of a small integer, or of a half if the type has one, in a type.
uint64_t encode(DataType type, double value);

// Fills `rank`'s input / what its output must be, from the buffer's start; gaps are left as they are.
void fill_input(const Row& row, uint32_t rank, std::byte* to);
void fill_expected(const Row& row, uint32_t rank, std::byte* to);
// Whether `rank` has a defined output (all but reduce's non-roots).
bool has_output(const Row& row, uint32_t rank);

}  // namespace comity::test
