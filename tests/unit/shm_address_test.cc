// What ranks tell each other before they trust each other's memory.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>

#include "src/base/berth.h"
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
  auto address = decode(transports[0]->address()).value();
  // Another rank's boards in place of those that rank 0 made: rank 1's own.
  address.board_arena = decode(transports[1]->address())->board_arena;
  const Status status = transports[1]->reach(0, encode(address));
  EXPECT_EQ(status.code(), Code::kRemoteError);
  address.board_arena = 0xfffffff;
  EXPECT_EQ(transports[1]->reach(0, encode(address)).code(), Code::kRemoteError);
}

std::size_t entries_of(const char* folder) {
  return static_cast<std::size_t>(
      std::distance(std::filesystem::directory_iterator(folder), std::filesystem::directory_iterator()));
}

std::size_t mappings() {
  std::ifstream maps("/proc/self/maps");
  return static_cast<std::size_t>(
      std::count(std::istreambuf_iterator<char>(maps), std::istreambuf_iterator<char>(), '\n'));
}

// As communicators that are split off and destroyed: 8 ranks, 100 times.
TEST(ShmMaker, CostsADescriptorPerCommunicatorAndNothingOnceItIsGone) {
  ShmOptions options;
  options.maker = 0;
  const auto make = [&] {
    auto transports = test::make_shm_threads(8, options);
    for (auto& transport : transports) EXPECT_NE(transport->group(test::first_ranks(8)), nullptr);
    return transports;
  };
  make();  // what a process opens once
  const std::size_t before = entries_of("/proc/self/fd"), mapped = mappings();
  {
    const auto living = make();
    EXPECT_EQ(entries_of("/proc/self/fd"), before + 1);
  }
  for (int round = 0; round < 100; ++round) make();
  EXPECT_EQ(entries_of("/proc/self/fd"), before);
  EXPECT_LE(mappings(), mapped + 4) << "malloc may map anew";
}

TEST(ShmMaker, ThatMadeNothingIsTold) {
  ShmOptions maker, other;
  maker.maker = 1;  // rank 0 takes rank 1 for the maker, and rank 1 rank 0
  other.maker = 0;
  TransportContext context;
  context.nranks = 2;
  auto first = make_shm_transport(context, maker).value();
  context.rank = 1;
  auto second = make_shm_transport(context, other).value();
  const Status status = first->reach(1, second->address());
  EXPECT_EQ(status.code(), Code::kRemoteError);
  EXPECT_NE(status.message().find("rank 1"), std::string_view::npos) << status.message();
  EXPECT_EQ(first->group(test::first_ranks(2)), nullptr);
  const BerthLoan berth = borrow_berth();  // sleeps, and wakes, without a board
  berth->open(true);
  first->arm(*berth);
  berth->ring();
  berth->sleep(60'000'000'000);
  first->disarm(*berth);
  berth->close();
}

struct Free {
  void operator()(std::byte* memory) const { std::free(memory); }
};

class ShmBoard : public testing::Test {
 protected:
  ShmBoard()
      : bytes_(BoardRegion::bytes_for(3)), memory_(static_cast<std::byte*>(std::calloc(1, bytes_ + 4096))) {
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
  EXPECT_FALSE(BoardRegion::open(at_, bytes_, 1, 3).ok()) << "nothing is written yet";
  BoardRegion::create(at_, 1, 3);
  EXPECT_TRUE(BoardRegion::open(at_, bytes_, 1, 3).ok());
  EXPECT_FALSE(BoardRegion::open(at_, bytes_, 2, 3).ok());
  EXPECT_FALSE(BoardRegion::open(at_, bytes_, 1, 4).ok());
  EXPECT_FALSE(BoardRegion::open(at_, bytes_ - 1, 1, 3).ok()) << "its rings would end beyond the mapping";
}

TEST_F(ShmBoard, GivesRingsAndGroupsUntilNoneIsLeft) {
  const Board board = BoardRegion::create(at_, 0, 3).board(1);
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

// Every part of every board is written whole; nothing may be another's, or outside.
TEST_F(ShmBoard, NoTwoBoardsShareAByte) {
  const BoardRegion region = BoardRegion::create(at_, 0, 3);
  std::vector<std::pair<const std::byte*, size_t>> parts = {{at_, sizeof(RegionHeader)}};
  const auto add = [&](const auto& part) {
    parts.emplace_back(reinterpret_cast<const std::byte*>(&part), sizeof(part));
  };
  for (uint32_t rank = 0; rank < 3; ++rank) {
    const Board board = region.board(rank);
    add(board.doorbell());
    for (int i = 0; i < static_cast<int>(kMaxRings); ++i) add(board.ring_control(i));
    for (int i = 0; i < 2; ++i) add(board.ring(i));
    for (int i = 0; i < static_cast<int>(kMaxGroups); ++i) {
      add(board.group_lines(i));
      add(board.group_buffers(i));
    }
  }
  std::sort(parts.begin(), parts.end());
  for (size_t i = 0; i + 1 < parts.size(); ++i)
    EXPECT_LE(parts[i].first + parts[i].second, parts[i + 1].first);
  EXPECT_LE(parts.back().first + parts.back().second, at_ + bytes_);
}

TEST(ShmGroupKey, TellsMembersAndTheirOrderApart) {
  const uint32_t a[] = {0, 1, 2};
  const uint32_t b[] = {0, 2, 1};
  const uint32_t c[] = {0, 1};
  EXPECT_NE(group_key(a), group_key(b));
  EXPECT_NE(group_key(a), group_key(c));
}

TEST(ShmAddress, BlamesTheLimitOfDescriptorsAndNotProc) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP()
      << "needs a build without UBSan, which itself opens a pipe for each virtual call that it checks";
#endif
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
