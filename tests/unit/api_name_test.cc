// comityConfig_t's name: it stands in what is said of its communicator, and of no other.
#include <gtest/gtest.h>

#include <array>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/api_calls.h"
#include "tests/support/spawn.h"

namespace comity::test {
namespace {

constexpr const char* kNamed = "communicator \"trainer\"";

bool says(const std::string& text, const std::string& what) {
  return text.find(what) != std::string::npos;
}

comityConfig_t config_of(const char* name) {
  comityConfig_t config = COMITY_CONFIG_INITIALIZER;
  config.name = name;
  return config;
}

// Two ranks of this thread. Those that a test leaves are aborted.
struct Pair {
  explicit Pair(const char* name) {
    comityUniqueId id;
    EXPECT_EQ(comityGetUniqueId(&id), comitySuccess) << last();
    comityConfig_t config = config_of(name);
    EXPECT_EQ(comityGroupStart(), comitySuccess);
    for (int r = 0; r < 2; ++r)
      EXPECT_EQ(comityCommInitRankConfig(&comms.at(static_cast<size_t>(r)), 2, id, r, &config),
                comitySuccess);
    EXPECT_EQ(comityGroupEnd(), comitySuccess) << last();
  }
  ~Pair() {
    for (comityComm_t comm : comms)
      if (comm != nullptr) comityCommAbort(comm);
  }
  Pair(const Pair&) = delete;
  Pair& operator=(const Pair&) = delete;
  void abort(size_t rank) {
    EXPECT_EQ(comityCommAbort(std::exchange(comms.at(rank), nullptr)), comitySuccess);
  }
  // Both split, with this config; null: none.
  std::array<comityComm_t, 2> split(comityConfig_t* config) {
    std::array<comityComm_t, 2> made{};
    EXPECT_EQ(comityGroupStart(), comitySuccess);
    for (size_t r = 0; r < 2; ++r)
      EXPECT_EQ(comityCommSplit(comms[r], 0, 0, &made[r], config), comitySuccess) << last();
    EXPECT_EQ(comityGroupEnd(), comitySuccess) << last();
    return made;
  }

  std::array<comityComm_t, 2> comms{};
};

TEST(Name, StandsInWhatIsRefused) {
  Pair pair("trainer");
  std::vector<int64_t> buffer(3);
  const auto no_type = static_cast<comityDataType_t>(77);
  EXPECT_EQ(comityBcast(buffer.data(), 3, no_type, 0, pair.comms[1], nullptr), comityInvalidArgument);
  EXPECT_TRUE(says(last(), "comityBcast, rank 1, communicator \"trainer\": datatype 77")) << last();
  EXPECT_EQ(comitySend(buffer.data(), 3, comityInt64, 0, pair.comms[0], nullptr), comityInvalidUsage);
  EXPECT_TRUE(says(last(), kNamed)) << last();
  const comityComm_t dead = pair.comms[0];
  pair.abort(0);
  EXPECT_EQ(comityBarrier(dead, nullptr), comityInvalidArgument);
  EXPECT_TRUE(says(last(), kNamed)) << last();
}

TEST(Name, StandsInAnErrorOfACallAndInTheLog) {
  Pair pair("trainer");
  comityStream_t stream = nullptr;
  ASSERT_EQ(comityStreamCreate(&stream), comitySuccess);
  std::vector<int64_t> first(5), second(5);
  testing::internal::CaptureStderr();
  EXPECT_EQ(sum(first, pair.comms[0], stream), comitySuccess);
  pair.abort(1);
  EXPECT_EQ(comityStreamSynchronize(stream), comityRemoteError);
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_TRUE(says(last(), "comityAllReduce, communicator \"trainer\": ")) << last();
  EXPECT_EQ(sum(second, pair.comms[0], nullptr), comityRemoteError);
  EXPECT_TRUE(says(last(), "comityAllReduce, communicator \"trainer\": ")) << last();
  EXPECT_TRUE(says(comityGetLastError(pair.comms[0]), kNamed)) << comityGetLastError(pair.comms[0]);
  EXPECT_TRUE(says(log, "\"trainer\"")) << log;
  EXPECT_EQ(comityStreamDestroy(stream), comitySuccess);
}

TEST(Name, OfASplitIsItsOwnOrElseTheParents) {
  Pair pair("trainer");
  comityConfig_t config = config_of("half");
  for (comityConfig_t* const given : {&config, static_cast<comityConfig_t*>(nullptr)}) {
    const auto made = pair.split(given);
    EXPECT_EQ(comityBcast(nullptr, 3, comityInt8, 0, made[0], nullptr), comityInvalidArgument);
    EXPECT_TRUE(says(last(), given != nullptr ? "communicator \"half\"" : kNamed)) << last();
    testing::internal::CaptureStderr();
    EXPECT_EQ(comityCommAbort(made[1]), comitySuccess);
    EXPECT_EQ(comityBarrier(made[0], nullptr), comityRemoteError);
    const std::string log = testing::internal::GetCapturedStderr();
    EXPECT_TRUE(says(last(), given != nullptr ? "communicator \"half\"" : kNamed)) << last();
    EXPECT_TRUE(says(log, given != nullptr ? "\"half\"" : "\"trainer\"")) << log;
    EXPECT_EQ(comityCommAbort(made[0]), comitySuccess);
  }
}

TEST(Name, StandsInWhyOneCouldNotBeMade) {
  comityUniqueId id;
  ASSERT_EQ(comityGetUniqueId(&id), comitySuccess);
  comityConfig_t config = config_of("trainer");
  config.initTimeoutMs = 300;
  comityComm_t comm = nullptr;
  testing::internal::CaptureStderr();
  EXPECT_EQ(comityCommInitRankConfig(&comm, 2, id, 0, &config), comityTimeout);
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_TRUE(says(last(), "comityCommInitRank, rank 0 of 2, communicator \"trainer\": ")) << last();
  EXPECT_TRUE(says(log, "rank 0 of 2, communicator \"trainer\": ")) << log;
}

TEST(Name, OfNoneLeavesSentencesAsTheyAre) {
  Pair pair(nullptr);
  EXPECT_EQ(comityBcast(nullptr, 3, comityInt8, 0, pair.comms[0], nullptr), comityInvalidArgument);
  EXPECT_TRUE(says(last(), "comityBcast, rank 0: ")) << last();
}

}  // namespace
}  // namespace comity::test
