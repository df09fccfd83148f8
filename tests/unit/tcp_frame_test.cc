#include "transports/tcp/frame.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <functional>
#include <random>
#include <vector>

namespace comity::tcp {
namespace {

constexpr uint32_t kCommunicator = 77;
constexpr FrameLimits kLimits{256 * 1024, 3};

SegmentHeader data_header(uint64_t number, uint32_t length) {
  SegmentHeader header;
  header.number = number;
  header.length = length;
  header.communicator = kCommunicator;
  header.epoch = kLimits.epoch;
  return header;
}

std::byte payload_byte(uint64_t number, uint64_t i) {
  return static_cast<std::byte>(number * 37 + i * 11 + (i >> 8));
}

void append(std::vector<std::byte>& stream, const SegmentHeader& header) {
  const auto* raw = reinterpret_cast<const std::byte*>(&header);
  stream.insert(stream.end(), raw, raw + sizeof(header));
  for (uint32_t i = 0; i < header.length; ++i) stream.push_back(payload_byte(header.number, i));
}

// Checks every payload; hands out memory of exactly the asked length, so that a sanitizer sees one byte too
// many.
class CheckingSink final : public SegmentSink {
 public:
  std::byte* place(const SegmentHeader& header) override {
    placed_ = std::vector<std::byte>(header.length);
    placed_.shrink_to_fit();
    return placed_.data();
  }
  bool arrived(const SegmentHeader& header, const std::byte* payload) override {
    EXPECT_EQ(header.number, arrivals);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(payload) % 16, 0u) << "typed loads need alignment";
    for (uint32_t i = 0; i < header.length; ++i) {
      if (payload[i] != payload_byte(header.number, i)) {
        ADD_FAILURE() << "byte " << i << " of segment " << header.number;
        break;
      }
    }
    ++arrivals;
    return arrivals < refuse_at;
  }
  uint64_t arrivals = 0;
  uint64_t refuse_at = UINT64_MAX;

 private:
  std::vector<std::byte> placed_;
};

// Feeds the stream in pieces of at most `most` bytes, as a socket would; returns the first fault.
std::string feed(FrameReceiver& receiver, const std::vector<std::byte>& stream, SegmentSink& sink,
                 const std::function<size_t()>& most) {
  size_t at = 0;
  while (at < stream.size()) {
    std::array<iovec, 2> pieces;
    const int count = receiver.want(pieces);
    size_t left = std::min(most(), stream.size() - at);
    size_t taken = 0;
    for (int i = 0; i < count; ++i) {
      const size_t n = std::min(left, pieces[i].iov_len);
      std::memcpy(pieces[i].iov_base, stream.data() + at, n);
      at += n;
      left -= n;
      taken += n;
    }
    EXPECT_GT(taken, 0u);
    if (std::string fault = receiver.got(taken, sink); !fault.empty()) return fault;
  }
  return {};
}

TEST(TcpFrame, EverySplitOfTheStreamDeliversTheSame) {
  std::mt19937 random(1);
  std::vector<std::byte> stream;
  uint64_t count = 0;
  for (const uint32_t length :
       {8u, 0u, 1u, 47u, 48u, 49u, 16384u, 32768u, 32720u, 100'000u, 262'144u, 3u, 262'143u, 7u}) {
    append(stream, data_header(count++, length));
  }
  for (int n = 0; n < 200; ++n) append(stream, data_header(count++, random() % 3000));
  const std::vector<std::function<size_t()>> splits = {
      [] { return size_t{1} << 30; }, [] { return size_t{1}; },
      [] { return size_t{47}; },      [] { return size_t{49}; },
      [] { return size_t{4096}; },    [&] { return size_t{1} + random() % 70'000; }};
  for (const auto& split : splits) {
    FrameReceiver receiver(kLimits);
    CheckingSink sink;
    EXPECT_EQ(feed(receiver, stream, sink, split), "");
    EXPECT_EQ(sink.arrivals, count);
    EXPECT_TRUE(receiver.at_boundary());
  }
}

TEST(TcpFrame, ASmallSegmentTakesOneReadAndALargeOneDoesNotFloodTheBuffer) {
  FrameReceiver receiver(kLimits);
  CheckingSink sink;
  std::array<iovec, 2> pieces;
  ASSERT_EQ(receiver.want(pieces), 1);
  EXPECT_GE(pieces[0].iov_len, sizeof(SegmentHeader) + 8);
  std::vector<std::byte> stream;
  append(stream, data_header(0, 200'000));
  std::memcpy(pieces[0].iov_base, stream.data(), 1000);
  ASSERT_EQ(receiver.got(1000, sink), "");
  EXPECT_FALSE(receiver.at_boundary());
  ASSERT_EQ(receiver.want(pieces), 2);
  EXPECT_EQ(pieces[0].iov_len, 200'048u - 1000);
  EXPECT_EQ(pieces[1].iov_len, sizeof(SegmentHeader));
}

TEST(TcpFrame, WhatIsLetGoInTheMiddleTouchesItsMemoryNoMore) {
  class Sink final : public SegmentSink {
   public:
    std::byte* place(const SegmentHeader&) override { return memory.data(); }
    bool arrived(const SegmentHeader& header, const std::byte*) override {
      arrivals.push_back(header.number);
      return true;
    }
    std::vector<std::byte> memory = std::vector<std::byte>(100'000);
    std::vector<uint64_t> arrivals;
  };
  for (const bool its : {true, false}) {
    FrameReceiver receiver(kLimits);
    Sink sink;
    std::vector<std::byte> stream;
    append(stream, data_header(0, 100'000));
    append(stream, data_header(1, 0));
    const std::vector<std::byte> begun(stream.begin(), stream.begin() + 60'000);
    const std::vector<std::byte> rest(stream.begin() + 60'000, stream.end());
    EXPECT_EQ(feed(receiver, begun, sink, [] { return size_t{1} << 30; }), "");
    receiver.let_go(its ? kCommunicator : kCommunicator + 1);
    const std::vector<std::byte> before = sink.memory;
    EXPECT_EQ(feed(receiver, rest, sink, [] { return size_t{7000}; }), "");
    EXPECT_EQ(sink.memory == before, its);
    EXPECT_EQ(sink.arrivals, its ? std::vector<uint64_t>{1} : (std::vector<uint64_t>{0, 1}));
    EXPECT_TRUE(receiver.at_boundary());
  }
}

TEST(TcpFrame, EveryBadFieldIsRefusedByName) {
  struct Case {
    const char* says;
    std::function<void(SegmentHeader&)> spoil;
  };
  const std::vector<Case> cases = {
      {"kind", [](SegmentHeader& h) { h.kind = static_cast<SegmentKind>(0); }},
      {"kind", [](SegmentHeader& h) { h.kind = static_cast<SegmentKind>(3); }},
      {"flags", [](SegmentHeader& h) { h.flags = 2; }},
      {"epoch", [](SegmentHeader& h) { h.epoch = 4; }},
      {"262145", [](SegmentHeader& h) { h.length = 256 * 1024 + 1; }},
      {"4294967295", [](SegmentHeader& h) { h.length = UINT32_MAX; }},
      {"acknowledgement", [](SegmentHeader& h) { h.kind = SegmentKind::kDone; }},
  };
  for (const Case& bad : cases) {
    SegmentHeader header = data_header(1, 100);
    bad.spoil(header);
    std::vector<std::byte> stream;
    append(stream, data_header(0, 10));
    const auto* raw = reinterpret_cast<const std::byte*>(&header);
    stream.insert(stream.end(), raw, raw + sizeof(header));
    FrameReceiver receiver(kLimits);
    CheckingSink sink;
    const std::string fault = feed(receiver, stream, sink, [] { return size_t{64}; });
    EXPECT_NE(fault.find(bad.says), std::string::npos) << bad.says << ": " << fault;
    EXPECT_EQ(sink.arrivals, 1u);
  }
}

TEST(TcpFrame, ARefusingSinkEndsTheStreamWhereverThePayloadLies) {
  for (const uint32_t length : {0u, 8u, 200'000u}) {
    std::vector<std::byte> stream;
    append(stream, data_header(0, length));
    FrameReceiver receiver(kLimits);
    CheckingSink sink;
    sink.refuse_at = 1;
    EXPECT_NE(feed(receiver, stream, sink, [] { return size_t{5000}; }), "") << length;
  }
}

}  // namespace
}  // namespace comity::tcp
