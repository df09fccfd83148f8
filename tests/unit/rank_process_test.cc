// What ranks that are processes owe each other's memory: a stopped peer delays and does no harm, and what an
// owner gave back does not stay mapped.
#include <fmt/core.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/syscall.h>

#include <fstream>
#include <future>
#include <thread>

#include "tests/support/control_process.h"
#include "tests/support/rank_blocks.h"
#include "tests/support/spawn.h"
#include "tests/support/spawned_rank.h"

namespace comity::test {
namespace {

using control::testing::ControlProcess;

constexpr auto kPromised = std::chrono::milliseconds(1000);  // ten times what is promised

// This process is rank 0, the worker is rank 1.
class TwoProcesses : public testing::Test {
 protected:
  void SetUp() override {
    comityUniqueId id;
    ASSERT_EQ(comityGetUniqueId(&id), comitySuccess) << comityGetLastError(nullptr);
    peer_ = std::make_unique<ControlProcess>(
        std::vector<std::string>{program_folder() + "rank_worker", hex_of(id), "1", "2"});
    ASSERT_EQ(comityCommInitRank(&comm_, 2, id, 0), comitySuccess) << comityGetLastError(nullptr);
    ASSERT_EQ(peer_->hear(), "joined");
  }
  void TearDown() override {
    if (comm_ != nullptr) static_cast<void>(comityCommDestroy(comm_));
  }
  // The peer announces a call on memory that nobody has mapped, and is stopped while it waits for this rank.
  void stop_in_a_call() {
    ASSERT_TRUE(blocks_.allocate(1));
    ASSERT_EQ(peer_->ask("arenas 1"), "ok");
    peer_->tell("sum");
    const Deadline deadline = Deadline::after_ms(60'000);
    while (!sleeps() && !deadline.passed()) std::this_thread::yield();
    ASSERT_TRUE(sleeps()) << "it never waited";
    peer_->stop();
  }
  // Whether the peer's first thread is in a futex: in that call, after its spinning.
  bool sleeps() const {
    std::ifstream file(fmt::format("/proc/{}/syscall", peer_->pid()));
    long number = -1;
    return file >> number && number == SYS_futex;
  }

  std::unique_ptr<ControlProcess> peer_;
  comityComm_t comm_ = nullptr;
  RankBlocks blocks_;
};

TEST_F(TwoProcesses, AStoppedPeerDelaysTheFirstSightOfItsMemory) {
  stop_in_a_call();
  auto call = std::async(std::launch::async, [&] { return blocks_.sum(comm_); });
  EXPECT_EQ(call.wait_for(kPromised), std::future_status::timeout)
      << "without the peer's memory it cannot end";
  peer_->signal(SIGCONT);
  EXPECT_EQ(call.get(), "right");
  EXPECT_EQ(peer_->hear(), "right");
}

TEST_F(TwoProcesses, AStoppedPeerDoesNotDelayAnAbort) {
  stop_in_a_call();
  comityComm_t comm = std::exchange(comm_, nullptr);
  auto call = std::async(std::launch::async, [&] { return blocks_.sum(comm); });
  EXPECT_EQ(call.wait_for(std::chrono::milliseconds(100)), std::future_status::timeout);
  auto abort = std::async(std::launch::async, [&] { return comityCommAbort(comm); });
  EXPECT_EQ(abort.wait_for(kPromised), std::future_status::ready) << "it waits for the peer's memory";
  EXPECT_EQ(call.wait_for(kPromised), std::future_status::ready);
  peer_->signal(SIGCONT);
  EXPECT_EQ(abort.get(), comitySuccess);
  EXPECT_EQ(call.get().substr(0, 7), "failed ");
  EXPECT_EQ(peer_->hear().substr(0, 7), "failed ");
}

// Of the arenas that a round frees its owner keeps one; each round makes two new ones.
TEST_F(TwoProcesses, ArenasThatAPeerGaveBackAreUnmapped) {
  constexpr size_t kArenas = 3;
  constexpr int kRounds = 10;
  size_t most = 0;
  for (int round = 0; round < kRounds; ++round) {
    const std::string arenas = fmt::format("arenas {}", kArenas);
    ASSERT_EQ(peer_->ask(arenas), "ok");
    ASSERT_TRUE(blocks_.allocate(kArenas));
    peer_->tell("sum");
    ASSERT_EQ(blocks_.sum(comm_), "right");
    ASSERT_EQ(peer_->hear(), "right");
    most = std::max({most, mapped_arenas(), static_cast<size_t>(std::stoul(peer_->ask("mappings")))});
    ASSERT_EQ(peer_->ask("free"), "ok");
    blocks_.release();
  }
  EXPECT_LE(most, 3 * kArenas) << "its own, the peer's, and what the peer gave back since it was last asked";
}

TEST_F(TwoProcesses, NothingOfAPeerIsMappedAfterTheCommunicator) {
  ASSERT_EQ(peer_->ask("arenas 1"), "ok");
  ASSERT_TRUE(blocks_.allocate(1));
  const size_t own = mapped_arenas();
  peer_->tell("sum");
  ASSERT_EQ(blocks_.sum(comm_), "right");
  ASSERT_EQ(peer_->hear(), "right");
  EXPECT_GT(mapped_arenas(), own);
  ASSERT_EQ(comityCommDestroy(std::exchange(comm_, nullptr)), comitySuccess);
  EXPECT_EQ(mapped_arenas(), own);
}

}  // namespace
}  // namespace comity::test
