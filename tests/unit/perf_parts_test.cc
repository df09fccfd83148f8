// Sizes, the board, the shapes of collectives and the limits' arithmetic.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "comity/comity.h"
#include "perf/core/collective.h"
#include "perf/core/options.h"
#include "perf/core/session.h"
#include "perf/job/board.h"
#include "perf/job/launch.h"
#include "perf/job/sizes.h"
#include "perf/limits/limits.h"
#include "src/api/id_file.h"
#include "src/base/clock.h"

namespace comity::perf {
namespace {

TEST(PerfSizes, TakeSuffixesOfPowersOf1024) {
  const std::pair<const char*, uint64_t> cases[] = {
      {"8", 8},          {"1k", 1024},  {"4K", 4096}, {"128M", 128 << 20}, {"2G", 2ull << 30}, {"1.5K", 1536},
      {"1MiB", 1 << 20}, {"3KB", 3072}, {"0", 0}};
  for (const auto& [text, bytes] : cases) {
    const Result<uint64_t> parsed = parse_bytes(text);
    ASSERT_TRUE(parsed.ok()) << text;
    EXPECT_EQ(*parsed, bytes) << text;
  }
  EXPECT_EQ(format_bytes(64 << 20), "64M");
  EXPECT_EQ(format_bytes(1000), "1000");
}

TEST(PerfSizes, RefuseWhatIsNoSizeAndQuoteIt) {
  for (const char* text : {"", "x", "-1", "1X", "1.2.3", "8 M", "99999999999999T", "1KiBs"}) {
    const Result<uint64_t> parsed = parse_bytes(text);
    ASSERT_FALSE(parsed.ok()) << text;
    EXPECT_EQ(parsed.status().code(), Code::kInvalidArgument);
    EXPECT_NE(parsed.status().message().find(text), std::string_view::npos);
  }
}

// Runs `body(board, rank)` on as many threads as ranks.
template <typename Body>
void on_ranks(int nranks, Body body) {
  const Result<UniqueFd> fd = SharedBoard::create(nranks);
  ASSERT_TRUE(fd.ok());
  std::vector<std::thread> threads;
  for (int rank = 0; rank < nranks; ++rank) {
    threads.emplace_back([&, rank] {
      const auto board = SharedBoard::attach(fd->get(), rank, nranks);
      ASSERT_TRUE(board.ok());
      body(**board, rank);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(PerfBoard, CombinesMoreValuesThanItHasRoomForAtOnce) {
  on_ranks(3, [](SharedBoard& board, int rank) {
    std::vector<double> values(2500);
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = i % 3 == static_cast<size_t>(rank) ? 1000.0 + i : -1.0;
    ASSERT_TRUE(board.max_over_ranks(values).ok());
    for (size_t i = 0; i < values.size(); ++i) ASSERT_EQ(values[i], 1000.0 + i);
    const Result<uint64_t> sum = board.sum_over_ranks(static_cast<uint64_t>(rank) + (uint64_t{1} << 60));
    ASSERT_TRUE(sum.ok());
    EXPECT_EQ(*sum, 3 * (uint64_t{1} << 60) + 3);
  });
}

TEST(PerfBoard, NobodyStartsBeforeEverybodyCame) {
  on_ranks(3, [](SharedBoard& board, int) {
    for (int i = 0; i < 200; ++i) {
      double came = static_cast<double>(now_ns());
      ASSERT_TRUE(board.start_together().ok());
      const auto started = static_cast<double>(now_ns());
      ASSERT_TRUE(board.max_over_ranks({&came, 1}).ok());
      ASSERT_GE(started, came);
    }
  });
}

TEST(PerfBoard, HandsTheIdToThoseWhoWait) {
  on_ranks(2, [](SharedBoard& board, int rank) {
    BoardId id{};
    id[5] = 'x';
    if (rank == 0) {
      board.publish_id(id);
    } else {
      const Result<BoardId> got = board.await_id();
      ASSERT_TRUE(got.ok());
      EXPECT_EQ(*got, id);
    }
  });
}

TEST(PerfIdFile, IsWholeOrAbsentAndNeverReplaced) {
  const std::string path = testing::TempDir() + "comity-id-" + std::to_string(getpid());
  comityUniqueId id;
  for (size_t i = 0; i < sizeof id.internal; ++i) id.internal[i] = static_cast<char>(i * 37);
  ASSERT_TRUE(api::write_id_file(path, id).ok());
  EXPECT_FALSE(api::write_id_file(path, id).ok());
  const Result<comityUniqueId> read = api::await_id_file(path);
  std::remove(path.c_str());
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(std::string(read->internal, sizeof id.internal), std::string(id.internal, sizeof id.internal));
}

TEST(PerfIdFile, HexThatIsNoIdIsRefused) {
  EXPECT_FALSE(api::id_from_hex("12").ok());
  EXPECT_FALSE(api::id_from_hex(std::string(256, 'g')).ok());
  EXPECT_TRUE(api::id_from_hex(std::string(256, 'a')).ok());
}

TEST(PerfLaunch, RefusesAWorldThatItDidNotMake) {
  for (const char* text : {"", "1", "2/2/3", "-1/2/3", "0/1/999", "0/1/0/4", "a/b/c"}) {
    setenv("COMITY_PERF_WORLD", text, 1);
    EXPECT_FALSE(world_from_environment().ok()) << text;
  }
  unsetenv("COMITY_PERF_WORLD");
  const auto none = world_from_environment();
  ASSERT_TRUE(none.ok());
  EXPECT_FALSE(none->has_value());
}

TEST(PerfCollective, EveryElementOfAResultIsExpectedOnce) {
  const Shape gather{10, 40, 10}, scatter{40, 10, 10}, whole{40, 40, 40};
  const std::vector<Piece> gathered = expected_pieces(Collective::kAllGather, gather, 1, 4, 0);
  ASSERT_EQ(gathered.size(), 4u);
  for (int from = 0; from < 4; ++from) {
    const Piece& piece = gathered[static_cast<size_t>(from)];
    EXPECT_EQ(piece.from, from);
    EXPECT_EQ(piece.recv_offset, static_cast<size_t>(from) * 10);
    EXPECT_EQ(piece.first, 0u);
  }
  const std::vector<Piece> scattered = expected_pieces(Collective::kReduceScatter, scatter, 2, 4, 0);
  ASSERT_EQ(scattered.size(), 1u);
  EXPECT_EQ(scattered[0].first, 20u);
  EXPECT_EQ(scattered[0].count, 10u);
  EXPECT_EQ(expected_pieces(Collective::kReduce, whole, 1, 4, 0).size(), 0u);
  EXPECT_EQ(expected_pieces(Collective::kBroadcast, whole, 1, 4, 3)[0].from, 3);
  EXPECT_EQ(in_place_offsets(Collective::kAllGather, gather, 3).send_offset, 30u);
  EXPECT_EQ(in_place_offsets(Collective::kReduceScatter, scatter, 3).recv_offset, 30u);
}

TEST(PerfCollective, BlocksOfPairsAreWhatTheSenderLaidThere) {
  for (const int nranks : {1, 2, 3, 8}) {
    const size_t unit = 5, whole = unit * static_cast<size_t>(nranks * (nranks + 1) / 2);
    for (int rank = 0; rank < nranks; ++rank) {
      size_t given = 0, got = 0;
      for (int peer = 0; peer < nranks; ++peer) {
        const std::vector<Piece> pieces =
            expected_pieces(Collective::kAllToAllV, {whole, whole, unit}, peer, nranks, 0);
        const Piece& mine = pieces[static_cast<size_t>(rank)];
        EXPECT_EQ(mine.from, rank);
        EXPECT_EQ(mine.first, given);  // where rank's block for peer begins
        EXPECT_EQ(mine.count, pair_count(unit, rank, peer, nranks));
        given += mine.count;
        got += pair_count(unit, peer, rank, nranks);
      }
      EXPECT_EQ(given, whole);
      EXPECT_EQ(got, whole);
    }
  }
}

TEST(PerfCollective, TheNewOnesExpectWhatComityHPromises) {
  const Shape shape{40, 40, 10};
  const std::vector<Piece> turned = expected_pieces(Collective::kAllToAll, shape, 2, 4, 0);
  ASSERT_EQ(turned.size(), 4u);
  EXPECT_EQ(turned[3].from, 3);
  EXPECT_EQ(turned[3].recv_offset, 30u);
  EXPECT_EQ(turned[3].first, 20u);
  EXPECT_EQ(turned[3].count, 10u);
  const Shape gather{10, 40, 10}, scatter{40, 10, 10};
  EXPECT_EQ(expected_pieces(Collective::kGather, gather, 1, 4, 0).size(), 0u);
  EXPECT_EQ(expected_pieces(Collective::kGather, gather, 0, 4, 0).size(), 4u);
  const std::vector<Piece> scattered = expected_pieces(Collective::kScatter, scatter, 2, 4, 1);
  ASSERT_EQ(scattered.size(), 1u);
  EXPECT_EQ(scattered[0].from, 1);
  EXPECT_EQ(scattered[0].first, 20u);
  EXPECT_FALSE(has_input(Collective::kScatter, 2, 1));
  EXPECT_TRUE(has_input(Collective::kScatter, 1, 1));
  EXPECT_TRUE(has_input(Collective::kGather, 2, 1));
  EXPECT_EQ(in_place_offsets(Collective::kGather, gather, 3).send_offset, 30u);
  EXPECT_EQ(in_place_offsets(Collective::kScatter, scatter, 3).recv_offset, 30u);
  EXPECT_EQ(expected_pieces(Collective::kExchange, {8, 8, 8}, 0, 4, 0)[0].from, 3);
}

TEST(PerfLimits, TrafficIsTheLeastThatMustBeReadAndWritten) {
  EXPECT_EQ(least_traffic_bytes(Collective::kAllReduce, 100, 4), 800);
  EXPECT_EQ(least_traffic_bytes(Collective::kReduce, 100, 4), 500);
  EXPECT_EQ(least_traffic_bytes(Collective::kAllGather, 100, 4), 500);
  EXPECT_EQ(least_traffic_bytes(Collective::kBarrier, 0, 4), 0);
}

TEST(PerfLimits, AlphaIsALineOrTakingTurns) {
  const Alpha alpha{50, 1000, 2};
  EXPECT_EQ(alpha_ns(alpha, 1), 0);
  EXPECT_EQ(alpha_ns(alpha, 2), 50);
  EXPECT_EQ(alpha_ns(alpha, 4), 4000);
}

TEST(PerfLimits, MemoryBandwidthIsMeasuredByAllRanksTogether) {
  on_ranks(2, [](SharedBoard& board, int) {
    std::vector<std::byte> memory(2 * 65536 + 64);
    const auto past = reinterpret_cast<uintptr_t>(memory.data()) % 64;
    std::byte* aligned = memory.data() + (past == 0 ? 0 : 64 - past);
    const Result<double> rate = memory_bandwidth(board, 2, {aligned, aligned + 65536, 65536});
    ASSERT_TRUE(rate.ok());
    EXPECT_GT(*rate, 1e7);
    EXPECT_LT(*rate, 1e14);
  });
}

TEST(PerfOptions, SizesGoByFactorOrByStep) {
  Options options;
  options.min_bytes = 8;
  options.max_bytes = 200;
  options.step_factor = 4;
  EXPECT_EQ(options.sizes(), (std::vector<uint64_t>{8, 32, 128}));
  options.step_factor = 1;
  options.step_bytes = 96;
  EXPECT_EQ(options.sizes(), (std::vector<uint64_t>{8, 104, 200}));
}

TEST(PerfOptions, LargeSizesGetFewerIterationsButSome) {
  Options options;
  options.iterations = 1000;
  EXPECT_EQ(options.iterations_for(1 << 30), 1000);
  options.volume_bytes = 1 << 20;
  EXPECT_EQ(options.iterations_for(8), 1000);
  EXPECT_EQ(options.iterations_for(1 << 16), 16);
  EXPECT_EQ(options.iterations_for(1 << 30), 5);
}

}  // namespace
}  // namespace comity::perf
