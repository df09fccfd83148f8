// Inputs whose reduction has one right answer, bit for bit, in whatever order it is computed.
//
// Element i of rank r is value(r, position(i, shift)), where position runs through 0 .. 1020 with a skip at
// each turn, so that a result that lies one period off is wrong too. `shift` makes the inputs of one call
// differ from those of the call before: a result left over from then is wrong.
//
//   sum       integers: any bits, sums wrap. Floating: small integers, at most so many ranks different from
//             zero that every partial sum is an exact integer.
//   prod      integers: any odd numbers (a product of evens soon is zero). Floating: 1/2, 1 and 2 with either
//             sign, at most six of them not 1, so that no partial product leaves the range of 8 bits.
//   min, max  integers: any bits. Floating: exact integers of either sign.
//   avg       q(i) on every rank, plus d(i) on one and minus d(i) on another: the sum is nranks * q(i).
//   none      any bits: they are copied.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "comity/plugin/types.h"

namespace comity::perf {

inline constexpr size_t kPeriod = 1021;  // a prime: no power of two in a layout hides behind it

// Where in the period element `index` of a buffer is taken from.
constexpr size_t position_of(size_t index, size_t shift) {
  return (index % kPeriod + 7 * (index / kPeriod % kPeriod) + 13 * (shift % kPeriod)) % kPeriod;
}

// What a pattern is for. `op` is empty where data is copied only.
struct PatternKey {
  DataType type = DataType::kFloat32;
  std::optional<RedOp> op;
  int nranks = 1;
};

// One period of elements, ready to be laid out and compared. Immutable; any thread.
class Pattern {
 public:
  // What rank `rank` contributes.
  static Pattern input(const PatternKey& key, int rank);
  // What the reduction over all ranks yields. `key.op` must be set.
  static Pattern reduced(const PatternKey& key);

  // The bits of the element at `position` < kPeriod.
  uint64_t bits_at(size_t position) const;
  // Writes elements first .. first + count - 1 to `out`.
  void fill(std::byte* out, size_t first, size_t count, size_t shift) const;
  // How many of the elements at `actual` differ from those, in any bit.
  uint64_t count_wrong(const std::byte* actual, size_t first, size_t count, size_t shift) const;

 private:
  Pattern(DataType type, const std::vector<uint64_t>& bits);
  // Calls visit(offset in the buffer, bytes of the pattern, length) for each piece that is contiguous in
  // both.
  template <typename Visit>
  void for_each_run(size_t first, size_t count, size_t shift, Visit visit) const;

  size_t element_bytes_;
  std::vector<std::byte> twice_;  // two periods, so that any start has a whole one before it
};

}  // namespace comity::perf
