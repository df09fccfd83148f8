// Ranks of a family that die or leave, as processes: what that ends, and what goes on.
#include <gtest/gtest.h>
#include <signal.h>

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "tests/support/control_process.h"
#include "tests/support/control_ranks.h"

namespace comity::control {
namespace {

using testing::ControlProcess;

constexpr uint32_t kRanks = 20;  // 9 to 16 are below 1, 17 to 19 below 2
// Ten times what is promised of a death for which the tree had to be mended.
constexpr uint64_t kWithinMs = 20'000;

// Communicator 70 is of ranks 19, 12, 3 and 1; 80 of 2, 18, 10 and 5: inner ranks and leaves in both.
class ControlFamily : public ::testing::Test {
 protected:
  const std::vector<uint32_t> kSeventy = {19, 12, 3, 1};
  const std::vector<uint32_t> kEighty = {2, 18, 10, 5};

  void SetUp() override {
    const auto id = create_unique_id();
    ASSERT_TRUE(id.ok()) << id.status().message();
    for (uint32_t rank = 0; rank < kRanks; ++rank)
      ranks_.push_back(std::make_unique<ControlProcess>(*id, rank, kRanks));
    for (const auto& rank : ranks_) ASSERT_EQ(rank->hear(), "joined");
    for (const uint32_t rank : kSeventy) ASSERT_EQ(ranks_[rank]->ask("split 70 19,12,3,1"), "ok");
    for (const uint32_t rank : kEighty) ASSERT_EQ(ranks_[rank]->ask("split 80 2,18,10,5"), "ok");
    gather("70", kSeventy);
    gather("80", kEighty);
  }
  // All members are there, and so is the way between them.
  void gather(const std::string& id, const std::vector<uint32_t>& members) {
    std::string all;
    for (const uint32_t rank : members) all += (all.empty() ? "" : ",") + std::to_string(rank);
    for (const uint32_t rank : members) ranks_[rank]->tell("in " + id + " gather " + std::to_string(rank));
    for (const uint32_t rank : members) EXPECT_EQ(ranks_[rank]->hear(), "gathered " + all);
  }
  void expect_verdict(const std::string& id, const std::vector<uint32_t>& ranks,
                      const std::string& sentence) {
    const std::string where = id.empty() ? "" : "in " + id + " ";
    for (const uint32_t rank : ranks) ranks_[rank]->tell(where + "verdict " + std::to_string(kWithinMs));
    for (const uint32_t rank : ranks) EXPECT_EQ(ranks_[rank]->hear(), "verdict 6 " + sentence) << rank;
  }
  // The same, of a rank that may have had no place in the tree when it died: whoever looks first notices.
  void expect_death(const std::string& id, const std::vector<uint32_t>& ranks, const std::string& who) {
    for (const uint32_t rank : ranks)
      ranks_[rank]->tell("in " + id + " verdict " + std::to_string(kWithinMs));
    std::set<std::string> heard;
    for (const uint32_t rank : ranks) heard.insert(ranks_[rank]->hear());
    ASSERT_EQ(heard.size(), 1u) << "different words: " << *heard.begin() << ", " << *heard.rbegin();
    const std::string death = "verdict 6 " + who + " died or was killed";
    EXPECT_TRUE(*heard.begin() == death + " (its control connection closed)" ||
                *heard.begin() == death + " (its process ended)")
        << *heard.begin();
  }
  void kill(uint32_t rank) {
    ranks_[rank]->signal(SIGKILL);
    ranks_[rank]->wait_end();
  }

  std::vector<std::unique_ptr<ControlProcess>> ranks_;
};

TEST_F(ControlFamily, ADeathEndsWhatTheRankWasInUnderEachNumberAndNothingElse) {
  kill(12);
  const std::string death = " died or was killed (its control connection closed)";
  expect_verdict("", {0, 1, 11, 19}, "rank 12" + death);
  expect_verdict("70", {19, 3, 1}, "rank 1 (rank 12 of the family)" + death);
  gather("80", kEighty);
}

TEST_F(ControlFamily, ADeadInnerRankCutsNobodyOffFromTheNextVerdict) {
  kill(1);
  const std::string death = " died or was killed (its control connection closed)";
  expect_verdict("", {0, 10, 18}, "rank 1" + death);
  expect_verdict("70", {19, 12, 3}, "rank 3 (rank 1 of the family)" + death);
  kill(10);
  expect_death("80", {2, 18, 5}, "rank 2 (rank 10 of the family)");
}

TEST_F(ControlFamily, TheDeathOfTheRootEndsTheFirstCommunicatorAlone) {
  kill(0);
  expect_verdict("", {1, 2, 19}, "rank 0 died or was killed (its control connection closed)");
  EXPECT_EQ(ranks_[10]->ask("in 80 abort"), "left");
  expect_verdict("80", {2, 18, 5}, "rank 2 (rank 10 of the family) aborted");
  EXPECT_EQ(ranks_[3]->ask("in 70 verdict 1"), "none");
}

TEST_F(ControlFamily, WhoLeftOneInOrderAndThenDiesIsNoFaultThere) {
  EXPECT_EQ(ranks_[18]->ask("in 80 leave"), "left");
  kill(18);
  expect_verdict("", {0, 2}, "rank 18 died or was killed (its control connection closed)");
  EXPECT_EQ(ranks_[10]->ask("in 80 declare it is over"), "ok");
  for (const uint32_t rank : {2u, 10u, 5u})
    EXPECT_EQ(ranks_[rank]->ask("in 80 verdict " + std::to_string(kWithinMs)), "verdict 2 it is over");
}

TEST_F(ControlFamily, AnAbortOfTheLastCommunicatorThatARankIsInEndsThatAlone) {
  for (const auto& rank : ranks_) EXPECT_EQ(rank->ask("leave"), "left");
  EXPECT_EQ(ranks_[3]->ask("in 70 abort"), "left");
  expect_verdict("70", {19, 12, 1}, "rank 2 (rank 3 of the family) aborted");
  gather("80", kEighty);
}

TEST_F(ControlFamily, ProcessesThatEndAfterTheyLeftCutNobodyOff) {
  for (const auto& rank : ranks_) EXPECT_EQ(rank->ask("leave"), "left");
  for (const uint32_t rank : kSeventy) EXPECT_EQ(ranks_[rank]->ask("in 70 leave"), "left");
  for (const uint32_t rank : {0u, 1u, 3u, 19u}) {
    ranks_[rank]->tell("exit 0");
    EXPECT_EQ(ranks_[rank]->wait_end(), 0);
  }
  kill(10);
  expect_death("80", {2, 18, 5}, "rank 2 (rank 10 of the family)");
}

}  // namespace
}  // namespace comity::control
