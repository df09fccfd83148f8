// What is kept and said of a rank's calls.
#include <gtest/gtest.h>

#include <algorithm>
#include <thread>
#include <vector>

#include "src/control/call_log.h"

namespace comity::control {
namespace {

CallRecord record_of(uint64_t number) {
  CallRecord record;
  record.number = number;
  record.count = number * 3;
  record.root = static_cast<uint32_t>(number * 5);
  record.signature = signature_of(record, 1);
  return record;
}

TEST(CallLog, KeepsTheLast1024AndNothingElse) {
  CallLog log;
  EXPECT_FALSE(log.find(0));
  EXPECT_FALSE(log.find(1));
  for (uint64_t number = 1; number <= 3000; ++number) log.record(record_of(number));
  EXPECT_EQ(log.last_number(), 3000u);
  EXPECT_FALSE(log.find(3000 - 1024));
  EXPECT_FALSE(log.find(3001));
  for (uint64_t number = 3000 - 1023; number <= 3000; ++number) {
    const auto found = log.find(number);
    ASSERT_TRUE(found) << number;
    EXPECT_EQ(found->signature, record_of(number).signature);
    EXPECT_EQ(found->count, number * 3);
    EXPECT_EQ(found->root, static_cast<uint32_t>(number * 5));
  }
}

TEST(CallLog, AReaderBesideTheWriterSeesWholeRecordsOrNone) {
  CallLog log;
  std::thread writer([&] {
    for (uint64_t number = 1; number <= 300'000; ++number) log.record(record_of(number));
  });
  for (uint64_t last = 0; last < 300'000; last = log.last_number()) {
    // The oldest kept one, which the writer is about to overwrite.
    const uint64_t number = last < 1023 ? last : last - 1023;
    const auto found = log.find(number);
    if (!found) continue;
    ASSERT_EQ(found->count, number * 3);
    ASSERT_EQ(found->root, static_cast<uint32_t>(number * 5));
    ASSERT_EQ(found->signature, record_of(number).signature);
  }
  writer.join();
  EXPECT_TRUE(log.find(300'000));
}

TEST(Signatures, DifferWithEveryField) {
  const CallRecord base = record_of(1);
  std::vector<uint64_t> all = {signature_of(base, 1), signature_of(base, 2)};
  for (int field = 0; field < 7; ++field) {
    CallRecord other = base;
    if (field == 0) other.number = 2;
    if (field == 1) other.count = 4;
    if (field == 2) other.root = 6;
    if (field == 3) other.collective = Collective::kReduce;
    if (field == 4) other.type = DataType::kUint8;
    if (field == 5) other.op = RedOp::kMax;
    if (field == 6) other.op = kPreMulSum;
    all.push_back(signature_of(other, 1));
  }
  std::sort(all.begin(), all.end());
  EXPECT_EQ(std::unique(all.begin(), all.end()), all.end());
}

TEST(Descriptions, NameWhatTheCallHas) {
  CallRecord record;
  record.count = 1024;
  record.type = DataType::kFloat32;
  record.collective = Collective::kAllReduce;
  EXPECT_EQ(describe(record), "all_reduce of 1024 float32 (sum)");
  record.collective = Collective::kBroadcast;
  record.root = 3;
  EXPECT_EQ(describe(record), "broadcast of 1024 float32 (root 3)");
  record.collective = Collective::kReduce;
  EXPECT_EQ(describe(record), "reduce of 1024 float32 (sum, root 3)");
  record.collective = Collective::kAllGather;
  EXPECT_EQ(describe(record), "all_gather of 1024 float32");
  record.collective = Collective::kBarrier;
  EXPECT_EQ(describe(record), "barrier");
}

TEST(Descriptions, SayOfLengthsWhatEveryRankKnows) {
  CallRecord record;
  record.count = 96;
  record.type = DataType::kFloat32;
  record.collective = Collective::kAllGatherV;
  record.root = 0x5e1f20c3;
  EXPECT_EQ(describe(record), "all_gather_v of 96 float32 in all (lengths 5e1f20c3)");
  record.collective = Collective::kReduceScatterV;
  record.op = kPreMulSum;
  EXPECT_EQ(describe(record), "reduce_scatter_v of 96 float32 in all (premulsum, lengths 5e1f20c3)");
  record = {};
  record.type = DataType::kFloat32;
  record.collective = Collective::kAllToAllV;
  EXPECT_EQ(describe(record), "all_to_all_v of float32");
  record.collective = Collective::kGatherV;
  record.root = 2;
  EXPECT_EQ(describe(record), "gather_v of float32 (root 2)");
}

TEST(CallLogs, KeepEveryFieldOfACall) {
  CallRecord record = record_of(3);
  record.op = kPreMulSum;
  CallLog log;
  log.record(record);
  const auto found = log.find(3);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->op, kPreMulSum);
  EXPECT_EQ(signature_of(*found, 9), signature_of(record, 9));
}

}  // namespace
}  // namespace comity::control
