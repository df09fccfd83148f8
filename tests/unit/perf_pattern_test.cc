// The inputs of the perf programs: one right answer in every order, and a checker that sees what is not it.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "perf/core/element.h"
#include "perf/core/pattern.h"

namespace comity::perf {
namespace {

constexpr DataType kTypes[] = {DataType::kInt8,     DataType::kUint8,      DataType::kInt32,
                               DataType::kUint32,   DataType::kInt64,      DataType::kUint64,
                               DataType::kFloat16,  DataType::kFloat32,    DataType::kFloat64,
                               DataType::kBfloat16, DataType::kFloat8e4m3, DataType::kFloat8e5m2};
constexpr RedOp kOps[] = {RedOp::kSum, RedOp::kProd, RedOp::kMax, RedOp::kMin, RedOp::kAvg};
constexpr int kRankCounts[] = {1, 2, 3, 4, 7, 8, 16, 17, 33, 300};

int mantissa_bits(DataType type) {
  switch (type) {
    case DataType::kFloat16:
      return 10;
    case DataType::kFloat32:
      return 23;
    case DataType::kFloat64:
      return 52;
    case DataType::kBfloat16:
      return 7;
    case DataType::kFloat8e4m3:
      return 3;
    default:
      return 2;
  }
}

// The number behind bits of a floating type; normal numbers and zero only.
double decode(DataType type, uint64_t bits) {
  const int mantissa = mantissa_bits(type);
  const int exponent_bits = static_cast<int>(8 * size_of(type)) - 1 - mantissa;
  const uint64_t exponent = bits >> mantissa & ((uint64_t{1} << exponent_bits) - 1);
  const uint64_t fraction = bits & ((uint64_t{1} << mantissa) - 1);
  const double sign = (bits >> (mantissa + exponent_bits) & 1) != 0 ? -1 : 1;
  if (exponent == 0) return sign * 0.0;
  const int bias = (1 << (exponent_bits - 1)) - 1;
  return sign * std::ldexp(1 + std::ldexp(static_cast<double>(fraction), -mantissa),
                           static_cast<int>(exponent) - bias);
}

double combined(RedOp op, double a, double b) {
  if (op == RedOp::kProd) return a * b;
  if (op == RedOp::kMin) return std::min(a, b);
  if (op == RedOp::kMax) return std::max(a, b);
  return a + b;
}

// Reduces in the order given, storing each partial result in `type`; encode_floating ends the process if one
// does not fit exactly.
uint64_t reduce_in_order(DataType type, RedOp op, const std::vector<Pattern>& inputs,
                         const std::vector<int>& order, size_t position) {
  double result = decode(type, inputs[static_cast<size_t>(order[0])].bits_at(position));
  for (size_t i = 1; i < order.size(); ++i) {
    const double next = decode(type, inputs[static_cast<size_t>(order[i])].bits_at(position));
    result = decode(type, encode_floating(type, combined(op, result, next)));
  }
  if (op == RedOp::kAvg) result /= static_cast<double>(order.size());
  return encode_floating(type, result);
}

std::vector<Pattern> inputs_of(const PatternKey& key) {
  std::vector<Pattern> inputs;
  for (int rank = 0; rank < key.nranks; ++rank) inputs.push_back(Pattern::input(key, rank));
  return inputs;
}

TEST(PerfPattern, EveryOrderOfAFloatingReductionGivesTheExpectedBits) {
  std::mt19937 random(7);
  for (const DataType type : kTypes) {
    if (!is_floating(type)) continue;
    for (const RedOp op : kOps) {
      for (const int nranks : kRankCounts) {
        const PatternKey key{type, op, nranks};
        const std::vector<Pattern> inputs = inputs_of(key);
        const Pattern expected = Pattern::reduced(key);
        std::vector<int> order(static_cast<size_t>(nranks));
        for (int rank = 0; rank < nranks; ++rank) order[static_cast<size_t>(rank)] = rank;
        for (size_t position = 0; position < kPeriod; position += 13) {
          std::shuffle(order.begin(), order.end(), random);
          ASSERT_EQ(reduce_in_order(type, op, inputs, order, position), expected.bits_at(position))
              << column_name(type) << " " << name_of(op) << ", " << nranks << " ranks, position " << position;
        }
      }
    }
  }
}

TEST(PerfPattern, IntegerReductionsWrapTruncateAndCompareAsTheTypeDoes) {
  const auto reduced_int8 = [](RedOp op, size_t position) {
    const PatternKey key{DataType::kInt8, op, 3};
    const std::vector<Pattern> inputs = inputs_of(key);
    const auto value = [&](size_t rank) { return int{static_cast<int8_t>(inputs[rank].bits_at(position))}; };
    const int a = value(0), b = value(1), c = value(2);
    if (op == RedOp::kSum) return static_cast<int8_t>(a + b + c);
    if (op == RedOp::kProd) return static_cast<int8_t>(a * b * c);
    if (op == RedOp::kMin) return static_cast<int8_t>(std::min({a, b, c}));
    if (op == RedOp::kMax) return static_cast<int8_t>(std::max({a, b, c}));
    EXPECT_EQ((a + b + c) % 3, 0);
    return static_cast<int8_t>((a + b + c) / 3);
  };
  for (const RedOp op : kOps) {
    const Pattern expected = Pattern::reduced({DataType::kInt8, op, 3});
    for (size_t position = 0; position < kPeriod; ++position) {
      ASSERT_EQ(static_cast<int8_t>(expected.bits_at(position)), reduced_int8(op, position)) << name_of(op);
    }
  }
}

TEST(PerfPattern, InputsDifferPerRankAndPerElement) {
  for (const DataType type : kTypes) {
    for (const RedOp op : kOps) {
      const PatternKey key{type, op, 4};
      const std::vector<Pattern> inputs = inputs_of(key);
      std::set<uint64_t> values;
      size_t equal = 0;
      for (size_t position = 0; position < kPeriod; ++position) {
        values.insert(inputs[0].bits_at(position));
        equal += inputs[0].bits_at(position) == inputs[1].bits_at(position) ? 1 : 0;
      }
      // e5m2 holds so few integers exactly that avg over four ranks leaves it two.
      EXPECT_GE(values.size(), 2u) << column_name(type) << " " << name_of(op);
      EXPECT_LT(equal, kPeriod) << column_name(type) << " " << name_of(op);
    }
  }
}

TEST(PerfPattern, EncodingsAreThoseOfTheFormats) {
  EXPECT_EQ(encode_floating(DataType::kFloat32, -1.5), 0xbfc00000u);
  EXPECT_EQ(encode_floating(DataType::kFloat64, 1.0), 0x3ff0000000000000u);
  EXPECT_EQ(encode_floating(DataType::kFloat16, 65504), 0x7bffu);
  EXPECT_EQ(encode_floating(DataType::kBfloat16, 1.0), 0x3f80u);
  EXPECT_EQ(encode_floating(DataType::kFloat8e4m3, 448), 0x7eu);
  EXPECT_EQ(encode_floating(DataType::kFloat8e4m3, -1), 0xb8u);
  EXPECT_EQ(encode_floating(DataType::kFloat8e5m2, 57344), 0x7bu);
  EXPECT_EQ(encode_floating(DataType::kFloat8e5m2, 0), 0u);
}

TEST(PerfPatternDeathTest, AValueThatDoesNotFitStopsTheProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(encode_floating(DataType::kFloat8e4m3, 17), "f8e4m3");
  EXPECT_DEATH(encode_floating(DataType::kFloat8e4m3, 480), "f8e4m3");
  EXPECT_DEATH(encode_floating(DataType::kFloat16, 65536), "half");
}

class Checker : public testing::Test {
 protected:
  static constexpr size_t kCount = 5000;
  const Pattern expected_ = Pattern::reduced({DataType::kFloat32, RedOp::kSum, 2});
  std::vector<std::byte> filled(size_t first, size_t shift) const {
    std::vector<std::byte> bytes(kCount * 4);
    expected_.fill(bytes.data(), first, kCount, shift);
    return bytes;
  }
};

TEST_F(Checker, AcceptsWhatItWroteAndCountsEachFlippedElementOnce) {
  std::vector<std::byte> bytes = filled(17, 3);
  EXPECT_EQ(expected_.count_wrong(bytes.data(), 17, kCount, 3), 0u);
  bytes[0] ^= std::byte{1};
  bytes[4 * 4999 + 3] ^= std::byte{0x80};
  bytes[4 * 1021] ^= std::byte{1};
  bytes[4 * 1021 + 2] ^= std::byte{1};
  EXPECT_EQ(expected_.count_wrong(bytes.data(), 17, kCount, 3), 3u);
}

TEST_F(Checker, SeesResultsOfAnotherPlaceOrAnotherCall) {
  for (const size_t off : {size_t{1}, size_t{16}, size_t{1024}, kPeriod, 2 * kPeriod}) {
    EXPECT_GT(expected_.count_wrong(filled(off, 0).data(), 0, kCount, 0), kCount / 2) << "off by " << off;
  }
  EXPECT_GT(expected_.count_wrong(filled(0, 4).data(), 0, kCount, 5), kCount / 2);
}

TEST_F(Checker, ReadsFromAnyElementOn) {
  const std::vector<std::byte> whole = filled(0, 2);
  EXPECT_EQ(expected_.count_wrong(whole.data() + 4 * 1500, 1500, kCount - 1500, 2), 0u);
}

}  // namespace
}  // namespace comity::perf
