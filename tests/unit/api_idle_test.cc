// Communicators over sockets whose connections are given up whenever they are idle: nobody sees it but in the
// time that a call takes.
#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "comity/comity.h"
#include "src/engine/driver.h"
#include "tests/support/api_calls.h"
#include "tests/support/ranks.h"
#include "tests/support/spawn.h"

namespace comity::test {
namespace {

// As a program does between calls.
void compute_for_us(uint64_t us) {
  const uint64_t end_ns = now_ns() + us * 1000;
  while (now_ns() < end_ns) std::this_thread::yield();
}

class ApiIdle : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override { engine::Driver::set_longest_sleep(5'000'000'000u); }  // a lost wake-up shows
  void TearDown() override { engine::Driver::set_longest_sleep(10'000'000); }

  ScopedEnv transports_{"COMITY_TRANSPORTS", "tcp"};
  ScopedEnv idle_{"COMITY_IDLE_CLOSE_MS", GetParam()};
};

// Each waits for a time of its own before it calls, so that idle connections and calls meet in every order.
TEST_P(ApiIdle, CallsOfEveryKindGiveWhatTheyShould) {
  constexpr int kRanks = 3;
  Ranks ranks(kRanks);
  ranks.run([](int rank, comityComm_t comm) {
    std::mt19937 pause(static_cast<uint32_t>(rank)), kind(7);
    for (int64_t call = 1; call <= 60; ++call) {
      compute_for_us(pause() % 12'000);
      std::vector<int64_t> buffer(1000, call * (rank + 1));
      const auto root = static_cast<int>(call % kRanks);
      switch (kind() % 3) {
        case 0:
          ASSERT_EQ(sum(buffer, comm, nullptr), comitySuccess) << last();
          ASSERT_EQ(buffer, std::vector<int64_t>(1000, call * 6));
          break;
        case 1:
          ASSERT_EQ(
              comityBroadcast(buffer.data(), buffer.data(), buffer.size(), comityInt64, root, comm, nullptr),
              comitySuccess)
              << last();
          ASSERT_EQ(buffer, std::vector<int64_t>(1000, call * (root + 1)));
          break;
        default:
          if (rank == root) {
            ASSERT_EQ(
                comitySend(buffer.data(), buffer.size(), comityInt64, (root + 1) % kRanks, comm, nullptr),
                comitySuccess)
                << last();
          } else if (rank == (root + 1) % kRanks) {
            ASSERT_EQ(comityRecv(buffer.data(), buffer.size(), comityInt64, root, comm, nullptr),
                      comitySuccess)
                << last();
            ASSERT_EQ(buffer, std::vector<int64_t>(1000, call * (root + 1)));
          }
      }
    }
  });
}

// The receiver is in no call of the library's until the Send has returned: first to a rank that was never
// spoken to, then to one whose connection was idle for long.
TEST_P(ApiIdle, AShortSendWaitsForNobody) {
  constexpr int kRanks = 4;
  Ranks ranks(kRanks);
  for (const auto& [from, to] : {std::pair(0, 3), std::pair(3, 1), std::pair(1, 2), std::pair(2, 0)}) {
    for (int64_t round = 0; round < 2; ++round) {
      int64_t value = round + 5, received = 0;
      ASSERT_EQ(comitySend(&value, 1, comityInt64, to, ranks.comms[static_cast<size_t>(from)], nullptr),
                comitySuccess)
          << last();
      ASSERT_EQ(comityRecv(&received, 1, comityInt64, from, ranks.comms[static_cast<size_t>(to)], nullptr),
                comitySuccess)
          << last();
      EXPECT_EQ(received, value);
      compute_for_us(30'000);  // so that it may become idle; nothing waits for it
    }
  }
}

TEST_P(ApiIdle, ASleepingReceiverIsWokenByAConnectionThatIsMadeAnew) {
  Ranks ranks(2);
  ranks.run([](int rank, comityComm_t comm) {
    for (int64_t round = 0; round < 8; ++round) {
      int64_t value = round;
      if (rank == static_cast<int>(round % 2)) {
        compute_for_us(40'000);  // the other one sleeps in its call meanwhile
        ASSERT_EQ(comitySend(&value, 1, comityInt64, 1 - rank, comm, nullptr), comitySuccess) << last();
      } else {
        value = -1;
        const uint64_t start_ns = now_ns();
        ASSERT_EQ(comityRecv(&value, 1, comityInt64, 1 - rank, comm, nullptr), comitySuccess) << last();
        EXPECT_LT(now_ns() - start_ns, 3'000'000'000u) << "it was not woken";
      }
      ASSERT_EQ(value, round);
    }
  });
}

TEST_P(ApiIdle, CommunicatorsOfOneFamilyShareWhatIsMadeAnew) {
  constexpr int kRanks = 3;
  Ranks ranks(kRanks);
  ranks.run([](int rank, comityComm_t comm) {
    comityComm_t part = nullptr;
    ASSERT_EQ(comityCommSplit(comm, 0, kRanks - rank, &part, nullptr), comitySuccess) << last();
    std::mt19937 pause(static_cast<uint32_t>(rank));
    for (int64_t call = 1; call <= 30; ++call) {
      compute_for_us(pause() % 12'000);
      std::vector<int64_t> buffer(500, call);
      ASSERT_EQ(sum(buffer, call % 2 == 0 ? comm : part, nullptr), comitySuccess) << last();
      ASSERT_EQ(buffer, std::vector<int64_t>(500, call * kRanks));
    }
    EXPECT_EQ(comityCommDestroy(part), comitySuccess) << last();
  });
}

INSTANTIATE_TEST_SUITE_P(After, ApiIdle, testing::Values("1", "5", "300000"),
                         [](const auto& each) { return std::string(each.param) + "ms"; });

}  // namespace
}  // namespace comity::test
