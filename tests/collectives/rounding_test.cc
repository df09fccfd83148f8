// How often partial results of 8- and 16-bit floats are rounded, against the bound that is stated for each
// choice: all types, 2 to 17 ranks on 1 to 4 hosts, short and long blocks, chosen, forced and in fp32.
#include <gtest/gtest.h>

#include <fmt/core.h>

#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <numeric>
#include <tuple>

#include "tests/support/effort.h"
#include "tests/support/reduce_reference.h"
#include "tests/support/rounding.h"
#include "tests/support/sim_world.h"

namespace comity::test {
namespace {

using algorithms::Accumulate;

constexpr uint32_t kMostRanks = 17;
constexpr uint64_t kShort = 37;
constexpr uint64_t kLong =
    kInstrumented ? 1500 : 5001;  // in the figures below, far beyond what latency rules
constexpr RedOp kOps[] = {RedOp::kSum, RedOp::kAvg, RedOp::kProd};
constexpr Collective kReductions[] = {Collective::kAllReduce, Collective::kReduce,
                                      Collective::kReduceScatter};

DeviceRegistry& registry() {
  static DeviceRegistry& instance = *[] {
    auto made = DeviceRegistry::open("host,sim");
    if (!made.ok()) std::abort();
    return made->release();
  }();
  return instance;
}

// Ranks in runs of nearly equal length, on links so slow that kLong elements are many.
topology::Topology placed(uint32_t ranks, uint32_t hosts) {
  topology::Topology topology;
  for (uint32_t rank = 0; rank < ranks; ++rank) topology.group_of_rank.push_back(rank * hosts / ranks);
  topology.inside = {300, 400'000'000, 1, false, "shm"};
  topology.across = {20'000, 20'000'000, 1, false, "tcp"};
  return topology;
}

const RoundingCase& case_of(DataType type, RedOp op, uint32_t ranks) {
  static std::map<std::tuple<DataType, RedOp, uint32_t>, std::unique_ptr<RoundingCase>> made;
  auto& its = made[{type, op, ranks}];
  if (its == nullptr) its = std::make_unique<RoundingCase>(type, op, ranks, kLong * ranks);
  return *its;
}

class World {
 public:
  World(uint32_t ranks, uint32_t hosts, const std::string& forced, Accumulate accumulate,
        Device& device = registry().host())
      : ranks_(ranks), device_(device) {
    SimWorldOptions options;
    options.nranks = ranks;
    options.topology = placed(ranks, hosts);
    options.forced = forced;
    options.rules.accumulate = accumulate;
    options.devices = &registry();
    world_ = std::make_unique<SimWorld>(options);
    what_ = fmt::format("{} ranks on {} hosts, {}{}", ranks, hosts, forced.empty() ? "chosen" : forced,
                        accumulate == Accumulate::kFp32 ? ", in fp32" : "");
  }

  // Runs one call and checks each rank's result.
  void run(Collective collective, const RoundingCase& numbers, uint64_t count, bool in_place) {
    const algorithms::Range& range =
        world_->selection().pick(collective, count * size_of(numbers.type()), partials(numbers));
    const uint32_t root = ranks_ / 2;
    const bool scatters = collective == Collective::kReduceScatter;
    const size_t size = size_of(numbers.type());
    const uint64_t in = count * size * (scatters ? ranks_ : 1), out = count * size;
    std::vector<std::byte*> inputs, outputs;
    std::vector<engine::Call> calls;
    for (uint32_t rank = 0; rank < ranks_; ++rank) {
      inputs.push_back(allocate(in));
      outputs.push_back(in_place ? inputs[rank] + (scatters ? rank * out : 0) : allocate(out));
      move(inputs[rank], numbers.input(rank).data(), in);
      calls.push_back({collective, numbers.type(), numbers.op(), count, root, inputs[rank], outputs[rank]});
    }
    const Status status = world_->run(calls);
    ASSERT_TRUE(status.ok()) << what_ << ": " << status.message();
    std::vector<std::byte> got(out), first(out);
    for (uint32_t rank = 0; rank < ranks_; ++rank) {
      if (collective == Collective::kReduce && rank != root) continue;
      move(got.data(), outputs[rank], out);
      const std::string wrong =
          numbers.wrong(got.data(), scatters ? rank * count : 0, count, range.roundings);
      ASSERT_EQ(wrong, "") << what_ << ", " << name_of(collective) << " by " << range.algorithm->name << " ("
                           << range.why << "), " << count << " elements, rank " << rank;
      if (rank == 0) first = got;
      if (collective == Collective::kAllReduce) {
        ASSERT_EQ(got, first) << what_ << ": rank " << rank << " has other bits than rank 0";
      }
    }
    for (uint32_t rank = 0; rank < ranks_; ++rank) {
      EXPECT_TRUE(device_.release(inputs[rank]).ok());
      if (!in_place) {
        EXPECT_TRUE(device_.release(outputs[rank]).ok());
      }
    }
  }
  const algorithms::Selection& selection() const { return world_->selection(); }

 private:
  static Partials partials(const RoundingCase& numbers) { return partials_of(numbers.type(), numbers.op()); }
  std::byte* allocate(uint64_t bytes) {
    auto memory = device_.allocate(bytes);
    EXPECT_TRUE(memory.ok()) << memory.status().message();
    return static_cast<std::byte*>(*memory);
  }
  void move(void* to, const void* from, uint64_t bytes) {
    auto token = device_.copy(0, to, from, bytes);
    ASSERT_TRUE(token.ok()) << token.status().message();
    for (;;) {
      auto done = device_.poll(0, *token);
      ASSERT_TRUE(done.ok());
      if (*done) return;
    }
  }

  uint32_t ranks_;
  Device& device_;
  std::unique_ptr<SimWorld> world_;
  std::string what_;
};

class Rounding : public testing::TestWithParam<uint32_t> {};

TEST_P(Rounding, OfWhatIsChosenIsAtMostOncePerLevel) {
  const uint32_t ranks = GetParam();
  for (uint32_t hosts = 1; hosts <= 4 && hosts <= ranks; ++hosts) {
    World world(ranks, hosts, "", Accumulate::kByLevel);
    const uint32_t levels = (hosts > 1 ? 1 : 0) + (ranks > hosts ? 1 : 0);
    for (const Collective collective : kReductions) {
      for (const Partials partials : {Partials::kRounded16, Partials::kRounded8}) {
        for (const algorithms::Range& range : world.selection().ranges(collective, partials))
          EXPECT_LE(range.roundings, levels) << range.algorithm->name << " from " << range.min_bytes;
      }
      for (const DataType type : kNarrowFloats) {
        for (const RedOp op : kOps) {
          world.run(collective, case_of(type, op, ranks), kShort, false);
          world.run(collective, case_of(type, op, ranks), kLong, op == RedOp::kAvg);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

TEST_P(Rounding, InFp32IsOnceWhateverIsChosen) {
  const uint32_t ranks = GetParam();
  for (uint32_t hosts = 1; hosts <= 4 && hosts <= ranks; ++hosts) {
    World world(ranks, hosts, "", Accumulate::kFp32);
    for (const Collective collective : kReductions) {
      for (const DataType type : kNarrowFloats) {
        for (const RedOp op : kOps) {
          world.run(collective, case_of(type, op, ranks), kShort, true);
          world.run(collective, case_of(type, op, ranks), kLong, op == RedOp::kProd);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

TEST_P(Rounding, OfWhatIsForcedIsWhatItStates) {
  const uint32_t ranks = GetParam();
  for (uint32_t hosts = 1; hosts <= 4 && hosts <= ranks; ++hosts) {
    uint32_t turn = ranks + hosts;
    for (const algorithms::Algorithm& algorithm : algorithms::all()) {
      if (!is_reduction(algorithm.collective) || !algorithm.applies(placed(ranks, hosts))) continue;
      const std::string forced = fmt::format("{}:{}", name_of(algorithm.collective), algorithm.name);
      for (const Accumulate accumulate : {Accumulate::kByLevel, Accumulate::kFp32}) {
        World world(ranks, hosts, forced, accumulate);
        for (const DataType type : kNarrowFloats) {
          const RedOp op = kOps[turn++ % 3];
          world.run(algorithm.collective, case_of(type, op, ranks), kShort, turn % 2 == 0);
          world.run(algorithm.collective, case_of(type, RedOp::kAvg, ranks), kLong, turn % 2 != 0);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

std::vector<uint32_t> rank_counts() {
  if (kInstrumented) return {2, 3, 4, 7, kMostRanks};  // the code is the same for those between
  std::vector<uint32_t> all(kMostRanks - 1);
  std::iota(all.begin(), all.end(), 2u);
  return all;
}

INSTANTIATE_TEST_SUITE_P(Ranks, Rounding, testing::ValuesIn(rank_counts()));

TEST(RoundingOnADevice, IsWhatItIsOnTheHost) {
  Device& device = *registry().find("sim");
  for (const uint32_t ranks : {2u, 3u, 5u}) {
    for (const char* forced : {"", "all_reduce:ring,reduce:chain,reduce_scatter:ring"}) {
      for (const Accumulate accumulate : {Accumulate::kByLevel, Accumulate::kFp32}) {
        World world(ranks, 2, forced, accumulate, device);
        for (const Collective collective : kReductions) {
          for (const DataType type : kNarrowFloats) {
            world.run(collective, case_of(type, RedOp::kAvg, ranks), kShort, true);
            world.run(collective, case_of(type, RedOp::kSum, ranks), kLong, false);
            if (HasFatalFailure()) return;
          }
        }
      }
    }
  }
}

// Several tiles in flight, whose images and landings are used again.
TEST(RoundingOfManyTiles, IsThatOfOne) {
  constexpr uint64_t kMany = 700'003;
  const RoundingCase numbers(DataType::kBfloat16, RedOp::kAvg, 4, kMany);
  for (const uint32_t hosts : {1u, 2u}) {
    for (const char* forced : {"", "all_reduce:ring", "all_reduce:double_binary_tree"}) {
      for (const Accumulate accumulate : {Accumulate::kByLevel, Accumulate::kFp32}) {
        World world(4, hosts, forced, accumulate);
        for (const bool in_place : {false, true}) world.run(Collective::kAllReduce, numbers, kMany, in_place);
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST(RoundingCases, TellRoundingOnceFromRoundingAtEveryHop) {
  for (const DataType type : kNarrowFloats) {
    for (const RedOp op : kOps) {
      const RoundingCase numbers(type, op, 8, 2000);
      EXPECT_GT(numbers.told_apart(), 100u) << name_of(type) << " " << name_of(op);
    }
  }
}

// Numbers whose sum over 2 ranks is beyond the type's largest.
constexpr std::pair<DataType, uint64_t> kLarge[] = {{DataType::kFloat16, 0x7b53},    // 60000
                                                    {DataType::kFloat8e4m3, 0x7e},   // 448
                                                    {DataType::kFloat8e5m2, 0x7b}};  // 57344

// All ranks' average of `bits`, by what is chosen or forced: that number, or off by what its roundings allow.
void expect_average(const std::string& forced, Collective collective, const topology::Topology& topology,
                    DataType type, uint64_t bits, uint64_t count) {
  const uint32_t ranks = topology.nranks();
  SimWorldOptions options;
  options.nranks = ranks;
  options.topology = topology;
  options.forced = forced;
  options.devices = &registry();
  SimWorld world(options);
  const size_t size = size_of(type);
  const uint64_t blocks = collective == Collective::kReduceScatter ? ranks : 1;
  std::vector<std::vector<std::byte>> in(ranks), out(ranks);
  std::vector<engine::Call> calls;
  for (uint32_t rank = 0; rank < ranks; ++rank) {
    in[rank].resize(count * size * blocks);
    out[rank].resize(count * size);
    for (uint64_t i = 0; i < count * blocks; ++i) set_element(in[rank].data(), type, i, bits);
    calls.push_back({collective, type, RedOp::kAvg, count, 0, in[rank].data(), out[rank].data()});
  }
  const Status status = world.run(calls);
  ASSERT_TRUE(status.ok()) << status.message();
  const algorithms::Range& range =
      world.selection().pick(collective, count * size, partials_of(type, RedOp::kAvg));
  const double unit = type == DataType::kFloat16 ? 0x1p-11 : type == DataType::kFloat8e4m3 ? 0x1p-4 : 0x1p-3;
  const double number = value_of(type, bits);
  const double off = range.roundings == 1 ? 0 : (std::pow(1 + unit, range.roundings) - 1) * number;
  for (uint32_t rank = 0; rank < (collective == Collective::kReduce ? 1 : ranks); ++rank) {
    for (uint64_t i = 0; i < count; ++i) {
      const double got = value_of(type, element(out[rank].data(), type, i));
      ASSERT_LE(std::abs(got - number), off)
          << name_of(collective) << " by " << range.algorithm->name << " of " << ranks << " ranks on "
          << topology.ngroups() << " hosts: " << got << " for " << number;
    }
  }
}

// An average that the type holds is never lost in a sum that it does not.
TEST_P(Rounding, OfAnAverageNeverOverflowsWhereTheAverageFits) {
  for (uint32_t hosts = 1; hosts <= 4 && hosts <= GetParam(); ++hosts) {
    const topology::Topology topology = placed(GetParam(), hosts);
    for (const auto& [type, bits] : kLarge) {
      for (const Collective collective : kReductions) {
        expect_average("", collective, topology, type, bits, 1);
        expect_average("", collective, topology, type, bits, kLong / 8);
        if (HasFatalFailure()) return;
      }
      for (const algorithms::Algorithm& algorithm : algorithms::all()) {
        if (!is_reduction(algorithm.collective) || !algorithm.applies(topology)) continue;
        const std::string forced = fmt::format("{}:{}", name_of(algorithm.collective), algorithm.name);
        expect_average(forced, algorithm.collective, topology, type, bits, kLong / 8);
        if (HasFatalFailure()) return;
      }
    }
  }
}

// 256 + 1 + 1 + 1 in bfloat16 is 259, which rounds to 260; rounded in each host first it would be 258.
TEST(RoundingOfShortBlocks, IsOnceOnTwoHostsOfTwoRanks) {
  SimWorldOptions options;
  options.nranks = 4;
  options.topology = placed(4, 2);
  options.devices = &registry();
  SimWorld world(options);
  const uint16_t in[] = {0x4380, 0x3f80, 0x3f80, 0x3f80};
  uint16_t out[4] = {};
  std::vector<engine::Call> calls;
  for (int rank = 0; rank < 4; ++rank)
    calls.push_back({Collective::kAllReduce, DataType::kBfloat16, RedOp::kSum, 1, 0, &in[rank], &out[rank]});
  ASSERT_TRUE(world.run(calls).ok());
  for (const uint16_t each : out) EXPECT_EQ(each, 0x4382);
}

}  // namespace
}  // namespace comity::test
