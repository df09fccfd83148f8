// Operations of a communicator's own (premulsum) through the C API: every type, collective and place of the
// scalar against a sequential reference; groups and streams; what becomes of an operation that is given back.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "tests/collectives/runner.h"
#include "tests/support/api_calls.h"
#include "tests/support/ranks.h"
#include "tests/support/spawn.h"
#include "tests/support/streams.h"

namespace comity::test {
namespace {

template <typename T>
constexpr comityDataType_t type_of() {
  if (std::is_same_v<T, float>) return comityFloat32;
  if (std::is_same_v<T, double>) return comityFloat64;
  constexpr comityDataType_t kSigned[] = {comityInt8, comityInt32, comityInt64};
  constexpr comityDataType_t kUnsigned[] = {comityUint8, comityUint32, comityUint64};
  constexpr size_t kWidth = sizeof(T) / 4;
  return std::is_signed_v<T> ? kSigned[kWidth] : kUnsigned[kWidth];
}

// An operation whose scalar is read at once.
template <typename T>
comityRedOp_t times(T scalar, comityComm_t comm) {
  comityRedOp_t op = comitySum;
  EXPECT_EQ(comityRedOpCreatePreMulSum(&op, &scalar, type_of<T>(), comityScalarHostImmediate, comm),
            comitySuccess)
      << last();
  EXPECT_GE(static_cast<int>(op), static_cast<int>(comityNumOps));
  return op;
}

// An all-reduce in place.
template <typename T>
comityResult_t reduce(std::vector<T>& buffer, comityRedOp_t op, comityComm_t comm,
                      comityStream_t stream = nullptr) {
  return comityAllReduce(buffer.data(), buffer.data(), buffer.size(), type_of<T>(), op, comm, stream);
}

class PreMulSum : public testing::TestWithParam<const char*> {
  ScopedEnv transports_{"COMITY_TRANSPORTS", GetParam()};
};

// 12 types x 4 collectives x in and out of place x scalars given, on the host and on a device; counts, roots
// and the memory of the buffers take turns.
std::vector<TableRow> every_row(uint32_t nranks) {
  constexpr uint64_t kCounts[] = {1, 1009, 3, 257, 4099};
  constexpr Memory kMemories[] = {Memory::kMalloc, Memory::kMemAlloc, Memory::kDevice, Memory::kMalloc};
  std::vector<TableRow> rows;
  for (const Collective collective : {Collective::kAllReduce, Collective::kReduce, Collective::kReduceScatter,
                                      Collective::kReduceScatterV}) {
    for (int type = 0; type < kDataTypeCount; ++type) {
      for (const ScalarAt scalar : {ScalarAt::kImmediate, ScalarAt::kHost, ScalarAt::kSimDevice}) {
        for (const bool in_place : {false, true}) {
          const size_t turn = rows.size();
          Row row{collective, static_cast<DataType>(type), kPreMulSum, nranks,
                  0,          kCounts[turn % 5],           in_place};
          if (collective == Collective::kReduce) row.root = static_cast<uint32_t>(turn % nranks);
          row.lengths = static_cast<Lengths>(turn % kLengthsCount);
          row.gaps = collective == Collective::kReduceScatterV && turn / 7 % 2 == 1;
          rows.push_back({row, kMemories[turn / 5 % 4], scalar});
        }
      }
    }
  }
  return rows;
}

TEST_P(PreMulSum, IsThatOfASequentialReferenceBitForBit) {
  for (const uint32_t nranks : {1u, 2u, 3u, 4u, 5u}) {
    const auto rows = every_row(nranks);
    ASSERT_EQ(rows.size(), 4u * 12 * 3 * 2);
    Ranks ranks(static_cast<int>(nranks));
    ranks.run([&](int rank, comityComm_t comm) {
      const Report report = run_rows(comm, static_cast<uint32_t>(rank), rows);
      EXPECT_EQ(report.rows, rows.size()) << report.first_wrong;
      EXPECT_EQ(report.wrong_rows, 0u) << report.first_wrong;
    });
    if (HasFailure()) FAIL() << nranks << " ranks";
  }
}

TEST_P(PreMulSum, OfMoreThanATileIsThatOfTheReference) {
  Ranks ranks(3);
  std::vector<TableRow> rows;
  for (const DataType type : {DataType::kBfloat16, DataType::kFloat32, DataType::kInt8}) {
    for (const Collective collective : {Collective::kAllReduce, Collective::kReduceScatter}) {
      rows.push_back({Row{collective, type, kPreMulSum, 3, 0, 200'003, type == DataType::kInt8},
                      Memory::kMalloc, ScalarAt::kHost});
    }
  }
  ranks.run([&](int rank, comityComm_t comm) {
    const Report report = run_rows(comm, static_cast<uint32_t>(rank), rows);
    EXPECT_EQ(report.rows, rows.size()) << report.first_wrong;
    EXPECT_EQ(report.wrong_rows, 0u) << report.first_wrong;
  });
}

// Products and sums of any integers, which wrap: equal in every order.
template <typename T>
void expect_wraps(Ranks& ranks) {
  constexpr size_t kCount = 517;
  std::mt19937_64 random(sizeof(T) * 2 + std::is_signed_v<T>);
  const size_t nranks = ranks.comms.size();
  std::vector<T> scalars(nranks), want(kCount, 0);
  std::vector<std::vector<T>> inputs(nranks, std::vector<T>(kCount));
  for (size_t r = 0; r < nranks; ++r) {
    scalars[r] = static_cast<T>(random());
    for (size_t i = 0; i < kCount; ++i) {
      inputs[r][i] = static_cast<T>(random());
      want[i] = static_cast<T>(static_cast<uint64_t>(want[i]) +
                               static_cast<uint64_t>(inputs[r][i]) * static_cast<uint64_t>(scalars[r]));
    }
  }
  ranks.run([&](int rank, comityComm_t comm) {
    const auto r = static_cast<size_t>(rank);
    const comityRedOp_t op = times(scalars[r], comm);
    EXPECT_EQ(reduce(inputs[r], op, comm), comitySuccess) << last();
    EXPECT_EQ(inputs[r], want);
    EXPECT_EQ(comityRedOpDestroy(op, comm), comitySuccess) << last();
  });
}

TEST_P(PreMulSum, OfIntegersWraps) {
  Ranks ranks(3);
  expect_wraps<int8_t>(ranks);
  expect_wraps<uint8_t>(ranks);
  expect_wraps<int32_t>(ranks);
  expect_wraps<uint32_t>(ranks);
  expect_wraps<int64_t>(ranks);
  expect_wraps<uint64_t>(ranks);
}

// One thread is all ranks; the operations are given back before the group ends.
TEST_P(PreMulSum, InAGroupIsWhatItWasWhenTheCallWasMade) {
  Ranks ranks(3);
  std::vector<std::vector<double>> a(3), b(3);
  ASSERT_EQ(comityGroupStart(), comitySuccess);
  for (size_t r = 0; r < 3; ++r) {
    const comityComm_t comm = ranks.comms[r];
    const auto value = static_cast<double>(r + 1);
    a[r].assign(100, value);
    b[r].assign(20'000, value);
    const comityRedOp_t half = times(0.5, comm), own = times(value, comm);
    EXPECT_EQ(reduce(a[r], half, comm), comitySuccess) << last();
    EXPECT_EQ(reduce(b[r], own, comm), comitySuccess) << last();
    EXPECT_EQ(reduce(a[r], own, comm), comitySuccess) << last();
    EXPECT_EQ(comityRedOpDestroy(half, comm), comitySuccess) << last();
    EXPECT_EQ(comityRedOpDestroy(own, comm), comitySuccess) << last();
  }
  ASSERT_EQ(comityGroupEnd(), comitySuccess) << last();
  for (size_t r = 0; r < 3; ++r) {
    EXPECT_EQ(a[r], std::vector<double>(100, 3 + 6 + 9));  // 0.5 * (1 + 2 + 3) on each, then by rank
    EXPECT_EQ(b[r], std::vector<double>(20'000, 1 + 4 + 9));
  }
}

// The first rank's calls wait on its stream while its operation goes; the other comes after that.
TEST_P(PreMulSum, GivenBackWhileInUseGoesOnToTheEnd) {
  Ranks ranks(2);
  const Streams streams(2);
  std::array<std::vector<int64_t>, 2> buffers{std::vector<int64_t>(30'011, 1),
                                              std::vector<int64_t>(30'011, 2)};
  for (const size_t r : {size_t{0}, size_t{1}}) {
    const comityComm_t comm = ranks.comms[r];
    const comityRedOp_t op = times(static_cast<int64_t>(r + 3), comm);
    for (int call = 0; call < 2; ++call)
      ASSERT_EQ(reduce(buffers[r], op, comm, streams[r]), comitySuccess) << last();
    ASSERT_EQ(comityRedOpDestroy(op, comm), comitySuccess) << last();
    EXPECT_EQ(reduce(buffers[r], op, comm, streams[r]), comityInvalidArgument);
  }
  ASSERT_EQ(streams.synchronize(), comitySuccess) << last();
  for (const auto& buffer : buffers)
    EXPECT_EQ(buffer, std::vector<int64_t>(30'011, (1 * 3 + 2 * 4) * (3 + 4)));
}

// A scalar that stays where it is has the value that is there when the call is carried out.
TEST_P(PreMulSum, ReadsAScalarThatStaysWhenTheCallIsCarriedOut) {
  Ranks ranks(2);
  const Streams streams(2);
  std::array<int32_t, 2> scalars{100, 100};
  std::array<std::vector<int32_t>, 2> buffers{std::vector<int32_t>(10, 1), std::vector<int32_t>(10, 2)};
  for (const size_t r : {size_t{0}, size_t{1}}) {
    const comityComm_t comm = ranks.comms[r];
    comityRedOp_t op = comitySum;
    ASSERT_EQ(comityRedOpCreatePreMulSum(&op, &scalars[r], comityInt32, comityScalarDevice, comm),
              comitySuccess);
    // The first rank's stands behind a barrier to which the other has not come.
    ASSERT_EQ(comityBarrier(comm, streams[r]), comitySuccess) << last();
    ASSERT_EQ(reduce(buffers[r], op, comm, streams[r]), comitySuccess) << last();
    scalars = {3, 4};
    ASSERT_EQ(comityRedOpDestroy(op, comm), comitySuccess) << last();
  }
  ASSERT_EQ(streams.synchronize(), comitySuccess) << last();
  for (const auto& buffer : buffers) EXPECT_EQ(buffer, std::vector<int32_t>(10, 1 * 3 + 2 * 4));
}

// A call with `op` is refused in words that have `why`, and does nothing.
void expect_refused(comityRedOp_t op, comityComm_t comm, const char* why) {
  std::vector<float> buffer(8, 1), out(8, 7);
  const size_t counts[] = {4, 4};
  const std::vector<comityResult_t> results = {
      reduce(buffer, op, comm),
      comityReduce(buffer.data(), out.data(), 8, comityFloat32, op, 0, comm, nullptr),
      comityReduceScatter(buffer.data(), out.data(), 4, comityFloat32, op, comm, nullptr),
      comityReduceScatterV(buffer.data(), out.data(), counts, nullptr, comityFloat32, op, comm, nullptr)};
  EXPECT_EQ(results, std::vector<comityResult_t>(4, comityInvalidArgument));
  EXPECT_NE(last().find(why), std::string::npos) << last();
  EXPECT_EQ(buffer, std::vector<float>(8, 1));
  EXPECT_EQ(out, std::vector<float>(8, 7));
}

void expect_works(Ranks& ranks) {
  ranks.run([](int rank, comityComm_t comm) {
    std::vector<float> buffer(8, 1);
    const comityRedOp_t op = times(static_cast<float>(rank + 1), comm);
    EXPECT_EQ(reduce(buffer, op, comm), comitySuccess) << last();
    EXPECT_EQ(buffer, std::vector<float>(8, 3));
    EXPECT_EQ(comityRedOpDestroy(op, comm), comitySuccess) << last();
  });
}

constexpr const char* kNotOwn =
    "is no operation of this communicator's own: it was given back, is another communicator's or was never "
    "made";

TEST_P(PreMulSum, IsNoOperationOnceItIsGivenBackOrElsewhere) {
  Ranks ranks(2), others(2);
  for (const size_t r : {size_t{0}, size_t{1}}) {
    const comityComm_t comm = ranks.comms[r], other = others.comms[r];
    const comityRedOp_t op = times(2.0F, comm), others_own = times(3.0F, other), gone = times(4.0F, comm);
    expect_refused(op, other, kNotOwn);
    expect_refused(others_own, comm, kNotOwn);
    EXPECT_EQ(comityRedOpDestroy(op, other), comityInvalidArgument);
    EXPECT_NE(last().find(kNotOwn), std::string::npos) << last();
    ASSERT_EQ(comityRedOpDestroy(gone, comm), comitySuccess) << last();
    expect_refused(gone, comm, kNotOwn);
    EXPECT_EQ(comityRedOpDestroy(gone, comm), comityInvalidArgument);
    // A new one is not taken for one that was given back.
    const comityRedOp_t next = times(5.0F, comm);
    EXPECT_NE(next, gone);
    expect_refused(gone, comm, kNotOwn);
  }
  expect_works(ranks);
  expect_works(others);
}

TEST_P(PreMulSum, OfAParentIsNotThatOfItsParts) {
  Ranks ranks(2);
  ranks.run([](int, comityComm_t comm) {
    const comityRedOp_t op = times(2.0F, comm);
    comityComm_t part = nullptr;
    ASSERT_EQ(comityCommSplit(comm, 0, 0, &part, nullptr), comitySuccess) << last();
    expect_refused(op, part, kNotOwn);
    expect_refused(times(2.0F, part), comm, kNotOwn);
    EXPECT_EQ(comityCommDestroy(part), comitySuccess) << last();
  });
  expect_works(ranks);
}

TEST_P(PreMulSum, WhatIsNoneIsRefused) {
  Ranks ranks(2);
  const comityComm_t comm = ranks.comms[0];
  expect_refused(static_cast<comityRedOp_t>(-1), comm, "op -1 is none");
  expect_refused(comityMaxRedOp, comm, kNotOwn);
  const comityRedOp_t of_doubles = times(2.0, comm);
  expect_refused(of_doubles, comm, "was made for float64, and datatype is float32");
  EXPECT_EQ(comityRedOpDestroy(comityAvg, comm), comityInvalidArgument);
  EXPECT_NE(last().find("comityRedOpDestroy, rank 0: op 4 (avg) is every communicator's"), std::string::npos)
      << last();
  float scalar = 1;
  comityRedOp_t op = comityMin;
  const auto create = [&](comityRedOp_t* made, void* from, int type, int residence, comityComm_t on) {
    return comityRedOpCreatePreMulSum(made, from, static_cast<comityDataType_t>(type),
                                      static_cast<comityScalarResidence_t>(residence), on);
  };
  EXPECT_EQ(create(nullptr, &scalar, comityFloat32, 1, comm), comityInvalidArgument);
  EXPECT_NE(last().find("op is NULL"), std::string::npos) << last();
  EXPECT_EQ(create(&op, nullptr, comityFloat32, 1, comm), comityInvalidArgument);
  EXPECT_NE(last().find("scalar is NULL"), std::string::npos) << last();
  EXPECT_EQ(create(&op, &scalar, comityNumTypes, 1, comm), comityInvalidArgument);
  EXPECT_EQ(create(&op, &scalar, comityFloat32, 2, comm), comityInvalidArgument);
  EXPECT_NE(last().find("residence 2 is none"), std::string::npos) << last();
  EXPECT_EQ(create(&op, &scalar, comityFloat32, 1, nullptr), comityInvalidArgument);
  EXPECT_EQ(comityRedOpDestroy(of_doubles, nullptr), comityInvalidArgument);
  EXPECT_EQ(op, comityMin) << "written by a call that failed";
  const comityComm_t dead = ranks.comms[1];
  const comityRedOp_t of_dead = times(1.0F, dead);
  expect_works(ranks);
  for (comityComm_t& each : ranks.comms)
    EXPECT_EQ(comityCommDestroy(std::exchange(each, nullptr)), comitySuccess) << last();
  EXPECT_EQ(create(&op, &scalar, comityFloat32, 1, dead), comityInvalidArgument);
  EXPECT_EQ(comityRedOpDestroy(of_dead, dead), comityInvalidArgument);
}

// Inside a group a refusal spoils the group, and the communicator goes on.
TEST_P(PreMulSum, RefusedInAGroupSpoilsTheGroupAlone) {
  Ranks ranks(2);
  std::vector<float> buffer(8, 1);
  for (comityComm_t comm : ranks.comms) {
    const comityRedOp_t gone = times(2.0F, comm);
    ASSERT_EQ(comityRedOpDestroy(gone, comm), comitySuccess);
    ASSERT_EQ(comityGroupStart(), comitySuccess);
    EXPECT_EQ(reduce(buffer, comitySum, comm), comitySuccess);
    EXPECT_EQ(reduce(buffer, gone, comm), comityInvalidArgument);
    EXPECT_EQ(comityGroupEnd(), comityInvalidArgument);
    EXPECT_NE(last().find(kNotOwn), std::string::npos) << last();
  }
  EXPECT_EQ(buffer, std::vector<float>(8, 1));
  expect_works(ranks);
}

TEST_P(PreMulSum, OnOneRankAndSumOnTheOtherIsAnErrorThatNamesBoth) {
  Ranks ranks(2);
  ranks.run([](int rank, comityComm_t comm) {
    std::vector<float> buffer(8, 1);
    const comityRedOp_t op = rank == 0 ? times(2.0F, comm) : comitySum;
    EXPECT_EQ(reduce(buffer, op, comm), comityInvalidUsage);
    const std::string why = last();
    EXPECT_NE(why.find("rank 0 called all_reduce of 8 float32 (premulsum)"), std::string::npos) << why;
    EXPECT_NE(why.find("rank 1 called all_reduce of 8 float32 (sum)"), std::string::npos) << why;
  });
}

INSTANTIATE_TEST_SUITE_P(Over, PreMulSum, testing::Values("shm", "tcp"),
                         [](const auto& each) { return std::string(each.param); });

}  // namespace
}  // namespace comity::test

int main(int argc, char** argv) {
  ::setenv("COMITY_DEVICES", "host,sim", 1);
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
