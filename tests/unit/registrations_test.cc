// What is registered with a transport, and for how long; and what a link does with a peer's words that cannot
// be.
#include "src/engine/registrations.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "src/device/host/arena.h"
#include "src/engine/link.h"

namespace comity::engine {
namespace {

// Registers what is not longer than `most`, and counts.
class PinningTransport final : public Transport {
 public:
  struct Pinned final : Registration {
    Pinned(PinningTransport& its, MemoryRange its_range) : transport(its), range(its_range) {
      transport.pinned.insert(this);
    }
    ~Pinned() override { transport.pinned.erase(this); }
    PinningTransport& transport;
    MemoryRange range;
  };
  std::string_view name() const override { return "pinning"; }
  const std::vector<std::byte>& address() const override { return address_; }
  Status reach(uint32_t, std::span<const std::byte>) override { return {}; }
  Result<std::span<Endpoint* const>> endpoints(uint32_t) override { return std::span<Endpoint* const>(); }
  Status progress() override { return {}; }
  GroupProvider* group(std::span<const uint32_t>) override { return nullptr; }
  void arm(Sleeper&) override {}
  void disarm(Sleeper&) override {}
  uint64_t registers_from() const override { return 64; }
  Result<std::unique_ptr<Registration>> register_memory(const Device*, std::byte* data,
                                                        uint64_t bytes) override {
    ++asked;
    if (bytes > most) return Status(Code::kSystemError, "too much");
    return std::unique_ptr<Registration>(std::make_unique<Pinned>(*this, MemoryRange{data, bytes}));
  }
  uint64_t most = UINT64_MAX;
  uint64_t asked = 0;
  std::set<const Pinned*> pinned;

 private:
  std::vector<std::byte> address_;
};

struct Memories : testing::Test {
  MemoryRange range_of(size_t first, size_t bytes) const { return {memory.data() + first, bytes}; }
  MemoryRange pinned_for(size_t first, size_t bytes) {
    const auto found = calls.of(memory.data() + first, bytes);
    EXPECT_TRUE(found.ok());
    return found.ok() ? static_cast<const PinningTransport::Pinned*>(*found)->range : MemoryRange{};
  }
  PinningTransport transport;
  MemoryHints hints;
  std::vector<std::byte> memory = std::vector<std::byte>(4096);
  Registrations registrations{transport};
  CallMemory calls{registrations, hints};
};

TEST_F(Memories, ABufferIsRegisteredWholeAndForOneCall) {
  calls.begin(range_of(0, 1000), range_of(2000, 1000));
  EXPECT_EQ(pinned_for(100, 100).bytes, 1000u);
  EXPECT_EQ(pinned_for(900, 100).bytes, 1000u);
  EXPECT_EQ(transport.asked, 1u);
  EXPECT_EQ(pinned_for(1500, 100).bytes, 100u) << "what is in no buffer, as it is";
  calls.end();
  EXPECT_TRUE(transport.pinned.empty());
  EXPECT_EQ(pinned_for(100, 100).bytes, 100u) << "nothing is expected between calls";
  calls.begin({}, {});
  EXPECT_TRUE(transport.pinned.empty())
      << "what was registered outside of a call does not reach into the next";
}

TEST_F(Memories, AHintIsKeptUntilItIsTakenBackAndNeverHarms) {
  const uint64_t id = hints.add(range_of(0, 2048));
  EXPECT_EQ(pinned_for(10, 100).bytes, 2048u);
  calls.end();
  EXPECT_EQ(transport.pinned.size(), 1u);
  EXPECT_EQ(pinned_for(500, 100).bytes, 2048u);
  EXPECT_EQ(transport.asked, 1u);
  EXPECT_TRUE(hints.remove(id));
  EXPECT_FALSE(hints.remove(id));
  calls.end();
  EXPECT_TRUE(transport.pinned.empty());
  transport.most = 200;
  hints.add(range_of(0, 2048));
  EXPECT_EQ(pinned_for(10, 100).bytes, 100u) << "a hint that cannot be followed changes nothing";
  EXPECT_FALSE(calls.of(memory.data(), 300).ok());
}

TEST_F(Memories, MemoryOfTheCommunicatorsOwnStaysUntilItIsForgotten) {
  calls.keep(range_of(0, 1024));
  EXPECT_EQ(pinned_for(10, 100).bytes, 1024u);
  calls.end();
  EXPECT_EQ(transport.pinned.size(), 1u);
  calls.forget(memory.data());
  EXPECT_TRUE(transport.pinned.empty());
}

TEST_F(Memories, AnArenaIsForgottenOnceItIsGivenBack) {
  constexpr uint64_t kBig = uint64_t{300} << 20;  // an arena of its own
  ArenaPool pool({uint64_t{1} << 30, uint64_t{1} << 20});
  auto first = pool.allocate(1 << 20), big = pool.allocate(kBig);
  ASSERT_TRUE(first.ok() && big.ok());
  ASSERT_TRUE(calls.of(static_cast<std::byte*>(*big), 4096).ok());
  calls.end();
  EXPECT_EQ(transport.pinned.size(), 1u);
  ASSERT_TRUE(calls.of(static_cast<std::byte*>(*big) + 8192, 4096).ok());
  EXPECT_EQ(transport.asked, 1u) << "the same part of it";
  calls.end();
  ASSERT_TRUE(pool.release(*big).ok());
  ASSERT_TRUE(pool.release(*first).ok());
  auto other = pool.allocate(1 << 20);
  ASSERT_TRUE(other.ok());
  ASSERT_TRUE(calls.of(static_cast<std::byte*>(*other), 4096).ok());
  calls.end();
  EXPECT_EQ(transport.pinned.size(), 1u) << "of the one that is there";
  ASSERT_TRUE(pool.release(*other).ok());
}

// --- links -------------------------------------------------------------------------------------------------

class PuttingEndpoint final : public Endpoint {
 public:
  PuttingEndpoint() { traits_.put_bytes = 1024; }
  const EndpointTraits& traits() const override { return traits_; }
  bool try_send(const SegmentHeader&, SourceMemory) override { return true; }
  uint64_t transmitted() const override { return 0; }
  bool progress(SegmentSink&) override { return false; }
  void stop() override { stopped = true; }
  const Status& status() const override { return status_; }
  std::string describe() const override { return "putting"; }
  bool stopped = false;

 private:
  EndpointTraits traits_;
  Status status_;
};

struct Unused final : CompletionSink {
  void completed(uint32_t) override { ADD_FAILURE(); }
};

struct Links : Memories {
  SegmentHeader header(SegmentKind kind, uint8_t flags, uint32_t length) {
    SegmentHeader made;
    made.kind = kind;
    made.flags = flags;
    made.length = length;
    return made;
  }
  PuttingEndpoint endpoint;
  Endpoint* pointer = &endpoint;
  Connections connections{std::span<Endpoint* const>(&pointer, 1)};
  Link link{1, 0, connections, ReleaseRule::kTransmitted, &calls};
  Unused unused;
};

TEST_F(Links, HeadersWhoseFieldsDoNotGoTogetherAreRefused) {
  const std::vector<std::byte> payload(sizeof(ReadyBody));
  for (const SegmentHeader& wrong :
       {header(SegmentKind::kReady, kSegmentPut, sizeof(ReadyBody)), header(SegmentKind::kReady, 0, 8),
        header(SegmentKind::kDone, 0, 8), header(SegmentKind::kOffer, 0, 8),
        header(SegmentKind::kDone, kSegmentPut, 0), header(static_cast<SegmentKind>(9), 0, 0)}) {
    Link fresh{1, 0, connections, ReleaseRule::kTransmitted, &calls};
    ASSERT_TRUE(fresh.ensure_lanes(1).ok());
    EXPECT_FALSE(fresh.arrived(wrong, wrong.flags == kSegmentPut ? nullptr : payload.data()))
        << static_cast<int>(wrong.kind) << " " << static_cast<int>(wrong.flags) << " " << wrong.length;
    EXPECT_EQ(fresh.status().code(), Code::kRemoteError);
  }
}

TEST_F(Links, APutBeforeThePeerWasToldWhereIsRefused) {
  ASSERT_TRUE(link.ensure_lanes(1).ok());
  ReceiveAction action;
  action.destination = memory.data();
  link.post_recv(0, 2048, 0, action, unused, 0);
  EXPECT_FALSE(link.arrived(header(SegmentKind::kData, kSegmentPut | kSegmentLast, 2048), nullptr));
}

TEST_F(Links, AFencedLinkStopsWhoMayStillWriteAndDropsWhatStillComes) {
  ASSERT_TRUE(link.ensure_lanes(1).ok());
  link.fence();
  EXPECT_FALSE(endpoint.stopped) << "nobody was told of memory";
  Link told{1, 0, connections, ReleaseRule::kTransmitted, &calls};
  ASSERT_TRUE(told.ensure_lanes(1).ok());
  ReceiveAction action;
  action.destination = memory.data();
  told.post_recv(0, 2048, 0, action, unused, 0);
  told.progress();
  told.fence();
  EXPECT_TRUE(endpoint.stopped);
  EXPECT_TRUE(told.arrived(header(SegmentKind::kData, kSegmentPut | kSegmentLast, 2048), nullptr))
      << "what was on its way is no fault of its sender's, nor of other communicators";
  const Claim claim = told.claim(header(SegmentKind::kData, kSegmentLast, 2048));
  EXPECT_TRUE(claim.acceptable);
  EXPECT_NE(claim.memory.data, nullptr);
  EXPECT_NE(claim.memory.data, memory.data());
}

}  // namespace
}  // namespace comity::engine
