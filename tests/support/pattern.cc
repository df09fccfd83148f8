#include "tests/support/pattern.h"

#include <fmt/core.h>

#include <cmath>
#include <cstring>

#include "src/base/hash.h"

namespace comity::test {
namespace {

// Largest n such that all integers 0..n are exact in the type (and small enough for speed of thought).
int64_t exact_integers(DataType type) {
  switch (type) {
    case DataType::kFloat8e5m2:
      return 8;
    case DataType::kFloat8e4m3:
      return 16;
    case DataType::kInt8:
    case DataType::kUint8:
      return 127;  // sums that wrap have no average
    case DataType::kBfloat16:
      return 256;
    case DataType::kFloat16:
      return 2048;
    default:
      return 1 << 20;
  }
}

int64_t sum_part(const Row& row, uint32_t rank, uint64_t index) {
  const int64_t share = exact_integers(row.type) / row.nranks;
  if (share == 0)
    return (rank + index) % row.nranks < static_cast<uint64_t>(exact_integers(row.type)) ? 1 : 0;
  const int64_t cap = share > 100 ? 100 : share;
  return static_cast<int64_t>(mix(index * 131 + rank * 7 + 1) % static_cast<uint64_t>(cap + 1));
}

// Sums to a multiple of nranks: pairs of ranks move one unit between them.
int64_t avg_part(const Row& row, uint32_t rank, uint64_t index) {
  const int64_t share = exact_integers(row.type) / row.nranks;
  const int64_t base =
      share < 2 ? 1
                : 1 + static_cast<int64_t>(mix(index) % static_cast<uint64_t>(share > 90 ? 90 : share - 1));
  const bool paired = (rank ^ 1u) < row.nranks;
  if (!paired || ((mix(index + 17) >> (rank / 2 % 32)) & 1u) == 0) return base;
  return rank % 2 == 0 ? base - 1 : base + 1;
}

uint64_t encode_float(double value, int exponent_bits, int mantissa_bits) {
  const uint64_t sign = std::signbit(value) ? uint64_t{1} << (exponent_bits + mantissa_bits) : 0;
  if (value == 0) return sign;
  int exponent = 0;
  const double fraction = std::frexp(std::fabs(value), &exponent);  // [0.5, 1)
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const auto mantissa = static_cast<uint64_t>(std::ldexp(fraction * 2 - 1, mantissa_bits));
  return sign | static_cast<uint64_t>(exponent - 1 + bias) << mantissa_bits | mantissa;
}

template <typename Value>
void fill(const Row& row, uint64_t count, std::byte* to, Value value) {
  const size_t size = size_of(row.type);
  // Values are small integers: their bits are looked up.
  std::vector<uint64_t> bits(2048);
  for (int64_t v = -1024; v < 1024; ++v) bits[static_cast<size_t>(v + 1024)] = encode(row.type, v);
  for (uint64_t i = 0; i < count; ++i) {
    const int64_t v = value(i);
    const uint64_t word = v >= -1024 && v < 1024 ? bits[static_cast<size_t>(v + 1024)] : encode(row.type, v);
    std::memcpy(to + i * size, &word, size);
  }
}

}  // namespace

std::string describe(const Row& row) {
  return fmt::format("{} {} {} p={} root={} count={} {}", name_of(row.collective), name_of(row.type),
                     name_of(row.op), row.nranks, row.root, row.count,
                     row.in_place ? "in place" : "out of place");
}

uint64_t input_count(const Row& row) {
  if (row.collective == Collective::kBarrier) return 0;
  return row.collective == Collective::kReduceScatter ? row.count * row.nranks : row.count;
}

uint64_t output_count(const Row& row) {
  if (row.collective == Collective::kBarrier) return 0;
  return row.collective == Collective::kAllGather ? row.count * row.nranks : row.count;
}

int64_t contribution(const Row& row, uint32_t rank, uint64_t index) {
  if (!is_reduction(row.collective)) {
    // Plain copies: any bits will do; a byte's worth of integers that are exact in every type.
    return static_cast<int64_t>(mix(index * 3 + rank + 5) % 9);
  }
  switch (row.op) {
    case RedOp::kSum:
      return sum_part(row, rank, index);
    case RedOp::kAvg:
      return avg_part(row, rank, index);
    case RedOp::kProd: {
      const uint64_t kind = mix(index * 5 + rank) % 4;
      // At most eight factors of two, so that fp8 holds the product.
      if (kind == 0 && rank < 8) return 2;
      return kind == 1 && is_signed(row.type) ? -1 : 1;
    }
    default: {
      const auto value = static_cast<int64_t>(mix(index * 11 + rank * 3 + 2) % 9);
      return is_signed(row.type) && mix(index + rank) % 2 == 0 ? -value : value;
    }
  }
}

int64_t expected(const Row& row, uint32_t rank, uint64_t index) {
  switch (row.collective) {
    case Collective::kBroadcast:
      return contribution(row, row.root, index);
    case Collective::kAllGather:
      return contribution(row, static_cast<uint32_t>(index / row.count), index % row.count);
    case Collective::kReduceScatter:
      index += row.count * rank;
      break;
    default:
      break;
  }
  int64_t value = contribution(row, 0, index);
  for (uint32_t r = 1; r < row.nranks; ++r) {
    const int64_t next = contribution(row, r, index);
    if (row.op == RedOp::kProd) value *= next;
    if (row.op == RedOp::kSum || row.op == RedOp::kAvg) value += next;
    if (row.op == RedOp::kMax) value = next > value ? next : value;
    if (row.op == RedOp::kMin) value = next < value ? next : value;
  }
  return row.op == RedOp::kAvg ? value / row.nranks : value;
}

uint64_t encode(DataType type, int64_t value) {
  const auto real = static_cast<double>(value);
  switch (type) {
    case DataType::kFloat8e5m2:
      return encode_float(real, 5, 2);
    case DataType::kFloat8e4m3:
      return encode_float(real, 4, 3);
    case DataType::kFloat16:
      return encode_float(real, 5, 10);
    case DataType::kBfloat16:
      return encode_float(real, 8, 7);
    case DataType::kFloat32:
      return encode_float(real, 8, 23);
    case DataType::kFloat64:
      return encode_float(real, 11, 52);
    default:
      return static_cast<uint64_t>(value);  // two's complement, cut to the type's size
  }
}

void fill_input(const Row& row, uint32_t rank, std::byte* to) {
  fill(row, input_count(row), to, [&](uint64_t i) { return contribution(row, rank, i); });
}

void fill_expected(const Row& row, uint32_t rank, std::byte* to) {
  fill(row, output_count(row), to, [&](uint64_t i) { return expected(row, rank, i); });
}

bool has_output(const Row& row, uint32_t rank) {
  return row.collective != Collective::kBarrier &&
         (row.collective != Collective::kReduce || rank == row.root);
}

}  // namespace comity::test
