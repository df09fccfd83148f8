// Reductions and copies of every instruction set, against an account of them by definition, bit for bit.
#include "src/device/host/kernels.h"

#include <fmt/core.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include "tests/support/reduce_reference.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace comity {
namespace {

constexpr RedOp kOps[] = {RedOp::kSum, RedOp::kProd, RedOp::kMax, RedOp::kMin};
constexpr uint64_t kGuard = 128;  // bytes around every destination that must not change
constexpr std::byte kGuardByte{0xa5};

using Kernel = std::function<void(const ReduceWork&)>;

// Which elements, in what arrangement.
struct Case {
  DataType type;
  RedOp op;
  uint32_t divisor = 0;
  std::vector<std::vector<uint64_t>> sources;  // bits of the elements, all of one length
  size_t destinations = 1;
  bool in_place = false;  // destination k is source k
  bool stream = false;
  uint64_t shift = 0;  // elements by which buffer k is off alignment: k * shift
  std::vector<uint8_t> divided = {};
};

// A buffer with guards, its data `shift` elements past a multiple of 64 bytes.
class Buffer {
 public:
  Buffer(DataType type, uint64_t count, uint64_t shift)
      : bytes_(count * size_of(type)), room_(bytes_ + 2 * kGuard + 64 + shift * size_of(type), kGuardByte) {
    const auto start = reinterpret_cast<uintptr_t>(room_.data()) + kGuard;
    offset_ = kGuard + (-start & 63) + shift * size_of(type);
  }
  std::byte* data() { return room_.data() + offset_; }
  bool guards_intact() const {
    for (size_t i = 0; i < room_.size(); ++i) {
      if ((i < offset_ || i >= offset_ + bytes_) && room_[i] != kGuardByte) return false;
    }
    return true;
  }

 private:
  uint64_t bytes_;
  std::vector<std::byte> room_;
  uint64_t offset_ = 0;
};

std::string compare(const Case& c, std::vector<Buffer>& buffers,
                    const std::vector<std::byte*>& destinations) {
  std::vector<uint64_t> operands(c.sources.size());
  for (uint64_t i = 0; i < c.sources[0].size(); ++i) {
    for (size_t s = 0; s < operands.size(); ++s) operands[s] = c.sources[s][i];
    const uint64_t expected = test::reduce_reference(c.type, c.op, operands, c.divisor, c.divided);
    for (size_t d = 0; d < destinations.size(); ++d) {
      const uint64_t got = test::element(destinations[d], c.type, i);
      if (got == expected) continue;
      return fmt::format(
          "{} {} divisor {}: element {} of {}, destination {} of {}: 0x{:x} of {} sources (0x{:x}, ...) "
          "gave 0x{:x}, not 0x{:x}; in place {}, stream {}, shift {}",
          name_of(c.type), name_of(c.op), c.divisor, i, c.sources[0].size(), d, destinations.size(),
          operands[0], operands.size(), operands.back(), got, expected, c.in_place, c.stream, c.shift);
    }
  }
  for (Buffer& buffer : buffers) {
    if (!buffer.guards_intact()) return fmt::format("{} {}: wrote outside", name_of(c.type), name_of(c.op));
  }
  return "";
}

// The first difference between what `kernel` does and what is right; "" if there is none.
std::string first_difference(const Kernel& kernel, const Case& c) {
  const uint64_t count = c.sources[0].size();
  const size_t buffer_count = c.sources.size() + (c.in_place ? 0 : c.destinations);
  std::vector<Buffer> buffers;
  for (size_t k = 0; k < buffer_count; ++k) buffers.emplace_back(c.type, count, c.shift * k % 17);
  std::vector<const std::byte*> sources;
  for (size_t s = 0; s < c.sources.size(); ++s) {
    for (uint64_t i = 0; i < count; ++i) test::set_element(buffers[s].data(), c.type, i, c.sources[s][i]);
    sources.push_back(buffers[s].data());
  }
  std::vector<std::byte*> destinations;
  for (size_t d = 0; d < c.destinations; ++d) {
    destinations.push_back(buffers[c.in_place ? d : c.sources.size() + d].data());
  }
  ReduceWork work;
  work.type = c.type;
  work.op = c.op;
  work.sources = sources;
  work.destinations = destinations;
  work.count = count;
  work.divisor = c.divisor;
  work.stream_stores = c.stream;
  work.divided = c.divided;
  kernel(work);
  return compare(c, buffers, destinations);
}

void expect_right(const Case& c) {
  for (Isa isa : available_isas()) {
    const std::string difference =
        first_difference([isa](const ReduceWork& work) { reduce_host_with(isa, work); }, c);
    ASSERT_EQ(difference, "") << name_of(isa);
  }
}

// Bits of elements: uniform, or for wide types often special (zeros, infinities, NaNs, subnormals, extremes,
// ones).
std::vector<uint64_t> some_elements(DataType type, uint64_t count, std::mt19937_64& random) {
  const int width = 8 * static_cast<int>(size_of(type));
  const uint64_t mask = width == 64 ? ~uint64_t{0} : (uint64_t{1} << width) - 1;
  const uint64_t top = uint64_t{1} << (width - 1);
  const uint64_t infinity = type == DataType::kFloat64 ? 0x7ff0000000000000 : 0x7f800000;
  const uint64_t specials[] = {0,
                               top,
                               1,
                               top | 1,
                               mask,
                               top - 1,
                               infinity,
                               top | infinity,
                               infinity + 1,
                               test::canonical_nan(type) | 1,
                               infinity - 1,
                               infinity >> 1,
                               (infinity >> 1) + 3};
  std::vector<uint64_t> elements(count);
  for (uint64_t& bits : elements) {
    bits = random();
    if (width >= 32 && bits % 4 == 0) bits = specials[random() % std::size(specials)];
    bits &= mask;
  }
  return elements;
}

std::vector<std::vector<uint64_t>> some_sources(DataType type, size_t sources, uint64_t count,
                                                std::mt19937_64& random) {
  std::vector<std::vector<uint64_t>> all;
  for (size_t s = 0; s < sources; ++s) all.push_back(some_elements(type, count, random));
  return all;
}

class Kernels : public testing::TestWithParam<DataType> {
 protected:
  DataType type() const { return GetParam(); }
  std::mt19937_64 random_{static_cast<uint64_t>(GetParam()) + 1};
};

TEST_P(Kernels, ReduceAllPairsOfBytesOrASampleOfWiderOnes) {
  const bool bytes = size_of(type()) == 1;
  Case c{type(), RedOp::kSum, 0, {{}, {}}};
  for (uint64_t i = 0; bytes && i < 65536; ++i) {
    c.sources[0].push_back(i >> 8);
    c.sources[1].push_back(i & 255);
  }
  if (!bytes) c.sources = some_sources(type(), 2, 1 << 16, random_);
  for (RedOp op : kOps) {
    c.op = op;
    ASSERT_NO_FATAL_FAILURE(expect_right(c));
  }
}

// The exact result of two values, with NaN and zeros as min and max define them.
double exact_of(RedOp op, double a, double b) {
  if (op == RedOp::kSum) return a + b;
  if (op == RedOp::kProd) return a * b;
  if (a != a || b != b) return std::numeric_limits<double>::quiet_NaN();
  if (a == b) return std::signbit(a) == (op == RedOp::kMin) ? a : b;
  return (a < b) == (op == RedOp::kMin) ? a : b;
}

// 2^32 pairs a type and operation: the operation in doubles, the rounding by encode_floats of the plainest
// instruction set, which its own test has found right for all floats.
TEST_P(Kernels, ReduceAllPairsOfSixteenBitsInFull) {
  if (!test::full_tests() || size_of(type()) != 2) return;
  constexpr uint64_t kCodes = 65536;
  std::vector<std::byte> left(2 * kCodes), right(2 * kCodes), expected(2 * kCodes), got(2 * kCodes);
  std::vector<double> values;
  for (uint64_t i = 0; i < kCodes; ++i) values.push_back(test::value_of(type(), i));
  for (uint64_t i = 0; i < kCodes; ++i) test::set_element(right.data(), type(), i, i);
  std::vector<float> exact(kCodes);
  const std::byte* sources[] = {left.data(), right.data()};
  std::byte* destination = got.data();
  for (RedOp op : kOps) {
    const ReduceWork work{type(), op, sources, {&destination, 1}, kCodes};
    for (uint64_t a = 0; a < kCodes; ++a) {
      for (uint64_t i = 0; i < kCodes; ++i) test::set_element(left.data(), type(), i, a);
      for (uint64_t b = 0; b < kCodes; ++b) exact[b] = static_cast<float>(exact_of(op, values[a], values[b]));
      encode_floats(Isa::kScalar, type(), exact.data(), expected.data(), kCodes);
      for (Isa isa : available_isas()) {
        reduce_host_with(isa, work);
        ASSERT_EQ(std::memcmp(got.data(), expected.data(), got.size()), 0) << name_of(isa) << " " << a;
      }
    }
  }
}

TEST_P(Kernels, DivideOnceAfterTheSum) {
  for (uint32_t divisor : {1u, 2u, 3u, 7u, 255u, 256u, 1000003u, 0x7fffffffu, 0x80000000u}) {
    for (RedOp op : {RedOp::kSum, RedOp::kAvg, RedOp::kMin}) {
      Case c{type(), op, divisor, some_sources(type(), 2, 1031, random_)};
      ASSERT_NO_FATAL_FAILURE(expect_right(c));
    }
  }
}

TEST_P(Kernels, FoldAnyNumberOfSourcesFromTheLeft) {
  for (size_t sources : {1, 2, 3, 4, 5, 6, 7, 8, 9, 17, 64, 67}) {
    for (RedOp op : kOps) {
      Case c{type(), op, 0, some_sources(type(), sources, 149, random_)};
      ASSERT_NO_FATAL_FAILURE(expect_right(c));
      c.divisor = static_cast<uint32_t>(sources);
      ASSERT_NO_FATAL_FAILURE(expect_right(c));
    }
  }
}

TEST_P(Kernels, TouchExactlyTheElementsOfAnyCount) {
  for (uint64_t count = 0; count <= 70; ++count) {
    Case c{type(), RedOp::kSum, 0, some_sources(type(), 2, count, random_)};
    ASSERT_NO_FATAL_FAILURE(expect_right(c));
  }
  for (uint64_t count : {127, 128, 129, 251, 256, 509, 1021, 4099, 65537}) {
    Case c{type(), RedOp::kMax, 0, some_sources(type(), 2, count, random_)};
    ASSERT_NO_FATAL_FAILURE(expect_right(c));
  }
}

TEST_P(Kernels, WorkInPlaceUnalignedAndIntoSeveralDestinations) {
  for (uint64_t count : {1, 2, 3, 8, 31, 64, 257, 1025}) {
    for (uint64_t shift : {0, 1, 3, 5}) {
      for (size_t destinations : {1, 2, 3}) {
        for (bool in_place : {false, true}) {
          for (bool stream : {false, true}) {
            Case c{type(),       RedOp::kSum, 0,      some_sources(type(), 3, count, random_),
                   destinations, in_place,    stream, shift};
            ASSERT_NO_FATAL_FAILURE(expect_right(c));
            c.sources.pop_back();
            if (destinations < 3) {
              ASSERT_NO_FATAL_FAILURE(expect_right(c));
            }
          }
        }
      }
    }
  }
}

TEST_P(Kernels, StreamWithTheDivisorAndFromAlignedAndUnalignedHeads) {
  for (uint64_t shift = 0; shift < 17; ++shift) {
    Case c{type(), RedOp::kAvg, 3, some_sources(type(), 3, 700, random_), 2, false, true, shift};
    ASSERT_NO_FATAL_FAILURE(expect_right(c));
  }
}

TEST_P(Kernels, DivideWhatIsNoPartialResult) {
  if (!is_narrow_float(type())) return;
  for (const uint64_t count : {1u, 2u, 31u, 512u, 513u, 2000u}) {
    for (const uint32_t divisor : {2u, 3u, 7u, 64u}) {
      Case c{type(), RedOp::kSum,    divisor, some_sources(type(), 3, count, random_),
             2,      count % 2 == 0, false,   1};
      for (const auto& divided :
           {std::vector<uint8_t>{0, 1, 1}, {1, 0, 1}, {1, 1, 0}, {0, 0, 1}, {0, 0, 0}}) {
        c.divided = divided;
        ASSERT_NO_FATAL_FAILURE(expect_right(c));
      }
    }
  }
}

#if defined(__x86_64__)
TEST_P(Kernels, GiveTheSameBitsWhateverTheThreadsRoundingAndFlushing) {
  const Case c{type(), RedOp::kSum, 0, some_sources(type(), 2, 1023, random_)};
  const Case tiny{type(), RedOp::kProd, 0, some_sources(type(), 2, 5, random_)};
  Case mixed{type(), RedOp::kSum, is_narrow_float(type()) ? 3u : 0u, some_sources(type(), 2, 700, random_)};
  if (is_narrow_float(type())) mixed.divided = {1, 0};
  const unsigned before = _mm_getcsr();
  for (unsigned control : {0x9fc0u, 0x8040u | 0x1f80u, 0x3f80u, 0x5f80u, 0x7f80u}) {
    const auto under = [&](Isa isa) {
      return [=](const ReduceWork& work) {
        _mm_setcsr(control);
        reduce_host_with(isa, work);
        const unsigned after = _mm_getcsr();
        _mm_setcsr(before);
        EXPECT_EQ(after & ~0x3fu, control & ~0x3fu);
      };
    };
    for (Isa isa : available_isas()) {
      ASSERT_EQ(first_difference(under(isa), c), "") << name_of(isa) << " MXCSR " << control;
      ASSERT_EQ(first_difference(under(isa), tiny), "") << name_of(isa) << " MXCSR " << control;
      ASSERT_EQ(first_difference(under(isa), mixed), "") << name_of(isa) << " MXCSR " << control;
    }
  }
}
#endif

INSTANTIATE_TEST_SUITE_P(AllTypes, Kernels,
                         testing::Values(DataType::kInt8, DataType::kUint8, DataType::kInt32,
                                         DataType::kUint32, DataType::kInt64, DataType::kUint64,
                                         DataType::kFloat16, DataType::kFloat32, DataType::kFloat64,
                                         DataType::kBfloat16, DataType::kFloat8e4m3, DataType::kFloat8e5m2),
                         [](const auto& tested) { return std::string(name_of(tested.param)); });

// The definitions themselves, by hand, so that kernels and reference cannot agree on something else.
uint64_t reduce_two(DataType type, RedOp op, uint64_t a, uint64_t b, uint32_t divisor = 0) {
  std::byte left[8] = {}, right[8] = {}, out[8] = {};
  test::set_element(left, type, 0, a);
  test::set_element(right, type, 0, b);
  const std::byte* sources[] = {left, right};
  std::byte* destination = out;
  reduce_host({type, op, sources, {&destination, 1}, 1, divisor});
  return test::element(out, type, 0);
}

TEST(KernelDefinitions, ZerosAreOrderedAndNansAreOne) {
  EXPECT_EQ(reduce_two(DataType::kFloat32, RedOp::kMin, 0x80000000, 0), 0x80000000u);
  EXPECT_EQ(reduce_two(DataType::kFloat32, RedOp::kMin, 0, 0x80000000), 0x80000000u);
  EXPECT_EQ(reduce_two(DataType::kFloat32, RedOp::kMax, 0x80000000, 0), 0u);
  EXPECT_EQ(reduce_two(DataType::kFloat32, RedOp::kMax, 0xff812345, 0x3f800000), 0x7fc00000u);
  EXPECT_EQ(reduce_two(DataType::kFloat32, RedOp::kMax, 0x3f800000, 0xff812345), 0x7fc00000u);
  EXPECT_EQ(reduce_two(DataType::kFloat32, RedOp::kSum, 0x7f800000, 0xff800000), 0x7fc00000u);
  EXPECT_EQ(reduce_two(DataType::kFloat32, RedOp::kSum, 1, 1), 2u);
}

TEST(KernelDefinitions, IntegersWrapAndDivisionTruncatesTowardZero) {
  EXPECT_EQ(reduce_two(DataType::kInt8, RedOp::kSum, 100, 100), 200u);
  EXPECT_EQ(reduce_two(DataType::kInt8, RedOp::kAvg, 0xf9, 0, 2), 0xfdu);  // -7 / 2 = -3
  EXPECT_EQ(reduce_two(DataType::kInt64, RedOp::kAvg, ~uint64_t{0} - 6, 0, 2), ~uint64_t{0} - 2);
  EXPECT_EQ(reduce_two(DataType::kUint32, RedOp::kAvg, 0xffffffff, 0, 0x80000000), 1u);
  EXPECT_EQ(reduce_two(DataType::kInt32, RedOp::kProd, 0x10001, 0x10001), 0x20001u);
}

TEST(KernelDefinitions, Fp8SaturatesOnFiniteOverflowOnly) {
  EXPECT_EQ(reduce_two(DataType::kFloat8e4m3, RedOp::kSum, 0x7e, 0x7e), 0x7eu);   // 448 + 448
  EXPECT_EQ(reduce_two(DataType::kFloat8e5m2, RedOp::kProd, 0xfb, 0x7b), 0xfbu);  // -57344 * 57344
  EXPECT_EQ(reduce_two(DataType::kFloat8e5m2, RedOp::kSum, 0x7c, 0x7b), 0x7cu);   // infinity stays
  EXPECT_EQ(reduce_two(DataType::kFloat16, RedOp::kSum, 0x7bff, 0x7bff), 0x7c00u);
  EXPECT_EQ(reduce_two(DataType::kBfloat16, RedOp::kSum, 0x3f80, 0x3b80),
            0x3f80u);  // 1 + 2^-8: a tie, to even
}

// The harness above must see a wrong kernel: each of these is wrong in one way that a real one might be.
TEST(KernelHarness, SeesEveryPlantedFault) {
  std::mt19937_64 random(7);
  const auto honest = [](const ReduceWork& work) { reduce_host(work); };
  const auto last_bit = [](const ReduceWork& work) {
    reduce_host(work);
    if (work.count > 0) work.destinations.back()[(work.count - 1) * size_of(work.type)] ^= std::byte{1};
  };
  const auto one_short = [](const ReduceWork& work) {
    ReduceWork shorter = work;
    shorter.count = work.count - 1;
    reduce_host(shorter);
  };
  const auto one_more = [](const ReduceWork& work) {
    ReduceWork longer = work;
    longer.count = work.count + 1;
    reduce_host(longer);
  };
  const auto twice_rounded =
      [](const ReduceWork& work) {  // pairwise, as if partial results had the element's type
        ReduceWork part = work;
        part.sources = work.sources.first(2);
        reduce_host(part);
        std::vector<const std::byte*> rest{work.destinations[0]};
        rest.insert(rest.end(), work.sources.begin() + 2, work.sources.end());
        part.sources = rest;
        reduce_host(part);
      };
  Case c{DataType::kBfloat16, RedOp::kSum, 0, some_sources(DataType::kBfloat16, 4, 1001, random)};
  for (auto& source : c.sources) {
    for (uint64_t& bits : source)
      bits = 0x3f80 | (bits & 0x7f);  // from 1 to 2: near enough for roundings to show
  }
  EXPECT_EQ(first_difference(honest, c), "");
  EXPECT_NE(first_difference(last_bit, c), "");
  EXPECT_NE(first_difference(one_short, c), "");
  EXPECT_NE(first_difference(one_more, c), "");
  EXPECT_NE(first_difference(twice_rounded, c), "");
}

TEST(Copies, MoveEveryByteAndNoOther) {
  std::mt19937_64 random(3);
  std::vector<std::byte> source(70000);
  for (std::byte& byte : source) byte = static_cast<std::byte>(random());
  for (Isa isa : available_isas()) {
    for (bool stream : {false, true}) {
      for (uint64_t bytes : {0, 1, 7, 64, 4095, 4096, 4097, 65521}) {
        for (uint64_t shift : {0, 1, 8, 63}) {
          std::vector<std::byte> destination(bytes + 256, kGuardByte);
          copy_host_with(isa, destination.data() + 64 + shift, source.data() + 2 * shift, bytes, stream);
          ASSERT_EQ(std::memcmp(destination.data() + 64 + shift, source.data() + 2 * shift, bytes), 0)
              << bytes;
          for (size_t i = 0; i < destination.size(); ++i) {
            const bool outside = i < 64 + shift || i >= 64 + shift + bytes;
            ASSERT_TRUE(!outside || destination[i] == kGuardByte) << i;
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace comity
