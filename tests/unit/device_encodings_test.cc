// The conversions of fp16, bf16 and fp8, of every instruction set: all decodes, and encodes at every
// boundary, over a stride, or (COMITY_TEST_FULL=1) of all 2^32 floats.
#include <fmt/core.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include <gtest/gtest.h>
#include "src/device/host/kernels.h"
#include "tests/support/reduce_reference.h"

namespace comity {
namespace {

using test::NarrowRounding;

uint32_t bits_of(float value) {
  return std::bit_cast<uint32_t>(value);
}

std::string label(Isa isa, DataType type) {
  return fmt::format("{} {}", name_of(isa), name_of(type));
}

// Floats by their bits, and the codes that they must become.
struct Batch {
  explicit Batch(DataType of) : type(of) {}
  void add(uint32_t bits, uint64_t code) {
    floats.push_back(std::bit_cast<float>(bits));
    for (size_t i = 0; i < size_of(type); ++i) codes.push_back(static_cast<std::byte>(code >> (8 * i)));
  }
  DataType type;
  std::vector<float> floats;
  std::vector<std::byte> codes;
};

// Encodes on every instruction set and compares.
void expect_encodes(const Batch& batch) {
  std::vector<std::byte> got(batch.codes.size());
  for (Isa isa : available_isas()) {
    encode_floats(isa, batch.type, batch.floats.data(), got.data(), batch.floats.size());
    if (std::memcmp(got.data(), batch.codes.data(), got.size()) == 0) continue;
    for (size_t i = 0; i < batch.floats.size(); ++i) {
      const uint64_t code = test::element(got.data(), batch.type, i);
      const uint64_t expected = test::element(batch.codes.data(), batch.type, i);
      ASSERT_EQ(code, expected) << fmt::format("{}: float 0x{:08x} became 0x{:x}, not 0x{:x}",
                                               label(isa, batch.type), bits_of(batch.floats[i]), code,
                                               expected);
    }
  }
}

class Encodings : public testing::TestWithParam<DataType> {};

TEST_P(Encodings, DecodeEveryCodeExactly) {
  const DataType type = GetParam();
  const uint64_t count = uint64_t{1} << (8 * size_of(type));
  std::vector<std::byte> codes(count * size_of(type));
  for (uint64_t code = 0; code < count; ++code) test::set_element(codes.data(), type, code, code);
  std::vector<float> values(count);
  for (Isa isa : available_isas()) {
    decode_floats(isa, type, codes.data(), values.data(), count);
    for (uint64_t code = 0; code < count; ++code) {
      const double expected = test::value_of(type, code);
      if (std::isnan(expected)) {
        ASSERT_TRUE(std::isnan(values[code])) << label(isa, type) << " code " << code;
      } else {
        ASSERT_EQ(bits_of(values[code]), bits_of(static_cast<float>(expected)))
            << label(isa, type) << " code " << code;
      }
    }
  }
}

TEST_P(Encodings, EncodeBackEveryCode) {
  const DataType type = GetParam();
  Batch batch(type);
  for (uint64_t code = 0; code < uint64_t{1} << (8 * size_of(type)); ++code) {
    const double value = test::value_of(type, code);
    batch.add(bits_of(static_cast<float>(value)), std::isnan(value) ? test::canonical_nan(type) : code);
  }
  expect_encodes(batch);
}

TEST_P(Encodings, RoundToNearestEvenAtEveryBoundary) {
  const DataType type = GetParam();
  const NarrowRounding rounding(type);
  Batch batch(type);
  const auto add_both_signs = [&](uint32_t bits) {
    for (uint32_t sign : {0u, 0x80000000u}) {
      batch.add(bits ^ sign, rounding.round(std::bit_cast<float>(bits ^ sign)));
    }
  };
  for (double midpoint : rounding.midpoints()) {
    const uint32_t at = bits_of(static_cast<float>(midpoint));
    for (uint32_t near : {at - 1, at, at + 1}) add_both_signs(near);
  }
  for (uint32_t special :
       {0x7f7fffffu, 0x7f800000u, 0x7f800001u, 0x7fc00000u, 0x7fffffffu, 0u, 1u, 0x7fffffu, 0x800000u}) {
    add_both_signs(special);
  }
  expect_encodes(batch);
}

// Upward through the magnitudes, so that the code only ever rises: the whole of 2^32 takes a minute a type.
TEST_P(Encodings, RoundAllFloatsOrAStrideOfThem) {
  const DataType type = GetParam();
  const NarrowRounding rounding(type);
  const uint64_t stride = test::full_tests() ? 1 : 4093;
  constexpr uint64_t kEnd = 0x80000000u;
  Batch batch(type);
  uint64_t code = 0;
  for (uint64_t magnitude = 0; magnitude < kEnd && !HasFailure(); magnitude += stride) {
    const auto bits = static_cast<uint32_t>(magnitude);
    const bool nan = bits > 0x7f800000u;
    code = nan ? test::canonical_nan(type) : rounding.round_magnitude(std::bit_cast<float>(bits), code);
    batch.add(bits, code);
    batch.add(bits | 0x80000000u, nan ? code : code | rounding.sign_bit());
    if (batch.floats.size() < (1 << 15) && magnitude + stride < kEnd) continue;
    expect_encodes(batch);
    batch.floats.clear();
    batch.codes.clear();
  }
}

TEST_P(Encodings, PartsOfAVectorConvertLikeWholeOnes) {
  const DataType type = GetParam();
  std::vector<float> values(64);
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = std::ldexp(static_cast<float>(i * 37 % 64) - 31.0f, -7);
  for (Isa isa : available_isas()) {
    std::vector<std::byte> whole(64 * size_of(type)), part(64 * size_of(type));
    encode_floats(isa, type, values.data(), whole.data(), 64);
    for (uint64_t count = 0; count <= 64; ++count) {
      std::fill(part.begin(), part.end(), std::byte{0xee});
      encode_floats(isa, type, values.data(), part.data(), count);
      ASSERT_EQ(std::memcmp(whole.data(), part.data(), count * size_of(type)), 0)
          << label(isa, type) << " " << count;
      for (size_t i = count * size_of(type); i < part.size(); ++i)
        ASSERT_EQ(part[i], std::byte{0xee}) << count;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(NarrowFloats, Encodings, testing::ValuesIn(test::kNarrowFloats),
                         [](const auto& tested) { return std::string(name_of(tested.param)); });

}  // namespace
}  // namespace comity
