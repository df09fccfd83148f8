// What transports promise that put messages where their receiver says.
#include <algorithm>

#include "tests/conformance/transport_conformance.h"
#include "tests/conformance/transport_party.h"

namespace comity::conformance {
namespace {

// A rank's memory that is registered with its transport.
struct Registered {
  Registered(Transport& transport, size_t bytes, std::byte fill) : memory(bytes, fill) {
    auto made = transport.register_memory(nullptr, memory.data(), memory.size());
    EXPECT_TRUE(made.ok()) << made.status().message();
    if (made.ok()) registration = std::move(made).value();
  }
  std::vector<std::byte> memory;
  std::unique_ptr<Registration> registration;
};

}  // namespace

TEST_P(TransportPuts, BytesLieWhereTheReceiverSaidBeforeItHearsOfThem) {
  Parties parties(GetParam(), 2);
  parties.open(0, 1);
  Endpoint& out = parties.channel(0, 1).endpoint();
  const uint32_t most = parties.channel(0, 1).endpoint().traits().segment_bytes;
  ASSERT_GT(out.traits().put_bytes, 0u);
  ASSERT_LE(out.traits().put_bytes, most);
  Registered from(parties.transport(0), 4 * size_t{most}, std::byte{0});
  Registered to(parties.transport(1), 6 * size_t{most}, std::byte{0xA5});
  for (size_t i = 0; i < from.memory.size(); ++i) from.memory[i] = pattern(0, i / most, i % most);
  const RemoteMemory named = parties.transport(1).expose({to.memory.data() + most, to.registration.get()});
  const std::vector<uint32_t> lengths = {most, 1, most - 64, 777};
  uint64_t accepted = 0;
  auto& arrivals = parties.channel(1, 0).recorder().arrivals;
  ASSERT_TRUE(parties.run_until([&] {
    if (accepted == lengths.size()) return arrivals.size() == accepted && out.transmitted() == accepted;
    SegmentHeader header = header_of(0, accepted, lengths[accepted]);
    header.flags = kSegmentPut;
    const SourceMemory source(from.memory.data() + accepted * most, from.registration.get());
    if (parties.channel(0, 1).put(header, source, named, accepted * most)) ++accepted;
    return false;
  })) << out.status().message();
  for (uint64_t n = 0; n < accepted; ++n) {
    EXPECT_EQ(arrivals[n].header.number, n);
    EXPECT_EQ(arrivals[n].header.flags & kSegmentPut, kSegmentPut);
    for (size_t i = 0; i < most; ++i) {
      const std::byte expected = i < lengths[n] ? pattern(0, n, i) : std::byte{0xA5};
      ASSERT_EQ(to.memory[(n + 1) * most + i], expected) << "segment " << n << ", byte " << i;
    }
  }
  for (size_t i = 0; i < most; ++i) {
    ASSERT_EQ(to.memory[i], std::byte{0xA5});
    ASSERT_EQ(to.memory[5 * size_t{most} + i], std::byte{0xA5});
  }
}

TEST_P(TransportPuts, MemoryThatIsRegisteredNoMoreFailsThePairInBoundedTime) {
  Parties parties(GetParam(), 2);
  parties.open(0, 1);
  Endpoint& out = parties.channel(0, 1).endpoint();
  const uint32_t most = parties.channel(0, 1).endpoint().traits().segment_bytes;
  Registered from(parties.transport(0), most, std::byte{1}), to(parties.transport(1), most, std::byte{0xA5});
  const RemoteMemory named = parties.transport(1).expose({to.memory.data(), to.registration.get()});
  to.registration.reset();
  bool accepted = false;
  EXPECT_TRUE(parties.run_until([&] {
    SegmentHeader header = header_of(0, 0, most);
    header.flags = kSegmentPut;
    accepted = accepted ||
               parties.channel(0, 1).put(header, {from.memory.data(), from.registration.get()}, named, 0);
    return !out.status().ok();
  }));
  EXPECT_EQ(out.status().code(), Code::kRemoteError) << out.status().message();
  EXPECT_NE(out.status().message().find("rank 1"), std::string::npos) << out.status().message();
  EXPECT_TRUE(
      std::all_of(to.memory.begin(), to.memory.end(), [](std::byte b) { return b == std::byte{0xA5}; }));
}

TEST_P(TransportPuts, AWordOfReadinessIsCopiedWhenItIsAccepted) {
  Parties parties(GetParam(), 2);
  parties.open(0, 1);
  const auto payload = payload_of(0, 5, sizeof(ReadyBody));
  auto& arrivals = parties.channel(1, 0).recorder().arrivals;
  bool accepted = false;
  EXPECT_TRUE(parties.run_until([&] {
    auto mine = payload;
    SegmentHeader header = header_of(0, 5, sizeof(ReadyBody));
    header.kind = SegmentKind::kReady;
    if (!accepted) accepted = parties.channel(0, 1).offer(header, mine.data());
    std::fill(mine.begin(), mine.end(), std::byte{0xDD});
    return !arrivals.empty();
  }));
  ASSERT_EQ(arrivals.size(), 1u);
  EXPECT_EQ(arrivals[0].payload, payload);
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(TransportPuts);

}  // namespace comity::conformance
