// Inputs of 8- and 16-bit floats whose reductions are exact in fp32 and not in their own type, and what
// each result may be: the exact value rounded once, or within the bound that a number of roundings gives.
//
// comity.h's bound: with d roundings on the way of a contribution, of relative size u each (half of the
// distance from 1 to the next number), a sum or average is off by at most ((1 + u)^d - 1) times that of the
// magnitudes, and half of the least positive number for each result that is subnormal. Products are off by
// a factor of (1 + u) for each of the p - 1 folds at most.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "comity/plugin/types.h"

namespace comity::test {

class RoundingCase {
 public:
  // `op`: sum, avg or prod. `ranks`: 2 to 20.
  RoundingCase(DataType type, RedOp op, uint32_t ranks, uint64_t length);

  DataType type() const { return type_; }
  RedOp op() const { return op_; }
  uint32_t ranks() const { return ranks_; }
  uint64_t length() const { return length_; }
  // length() elements of a rank's contribution.
  const std::vector<std::byte>& input(uint32_t rank) const { return inputs_[rank]; }
  // What is wrong with `count` elements at `got` that are the results from element `first` on, if
  // contributions are rounded at most `roundings` times; "" if nothing.
  std::string wrong(const std::byte* got, uint64_t first, uint64_t count, uint32_t roundings) const;
  // How many of the results would differ if they were rounded after each of the contributions in turn:
  // whether this case can tell.
  uint64_t told_apart() const;

 private:
  double contribution(uint32_t rank, uint64_t index) const;
  double bound(uint64_t index, uint32_t roundings) const;

  DataType type_;
  RedOp op_;
  uint32_t ranks_;
  uint64_t length_;
  std::vector<std::vector<std::byte>> inputs_;
  std::vector<double> exact_, magnitude_;
  std::vector<std::byte> once_;  // the exact result, rounded
};

}  // namespace comity::test
