#include "tests/support/rounding.h"

#include <fmt/core.h>

#include <cmath>
#include <cstring>

#include "src/base/hash.h"
#include "tests/support/reduce_reference.h"

namespace comity::test {
namespace {

// Contributions are multiples of `quantum`, of at most `digits` significant bits, times 2^0 to 2^spread:
// sums of 20 of them are exact in fp32 and do not overflow the type.
struct Grid {
  double quantum;
  int most;  // below 2^digits
  int spread;
  int mantissa_bits;
};

Grid grid_of(DataType type) {
  switch (type) {
    case DataType::kFloat16:
      return {1, 200, 4, 10};
    case DataType::kBfloat16:
      return {1, 127, 8, 7};
    case DataType::kFloat8e4m3:
      return {0.125, 11, 4, 3};
    default:
      return {1, 7, 8, 2};
  }
}

const NarrowRounding& rounding_of(DataType type) {
  static const NarrowRounding roundings[] = {
      NarrowRounding(kNarrowFloats[0]), NarrowRounding(kNarrowFloats[1]), NarrowRounding(kNarrowFloats[2]),
      NarrowRounding(kNarrowFloats[3])};
  size_t at = 0;
  while (kNarrowFloats[at] != type) ++at;
  return roundings[at];
}

uint64_t rounded(DataType type, double value) {
  return rounding_of(type).round(static_cast<float>(value));
}

}  // namespace

RoundingCase::RoundingCase(DataType type, RedOp op, uint32_t ranks, uint64_t length)
    : type_(type), op_(op), ranks_(ranks), length_(length) {
  const size_t size = size_of(type);
  inputs_.assign(ranks, std::vector<std::byte>(length * size));
  exact_.assign(length, op == RedOp::kProd ? 1.0 : 0.0);
  magnitude_.assign(length, 0.0);
  once_.resize(length * size);
  for (uint64_t i = 0; i < length; ++i) {
    for (uint32_t rank = 0; rank < ranks; ++rank) {
      const double value = contribution(rank, i);
      set_element(inputs_[rank].data(), type, i, rounded(type, value));
      exact_[i] = op == RedOp::kProd ? exact_[i] * value : exact_[i] + value;
      magnitude_[i] += std::fabs(value);
    }
    if (op == RedOp::kAvg) {
      exact_[i] = static_cast<float>(exact_[i]) / static_cast<float>(ranks);
      magnitude_[i] /= ranks;
    }
    set_element(once_.data(), type, i, rounded(type, exact_[i]));
  }
}

double RoundingCase::contribution(uint32_t rank, uint64_t index) const {
  const uint64_t random = mix(index * 64 + rank, 17);
  const double sign = index % 3 == 0 && (random & 1) != 0 ? -1 : 1;
  if (op_ == RedOp::kProd) {  // at most 12 factors of 3, so that fp32 holds the product
    if (rank >= 12) return sign;
    return sign * (rank % 2 == 0 ? 1.5 : 0.75);
  }
  const Grid grid = grid_of(type_);
  const int most = type_ == DataType::kFloat8e4m3 && op_ == RedOp::kSum ? 2 : grid.spread;
  const auto whole = static_cast<double>(1 + (random >> 8) % static_cast<uint64_t>(grid.most));
  return sign *
         std::ldexp(grid.quantum * whole, static_cast<int>((random >> 40) % static_cast<uint64_t>(most + 1)));
}

double RoundingCase::bound(uint64_t index, uint32_t roundings) const {
  const Grid grid = grid_of(type_);
  const double unit = std::ldexp(1, -grid.mantissa_bits - 1);
  constexpr double kFp32 = 1e-6;  // divisions and sums of quotients in fp32
  const double least = value_of(type_, 1);
  if (op_ == RedOp::kProd) return (std::pow(1 + unit, ranks_ - 1) - 1) * std::fabs(exact_[index]);
  return (std::pow(1 + unit, roundings) * (1 + kFp32) - 1) * magnitude_[index] + ranks_ * least / 2;
}

std::string RoundingCase::wrong(const std::byte* got, uint64_t first, uint64_t count,
                                uint32_t roundings) const {
  const size_t size = size_of(type_);
  if (std::memcmp(got, once_.data() + first * size, count * size) == 0) return "";
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t bits = element(got, type_, i), once = element(once_.data(), type_, first + i);
    if (bits == once) continue;
    const double value = value_of(type_, bits);
    const double off = std::fabs(value - exact_[first + i]);
    if (roundings > 1 && off <= bound(first + i, roundings)) continue;
    return fmt::format(
        "{} {} of {} ranks, element {}: {} (0x{:x}) for {}, rounded once {} (0x{:x}); {} roundings allow {}",
        name_of(type_), name_of(op_), ranks_, first + i, value, bits, exact_[first + i],
        value_of(type_, once), once, roundings, roundings > 1 ? bound(first + i, roundings) : 0.0);
  }
  return "";
}

uint64_t RoundingCase::told_apart() const {
  uint64_t different = 0;
  for (uint64_t i = 0; i < length_; ++i) {
    double value = contribution(0, i) / (op_ == RedOp::kAvg ? ranks_ : 1);
    for (uint32_t rank = 1; rank < ranks_; ++rank) {
      const double next = contribution(rank, i) / (op_ == RedOp::kAvg ? ranks_ : 1);
      value = value_of(type_, rounded(type_, op_ == RedOp::kProd ? value * next : value + next));
    }
    different += rounded(type_, value) != element(once_.data(), type_, i);
  }
  return different;
}

}  // namespace comity::test
