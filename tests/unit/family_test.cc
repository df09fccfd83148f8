// What comes over the connections of a family reaches the communicator that it names.
#include "src/engine/family.h"

#include <gtest/gtest.h>

#include <vector>

namespace comity::engine {
namespace {

class CountingSink final : public SegmentSink {
 public:
  std::byte* place(const SegmentHeader&) override { return memory; }
  bool arrived(const SegmentHeader& header, const std::byte*) override {
    numbers.push_back(header.number);
    return true;
  }
  std::byte memory[64];
  std::vector<uint64_t> numbers;
};

class Member final : public FamilyMember {
 public:
  SegmentSink* sink_from(uint32_t family_rank) override {
    asked.push_back(family_rank);
    return family_rank == 3 ? &sink : nullptr;
  }
  CountingSink sink;
  std::vector<uint32_t> asked;
};

// An endpoint that delivers what a test puts into it.
class FedEndpoint final : public Endpoint {
 public:
  const EndpointTraits& traits() const override { return traits_; }
  bool try_send(const SegmentHeader&, SourceMemory) override { return true; }
  uint64_t transmitted() const override { return 0; }
  bool progress(SegmentSink& sink) override {
    for (const SegmentHeader& header : coming) {
      std::byte* place = header.length == 0 ? nullptr : sink.place(header);
      taken.push_back((header.length == 0 || place != nullptr) && sink.arrived(header, place));
    }
    return !std::exchange(coming, {}).empty();
  }
  void let_go(uint32_t communicator) override { let_go_of.push_back(communicator); }
  const Status& status() const override { return status_; }
  std::string describe() const override { return "fed"; }

  std::vector<SegmentHeader> coming;
  std::vector<bool> taken;
  std::vector<uint32_t> let_go_of;

 private:
  EndpointTraits traits_;
  Status status_;
};

class OneEndpoint final : public Transport {
 public:
  std::string_view name() const override { return "one"; }
  const std::vector<std::byte>& address() const override { return address_; }
  Status reach(uint32_t, std::span<const std::byte>) override { return {}; }
  Result<std::span<Endpoint* const>> endpoints(uint32_t) override {
    return std::span<Endpoint* const>(pointers_);
  }
  Status progress() override { return {}; }
  GroupProvider* group(std::span<const uint32_t>) override { return nullptr; }
  void arm(Sleeper& sleeper) override { sleeper.at_most(0); }
  void disarm(Sleeper&) override {}

  FedEndpoint endpoint;

 private:
  std::vector<std::byte> address_;
  std::vector<Endpoint*> pointers_{&endpoint};
};

SegmentHeader segment(uint32_t communicator, uint64_t number, uint32_t length) {
  SegmentHeader header;
  header.communicator = communicator;
  header.number = number;
  header.length = length;
  return header;
}

struct FamilyOfTwo : ::testing::Test {
  void SetUp() override {
    family.enter(0, first);
    family.enter(5, second);
    connections = family.connections(transport, 3).value();
  }
  std::vector<bool> deliver(std::vector<SegmentHeader> segments) {
    transport.endpoint.coming = std::move(segments);
    for (Endpoint* endpoint : connections->endpoints()) endpoint->progress(*connections);
    return std::exchange(transport.endpoint.taken, {});
  }
  OneEndpoint transport;
  Family family;
  Member first, second;
  Connections* connections = nullptr;
};

TEST_F(FamilyOfTwo, SegmentsReachTheCommunicatorThatTheyName) {
  EXPECT_EQ(deliver({segment(0, 1, 8), segment(5, 2, 0), segment(5, 3, 8), segment(0, 4, 8)}),
            std::vector<bool>(4, true));
  EXPECT_EQ(first.sink.numbers, (std::vector<uint64_t>{1, 4}));
  EXPECT_EQ(second.sink.numbers, (std::vector<uint64_t>{2, 3}));
}

TEST_F(FamilyOfTwo, ConnectionsToOneRankAreMadeOnce) {
  EXPECT_EQ(family.connections(transport, 3).value(), connections);
  EXPECT_NE(family.connections(transport, 4).value(), connections);
}

TEST_F(FamilyOfTwo, WhatComesForOneThatIsGoneIsDropped) {
  deliver({segment(5, 1, 8)});
  family.leave(5);
  EXPECT_EQ(transport.endpoint.let_go_of, std::vector<uint32_t>{5});
  EXPECT_EQ(deliver({segment(5, 2, 8), segment(5, 3, 0), segment(2, 4, 8), segment(0, 5, 8)}),
            std::vector<bool>(4, true));
  EXPECT_EQ(second.sink.numbers, std::vector<uint64_t>{1});
  EXPECT_EQ(first.sink.numbers, std::vector<uint64_t>{5});
  EXPECT_FALSE(family.shared());
}

TEST_F(FamilyOfTwo, WhatComesForOneThatNeverWasIsRefused) {
  EXPECT_EQ(deliver({segment(6, 1, 8), segment(6, 2, 0), segment(UINT32_MAX, 3, 8)}),
            std::vector<bool>(3, false));
}

TEST_F(FamilyOfTwo, MoreBytesThanASegmentHasAreRefusedForOneThatIsGone) {
  family.leave(5);
  EXPECT_EQ(deliver({segment(5, 1, UINT32_MAX)}), std::vector<bool>{false});
}

TEST_F(FamilyOfTwo, NumbersAreNeverUsedAgain) {
  EXPECT_EQ(family.next_index(), 6u);
  family.leave(5);
  EXPECT_EQ(family.next_index(), 6u);
}

}  // namespace
}  // namespace comity::engine
