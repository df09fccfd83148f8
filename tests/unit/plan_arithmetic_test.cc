// Chunks, tiles, expansion of groups and hashes.

#include <gtest/gtest.h>

#include "src/plan/plan.h"
#include "tests/support/hand_plans.h"

namespace comity::test {
namespace {

using plan::Shape;

constexpr uint64_t kEdges[] = {0,
                               1,
                               63,
                               64,
                               65,
                               127,
                               128,
                               4095,
                               1u << 20,
                               (1u << 20) + 1,
                               uint64_t{1} << 40,
                               uint64_t{1} << 61,
                               uint64_t{1} << 62};

Shape weighted(std::vector<uint32_t> weights) {
  Shape shape;
  shape.weights = std::move(weights);
  return shape;
}

class Chunks : public ::testing::TestWithParam<std::vector<uint32_t>> {};

TEST_P(Chunks, CoverTheTileInOrderOnBoundariesOf64Bytes) {
  const Shape shape = weighted(GetParam());
  const auto chunks = static_cast<uint32_t>(shape.weights.size());
  std::vector<uint64_t> begins;
  for (const uint64_t length : kEdges) {
    plan::chunk_begins(shape, length, begins);
    ASSERT_EQ(begins.size(), chunks + 1u);
    EXPECT_EQ(begins[0], 0u);
    EXPECT_EQ(begins[chunks], length);
    for (uint32_t chunk = 0; chunk < chunks; ++chunk) {
      EXPECT_LE(begins[chunk], begins[chunk + 1]);
      EXPECT_EQ(begins[chunk] % 64, 0u);
      if (chunk < 64 || chunk % 8192 == 0) {
        EXPECT_EQ(plan::chunk_begin(shape, length, chunk), begins[chunk]);
      }
    }
    EXPECT_EQ(plan::chunk_begin(shape, length, chunks), length);
  }
}

TEST_P(Chunks, LieWithin64BytesOfTheirShare) {
  const Shape shape = weighted(GetParam());
  double total = 0, before = 0;
  for (const uint32_t weight : shape.weights) total += weight;
  std::vector<uint64_t> begins;
  plan::chunk_begins(shape, 1u << 30, begins);
  for (size_t chunk = 0; chunk < shape.weights.size(); ++chunk) {
    const double share = static_cast<double>(1u << 30) * before / total;
    EXPECT_LE(static_cast<double>(begins[chunk]), share + 1);
    EXPECT_GT(static_cast<double>(begins[chunk]), share - 65);
    before += shape.weights[chunk];
  }
}

INSTANTIATE_TEST_SUITE_P(Weights, Chunks,
                         ::testing::Values(std::vector<uint32_t>{1}, std::vector<uint32_t>{1, 1, 1},
                                           std::vector<uint32_t>{1, 65536},
                                           std::vector<uint32_t>{65536, 1, 3, 7},
                                           std::vector<uint32_t>(64, 1),
                                           std::vector<uint32_t>(65536, 65536)));

TEST(Chunks, AreComputedIn128Bits) {
  const Shape shape = weighted({65536, 65536, 65536});
  EXPECT_EQ(plan::chunk_begin(shape, uint64_t{3} << 60, 1), uint64_t{1} << 60);
  EXPECT_EQ(plan::chunk_begin(shape, uint64_t{3} << 60, 2), uint64_t{2} << 60);
}

TEST(Chunks, OfAShortTileAreEmptyButTheLast) {
  const Shape shape = weighted({1, 1, 1, 1});
  std::vector<uint64_t> begins;
  plan::chunk_begins(shape, 63, begins);
  EXPECT_EQ(begins, (std::vector<uint64_t>{0, 0, 0, 0, 63}));
  plan::chunk_begins(shape, 65, begins);
  EXPECT_EQ(begins, (std::vector<uint64_t>{0, 0, 0, 0, 65}));
  plan::chunk_begins(shape, 256, begins);
  EXPECT_EQ(begins, (std::vector<uint64_t>{0, 64, 128, 192, 256}));
}

TEST(Tiles, CoverTheBlock) {
  for (const uint64_t tile_bytes : {uint64_t{64}, uint64_t{4096}, uint64_t{1} << 20, plan::kWholeBlock}) {
    Shape shape;
    shape.tile_bytes = tile_bytes;
    for (const uint64_t block : {uint64_t{0}, uint64_t{1}, uint64_t{63}, uint64_t{64}, uint64_t{65},
                                 uint64_t{4096}, uint64_t{100000}}) {
      uint64_t sum = 0;
      const uint64_t tiles = plan::tile_count(shape, block);
      for (uint64_t tile = 0; tile < tiles; ++tile) {
        const uint64_t length = plan::tile_length(shape, block, tile);
        EXPECT_GT(length, 0u);
        EXPECT_LE(length, tile_bytes);
        if (tile + 1 < tiles) {
          EXPECT_EQ(length, tile_bytes);
        }
        sum += length;
      }
      EXPECT_EQ(sum, block);
      EXPECT_EQ(plan::tile_length(shape, block, tiles), 0u);
    }
  }
}

TEST(Tiles, AreCountedWithoutOverflow) {
  Shape shape;
  shape.tile_bytes = 64;
  EXPECT_EQ(plan::tile_count(shape, UINT64_MAX), uint64_t{1} << 58);
  EXPECT_EQ(plan::tile_length(shape, UINT64_MAX, (uint64_t{1} << 58) - 1), 63u);
  shape.tile_bytes = plan::kWholeBlock;
  EXPECT_EQ(plan::tile_count(shape, UINT64_MAX), 1u);
  EXPECT_EQ(plan::tile_length(shape, uint64_t{1} << 61, 0), uint64_t{1} << 61);
}

TEST(Blocks, AreOnePerRankWhereRanksContributeOrGetDifferentOnes) {
  Shape shape;
  shape.nranks = 5;
  const auto blocks = [&](Collective collective) {
    shape.collective = collective;
    return std::pair(plan::input_blocks(shape), plan::output_blocks(shape));
  };
  EXPECT_EQ(blocks(Collective::kAllReduce), std::pair(1u, 1u));
  EXPECT_EQ(blocks(Collective::kReduce), std::pair(1u, 1u));
  EXPECT_EQ(blocks(Collective::kBroadcast), std::pair(1u, 1u));
  EXPECT_EQ(blocks(Collective::kAllGather), std::pair(1u, 5u));
  EXPECT_EQ(blocks(Collective::kReduceScatter), std::pair(5u, 1u));
  EXPECT_EQ(blocks(Collective::kBarrier), std::pair(0u, 0u));
}

TEST(Expand, LeavesPrimitiveStepsAsTheyAre) {
  for (const plan::Plan& plan : hand_plans()) {
    for (const plan::Part& part : plan.parts) {
      if (!plan::has_groups(part)) {
        EXPECT_EQ(plan::expand(part), part);
      }
    }
  }
}

TEST(Expand, RewritesDependenciesAndLandings) {
  const plan::Part part = plan::expand(groups_of_four().parts[0]);
  EXPECT_FALSE(plan::has_groups(part));
  EXPECT_TRUE(part.groups.empty());
  const auto& steps = part.lanes[0].steps;
  ASSERT_EQ(steps.size(), 7u);
  EXPECT_EQ(steps[0], recv(1, landed(0)));
  EXPECT_EQ(steps[1], reduce({in(), landed(0)}, slot(0), {on(0)}));
  EXPECT_EQ(steps[2], send(2, slot(0), {on(0), on(1)}));
  EXPECT_EQ(steps[3], recv(2, landed(3), {on(0), on(1)}));
  EXPECT_EQ(steps[4], reduce({slot(0), landed(3)}, slot(1), {on(3)}, true));
  EXPECT_EQ(steps[5], send(1, slot(1), {on(2), on(3), on(4)}));
  EXPECT_EQ(steps[6], copy(slot(1), out(), {on(2), on(3), on(4)}));
}

TEST(Expand, KeepsDependenciesThroughAnEmptyDefinition) {
  plan::Part part;
  part.groups.resize(1);
  part.lanes.resize(1);
  part.lanes[0].steps = {copy(in(), slot(0)), group(0, {}, {}, {in_place(0)}), copy(slot(0), out(), {on(1)})};
  const plan::Part expanded = plan::expand(part);
  ASSERT_EQ(expanded.lanes[0].steps.size(), 2u);
  EXPECT_EQ(expanded.lanes[0].steps[1].after, std::vector<plan::After>{in_place(0)});
}

}  // namespace
}  // namespace comity::test
