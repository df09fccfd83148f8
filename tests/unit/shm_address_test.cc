// What ranks tell each other before they trust each other's memory.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cstring>
#include <memory>

#include "tests/support/shm_ranks.h"
#include "tests/support/spawn.h"
#include "transports/shm/address.h"
#include "transports/shm/board.h"

namespace comity::shm {
namespace {

Address example() {
  Address address;
  address.host = "boot 1 net 2";
  address.uid = 1000;
  address.pid = 77;
  address.process = 0x123456789abcdef0u;
  address.socket_name = "comity-77";
  address.board_arena = 3;
  address.board_bytes = 1 << 20;
  address.probe_address = 0x7fff0000;
  address.probe_value = 99;
  address.cpus = first_cpus(70);
  return address;
}

TEST(ShmAddress, SurvivesTheWire) {
  const auto decoded = decode(encode(example()));
  ASSERT_TRUE(decoded.ok());
  EXPECT_EQ(encode(*decoded), encode(example()));
  EXPECT_EQ(decoded->socket_name, "comity-77");
  EXPECT_EQ(count(decoded->cpus), 70u);
  EXPECT_LE(encode(example()).size(), 4096u);
}

TEST(ShmAddress, IsRefusedWhenCutLengthenedOrOfAnotherVersion) {
  const auto whole = encode(example());
  for (size_t length = 0; length < whole.size(); ++length) {
    EXPECT_EQ(decode(std::span(whole).first(length)).status().code(), Code::kRemoteError) << length;
  }
  auto longer = whole;
  longer.push_back(std::byte{0});
  EXPECT_FALSE(decode(longer).ok());
  auto newer = whole;
  newer[4] = std::byte{9};
  EXPECT_FALSE(decode(newer).ok());
}

TEST(ShmAddress, CountsCoresThatAnyRankMayUse) {
  EXPECT_EQ(count(join(first_cpus(3), first_cpus(65))), 65u);
  EXPECT_GE(count(usable_cpus()), 1u);
}

TEST(ShmReach, AnswersUnsupportedForAnotherHost) {
  std::unique_ptr<Transport> here;
  std::unique_ptr<Transport> there;
  TransportContext context;
  context.nranks = 2;
  {
    const test::ScopedEnv host("COMITY_HOSTID", "here");
    here = make_shm_transport(context).value();
  }
  const test::ScopedEnv host("COMITY_HOSTID", "there");
  context.rank = 1;
  there = make_shm_transport(context).value();
  EXPECT_EQ(here->reach(1, there->address()).code(), Code::kUnsupported);
  EXPECT_EQ(here->group(test::first_ranks(2)), nullptr);
  EXPECT_EQ(here->endpoints(1).status().code(), Code::kInvalidUsage);
}

TEST(ShmReach, ReportsMemoryThatIsNotABoard) {
  auto transports = test::make_shm_threads(2);
  auto address = decode(transports[1]->address()).value();
  // Another rank's board in place of rank 1's: rank 0's own.
  address.board_arena = decode(transports[0]->address())->board_arena;
  const Status status = transports[0]->reach(1, encode(address));
  EXPECT_EQ(status.code(), Code::kRemoteError);
  address.board_arena = 0xfffffff;
  EXPECT_EQ(transports[0]->reach(1, encode(address)).code(), Code::kRemoteError);
}

struct Free {
  void operator()(std::byte* memory) const { std::free(memory); }
};

class ShmBoard : public testing::Test {
 protected:
  ShmBoard() : bytes_(Board::bytes_for(2)), memory_(static_cast<std::byte*>(std::calloc(1, bytes_ + 4096))) {
    void* aligned = memory_.get();
    size_t space = bytes_ + 4096;
    std::align(4096, bytes_, aligned, space);
    at_ = static_cast<std::byte*>(aligned);
  }
  uint64_t bytes_;
  std::unique_ptr<std::byte, Free> memory_;
  std::byte* at_;
};

TEST_F(ShmBoard, OpensOnlyAsWhatItIs) {
  EXPECT_FALSE(Board::open(at_, bytes_, 5).ok()) << "nothing is written yet";
  Board::create(at_, 5, 2);
  EXPECT_TRUE(Board::open(at_, bytes_, 5).ok());
  EXPECT_FALSE(Board::open(at_, bytes_, 6).ok());
  EXPECT_FALSE(Board::open(at_, bytes_ - 1, 5).ok()) << "its rings would end beyond the mapping";
}

TEST_F(ShmBoard, GivesRingsAndGroupsUntilNoneIsLeft) {
  const Board board = Board::create(at_, 0, 2);
  EXPECT_EQ(board.find_ring(9), -1);
  EXPECT_EQ(board.take_ring(9), 0);
  EXPECT_EQ(board.take_ring(4), 1);
  EXPECT_EQ(board.take_ring(9), 0);
  EXPECT_EQ(board.find_ring(4), 1);
  EXPECT_EQ(board.take_ring(5), -1);
  for (uint64_t key = 1; key <= kMaxGroups; ++key)
    EXPECT_EQ(board.take_group(key * 7), static_cast<int>(key - 1));
  EXPECT_EQ(board.find_group(14), 1);
  EXPECT_EQ(board.take_group(1), -1);
}

TEST(ShmGroupKey, TellsMembersAndTheirOrderApart) {
  const uint32_t a[] = {0, 1, 2};
  const uint32_t b[] = {0, 2, 1};
  const uint32_t c[] = {0, 1};
  EXPECT_NE(group_key(a), group_key(b));
  EXPECT_NE(group_key(a), group_key(c));
}

TEST(ShmAddress, BlamesTheLimitOfDescriptorsAndNotProc) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none{3, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  const Result<std::string> host = this_host();
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  ASSERT_FALSE(host.ok());
  EXPECT_NE(host.status().message().find("Too many open files (this process may have 3: raise `ulimit -n`)"),
            std::string_view::npos)
      << host.status().message();
}

}  // namespace
}  // namespace comity::shm
