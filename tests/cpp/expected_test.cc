// Expected and the table of element types: no communicator is needed.
#include "comity/expected.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>

#include "comity/comity.hpp"

namespace comity::test {
namespace {

const Error kError{comityTimeout, "rank 3 was waited for"};

TEST(CppExpected, HoldsAValueOrAnError) {
  Expected<int> value = 7;
  ASSERT_TRUE(value.has_value());
  EXPECT_EQ(*value, 7);
  EXPECT_EQ(value.value(), 7);
  EXPECT_EQ(value.value_or(1), 7);
  const Expected<int> none = kError;
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, comityTimeout);
  EXPECT_EQ(none.error().message, "rank 3 was waited for");
  EXPECT_EQ(none.value_or(1), 1);
}

TEST(CppExpected, HoldsWhatCanOnlyBeMoved) {
  Expected<std::unique_ptr<int>> value = std::make_unique<int>(7);
  std::unique_ptr<int> taken = std::move(value).value();
  ASSERT_NE(taken, nullptr);
  EXPECT_EQ(*taken, 7);
}

TEST(CppExpected, ValueThrowsTheSentenceWhereThereIsNone) {
  const Expected<int> none = kError;
  try {
    static_cast<void>(none.value());
    FAIL() << "value() of an error returned";
  } catch (const BadAccess& thrown) {
    EXPECT_EQ(thrown.code(), comityTimeout);
    EXPECT_STREQ(thrown.what(), "rank 3 was waited for");
  }
  EXPECT_THROW(Expected<void>(kError).value(), BadAccess);
  EXPECT_NO_THROW(Expected<void>().value());
}

TEST(CppExpected, AndThenGoesOnAfterASuccessAlone) {
  int calls = 0;
  const auto half = [&](int x) -> Expected<int> {
    ++calls;
    if (x % 2 != 0) return Error{comityInvalidArgument, "odd"};
    return x / 2;
  };
  EXPECT_EQ(*Expected<int>(12).and_then(half).and_then(half), 3);
  EXPECT_EQ(Expected<int>(6).and_then(half).and_then(half).error().message, "odd");
  EXPECT_EQ(calls, 4);
  EXPECT_EQ(Expected<int>(kError).and_then(half).error().code, comityTimeout);
  EXPECT_FALSE(Expected<void>(kError).and_then([&] { return half(2); }));
  EXPECT_EQ(calls, 4);
  EXPECT_EQ(*Expected<void>().and_then([&] { return half(2); }), 1);
}

template <typename T>
bool is(comityDataType_t type, size_t bytes) {
  return ElementType<T>::value == type && sizeof(T) == bytes && Number<T>;
}

TEST(CppTypes, EveryElementHasTheTypeOfItsBits) {
  EXPECT_TRUE(is<std::int8_t>(comityInt8, 1));
  EXPECT_TRUE(is<char>(comityChar, 1));
  EXPECT_TRUE(is<std::uint8_t>(comityUint8, 1));
  EXPECT_TRUE(is<std::int32_t>(comityInt32, 4));
  EXPECT_TRUE(is<std::uint32_t>(comityUint32, 4));
  EXPECT_TRUE(is<std::int64_t>(comityInt64, 8));
  EXPECT_TRUE(is<std::uint64_t>(comityUint64, 8));
  EXPECT_TRUE(is<long long>(comityInt64, 8));
  EXPECT_TRUE(is<unsigned long long>(comityUint64, 8));
  EXPECT_TRUE(is<float>(comityFloat32, 4));
  EXPECT_TRUE(is<double>(comityFloat64, 8));
  EXPECT_TRUE(is<float16>(comityFloat16, 2));
  EXPECT_TRUE(is<bfloat16>(comityBfloat16, 2));
  EXPECT_TRUE(is<float8_e4m3>(comityFloat8e4m3, 1));
  EXPECT_TRUE(is<float8_e5m2>(comityFloat8e5m2, 1));
}

TEST(CppTypes, BytesAreMovedAndNotReduced) {
  EXPECT_TRUE(Element<std::byte>);
  EXPECT_FALSE(Number<std::byte>);
}

TEST(CppTypes, WhatHasNoCounterpartIsNoElement) {
  EXPECT_FALSE(Element<bool>);
  EXPECT_FALSE(Element<short>);
  EXPECT_FALSE(Element<long double>);
  EXPECT_FALSE(Element<float*>);
  EXPECT_FALSE(Element<std::string>);
  EXPECT_FALSE((Target<const std::vector<float>&>));
  EXPECT_TRUE((Source<const std::vector<float>&>));
}

TEST(CppConfig, WhatIsLeftAloneIsTheInitializer) {
  const comityConfig_t fresh = COMITY_CONFIG_INITIALIZER, made = Config{}.native();
  EXPECT_EQ(made.size, fresh.size);
  EXPECT_EQ(made.magic, fresh.magic);
  EXPECT_EQ(made.version, fresh.version);
  EXPECT_EQ(made.blocking, COMITY_CONFIG_UNDEF_INT);
  EXPECT_EQ(made.timeoutMs, COMITY_CONFIG_UNDEF_INT);
  EXPECT_EQ(made.initTimeoutMs, COMITY_CONFIG_UNDEF_INT);
  EXPECT_EQ(made.transports, nullptr);
  EXPECT_EQ(made.interfaces, nullptr);
  EXPECT_EQ(made.deterministic, COMITY_CONFIG_UNDEF_INT);
  EXPECT_EQ(made.maxLanes, COMITY_CONFIG_UNDEF_INT);
  EXPECT_EQ(made.progressCpu, COMITY_CONFIG_UNDEF_INT);
  EXPECT_EQ(made.name, nullptr);
}

TEST(CppConfig, WhatIsSetArrives) {
  Config config;
  config.blocking = false;
  config.timeout = std::chrono::seconds(3);
  config.init_timeout = std::chrono::milliseconds(70);
  config.transports = "tcp";
  config.interfaces = "lo";
  config.deterministic = true;
  config.max_lanes = 2;
  config.progress_cpu = -1;
  config.name = "x";
  const comityConfig_t made = config.native();
  EXPECT_EQ(made.blocking, 0);
  EXPECT_EQ(made.timeoutMs, 3000);
  EXPECT_EQ(made.initTimeoutMs, 70);
  EXPECT_STREQ(made.transports, "tcp");
  EXPECT_STREQ(made.interfaces, "lo");
  EXPECT_EQ(made.deterministic, 1);
  EXPECT_EQ(made.maxLanes, 2);
  EXPECT_EQ(made.progressCpu, -1);
  EXPECT_STREQ(made.name, "x");
}

}  // namespace
}  // namespace comity::test
