#include "tests/support/pattern.h"

#include <fmt/core.h>

#include <algorithm>
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

// A part of a sum that kPreMulSum's product gives back, or gives less of.
int64_t scaled_part(const Row& row, uint32_t rank, uint64_t index) {
  const int64_t part = sum_part(row, rank, index);
  const double scalar = scalar_of(row, rank);
  return static_cast<int64_t>(static_cast<double>(part) / scalar);
}

// Elements from one block's first to the next one's.
uint64_t stride_of(const Row& row) {
  return is_varying(row.collective) ? uint64_t{1} << 32 : row.count;
}

// What goes from one rank to another in a v-variant.
uint64_t length_between(const Row& row, uint32_t from, uint32_t to) {
  uint64_t key = has_input_blocks(row.collective) ? to : from;
  if (row.collective == Collective::kAllToAllV) key = from * uint64_t{1021} + to;
  const uint64_t random = mix(key * 37 + row.count + static_cast<uint64_t>(row.type));
  if (row.lengths == Lengths::kEqual) return row.count;
  if (row.lengths == Lengths::kZeros) return random % 2 == 0 ? 0 : row.count;
  switch (random % 8) {
    case 0:
      return 4 * row.count;
    case 1:
      return row.count;
    case 2:
      return 0;
    case 3:
      return 1;
    default:
      return row.count * (random / 8 % 16) / 256;
  }
}

std::vector<Run> block_runs(const Row& row, uint32_t rank, bool input) {
  std::vector<Run> runs(row.nranks);
  uint64_t next = 0;
  const bool backwards = row.gaps && rank % 2 == 1;
  for (uint32_t i = 0; i < row.nranks; ++i) {
    const uint32_t block = backwards ? row.nranks - 1 - i : i;
    if (row.gaps) next += mix(rank * uint64_t{64} + block) % 6;
    const uint64_t count = input ? length_between(row, rank, block) : length_between(row, block, rank);
    runs[block] = {next, block * stride_of(row), count};
    next += count;
  }
  return runs;
}

// Where an element of a buffer comes from, and the `left` ones from it on: element `index` of what one rank
// gives, or of all ranks' reduction.
constexpr uint32_t kAll = ~0u;
struct Origin {
  uint32_t rank;
  uint64_t index;
  uint64_t left;
};
constexpr uint64_t kEndless = ~uint64_t{0};

Origin origin_of(const Row& row, uint32_t rank, uint64_t index) {
  const uint64_t stride = stride_of(row);
  switch (planned_as(row.collective)) {
    case Collective::kBroadcast:
      return {row.root, index, kEndless};
    case Collective::kAllGather:
    case Collective::kGather:
      return {static_cast<uint32_t>(index / stride), index % stride, stride - index % stride};
    case Collective::kScatter:
      return {row.root, stride * rank + index, kEndless};
    case Collective::kAllToAll:
      return {static_cast<uint32_t>(index / stride), stride * rank + index % stride, stride - index % stride};
    case Collective::kExchange:  // a ring
      return {(rank + row.nranks - 1) % row.nranks, index, kEndless};
    case Collective::kReduceScatter:
      return {kAll, stride * rank + index, kEndless};
    default:
      return {kAll, index, kEndless};
  }
}

int64_t reduced(const Row& row, uint64_t index) {
  const auto part = [&](uint32_t r) {
    const int64_t given = contribution(row, r, index);
    return row.op == kPreMulSum ? static_cast<int64_t>(static_cast<double>(given) * scalar_of(row, r))
                                : given;
  };
  int64_t value = part(0);
  for (uint32_t r = 1; r < row.nranks; ++r) {
    const int64_t next = part(r);
    if (row.op == RedOp::kProd) value *= next;
    if (row.op == RedOp::kSum || row.op == RedOp::kAvg || row.op == kPreMulSum) value += next;
    if (row.op == RedOp::kMax) value = next > value ? next : value;
    if (row.op == RedOp::kMin) value = next < value ? next : value;
  }
  return row.op == RedOp::kAvg ? value / row.nranks : value;
}

int64_t value_at(const Row& row, const Origin& origin) {
  return origin.rank == kAll ? reduced(row, origin.index) : contribution(row, origin.rank, origin.index);
}

// One period is made element by element, and copied.
void fill_from(const Row& row, Origin origin, uint64_t count, std::byte* to) {
  const size_t size = size_of(row.type);
  const uint64_t made = std::min(count, kPatternPeriod);
  for (uint64_t i = 0; i < made; ++i, ++origin.index) {
    const uint64_t word = encode(row.type, static_cast<double>(value_at(row, origin)));
    std::memcpy(to + i * size, &word, size);
  }
  for (uint64_t i = made; i < count; i += kPatternPeriod)
    std::memcpy(to + i * size, to, std::min(kPatternPeriod, count - i) * size);
}

}  // namespace

std::string describe(const Row& row) {
  constexpr const char* kLengths[] = {"equal", "zeros", "wild"};
  std::string text = fmt::format("{} {} {} p={} root={} count={} {}", name_of(row.collective),
                                 name_of(row.type), row.op == kPreMulSum ? "premulsum" : name_of(row.op),
                                 row.nranks, row.root, row.count, row.in_place ? "in place" : "out of place");
  if (is_varying(row.collective)) {
    text += fmt::format(" {} lengths {}", kLengths[static_cast<int>(row.lengths)],
                        row.gaps ? "with gaps" : "packed");
  }
  return text;
}

uint64_t input_count(const Row& row) {
  if (row.collective == Collective::kBarrier) return 0;
  return has_input_blocks(row.collective) ? row.count * row.nranks : row.count;
}

uint64_t output_count(const Row& row) {
  if (row.collective == Collective::kBarrier) return 0;
  return has_output_blocks(row.collective) ? row.count * row.nranks : row.count;
}

std::vector<Run> input_runs(const Row& row, uint32_t rank) {
  if (!is_varying(row.collective)) return {{0, 0, input_count(row)}};
  if (has_input_blocks(row.collective)) return block_runs(row, rank, true);
  return {{0, 0, length_between(row, rank, rank)}};
}

std::vector<Run> output_runs(const Row& row, uint32_t rank) {
  if (!is_varying(row.collective)) return {{0, 0, output_count(row)}};
  if (has_output_blocks(row.collective)) return block_runs(row, rank, false);
  return {{0, 0, length_between(row, rank, rank)}};
}

uint64_t extent_of(const std::vector<Run>& runs) {
  uint64_t extent = 0;
  for (const Run& run : runs) extent = std::max(extent, run.offset + run.count);
  return extent;
}

int64_t contribution(const Row& row, uint32_t rank, uint64_t index) {
  index %= kPatternPeriod;
  if (!is_reduction(row.collective)) {
    // Plain copies: any bits will do; a byte's worth of integers that are exact in every type.
    return static_cast<int64_t>(mix(index * 3 + rank + 5) % 9);
  }
  if (row.op == kPreMulSum) return scaled_part(row, rank, index);
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
  return value_at(row, origin_of(row, rank, index));
}

double scalar_of(const Row& row, uint32_t rank) {
  if (rank % 3 == 0) return is_floating(row.type) ? 0.5 : 2;
  if (rank % 3 == 1) return is_signed(row.type) ? -1 : 3;
  return 1;
}

uint64_t encode(DataType type, double value) {
  switch (type) {
    case DataType::kFloat8e5m2:
      return encode_float(value, 5, 2);
    case DataType::kFloat8e4m3:
      return encode_float(value, 4, 3);
    case DataType::kFloat16:
      return encode_float(value, 5, 10);
    case DataType::kBfloat16:
      return encode_float(value, 8, 7);
    case DataType::kFloat32:
      return encode_float(value, 8, 23);
    case DataType::kFloat64:
      return encode_float(value, 11, 52);
    default:
      return static_cast<uint64_t>(static_cast<int64_t>(value));  // two's complement, cut to the type's size
  }
}

void fill_input(const Row& row, uint32_t rank, std::byte* to) {
  const size_t size = size_of(row.type);
  for (const Run& run : input_runs(row, rank))
    fill_from(row, {rank, run.index, kEndless}, run.count, to + run.offset * size);
}

void fill_expected(const Row& row, uint32_t rank, std::byte* to) {
  const size_t size = size_of(row.type);
  for (const Run& run : output_runs(row, rank)) {
    for (uint64_t done = 0; done < run.count;) {
      const Origin origin = origin_of(row, rank, run.index + done);
      const uint64_t count = std::min(run.count - done, origin.left);
      fill_from(row, origin, count, to + (run.offset + done) * size);
      done += count;
    }
  }
}

bool has_output(const Row& row, uint32_t rank) {
  return row.collective != Collective::kBarrier && (!takes_to_root(row.collective) || rank == row.root);
}

}  // namespace comity::test
