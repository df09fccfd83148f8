// Processes that die or abort at one moment: all survivors hear the same words. At more places in the tree,
// and at random, control_sim_deaths_test.cc has them in simulation.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "src/control/tree_shape.h"
#include "tests/support/control_process.h"
#include "tests/support/control_ranks.h"

namespace comity::control {
namespace {

using testing::ControlProcess;

constexpr uint32_t kRanks = 24;  // 9 to 16 are below 1, 17 to 23 below 2
// Ten times what is promised of a death for which the tree had to be mended.
constexpr uint64_t kWithinMs = 20'000;

class Ranks {
 public:
  explicit Ranks(uint32_t nranks) {
    const auto id = create_unique_id();
    EXPECT_TRUE(id.ok()) << id.status().message();
    for (uint32_t rank = 0; rank < nranks; ++rank)
      all_.push_back(std::make_unique<ControlProcess>(*id, rank, nranks));
    for (const auto& rank : all_) EXPECT_EQ(rank->hear(), "joined");
  }
  ControlProcess& operator[](uint32_t rank) { return *all_[rank]; }

  void end(uint32_t rank, const std::string& how) {
    gone_.insert(rank);
    if (how == "kill") {
      all_[rank]->signal(SIGKILL);
    } else {
      all_[rank]->tell(how);
    }
  }
  void set_aside(uint32_t rank) { gone_.insert(rank); }

  // What all who are left hear; each different sentence once, with the ranks that heard it.
  std::string heard_by_all() {
    std::map<std::string, std::string> by_sentence;
    for (uint32_t rank = 0; rank < all_.size(); ++rank) {
      if (!gone_.contains(rank)) all_[rank]->tell("verdict " + std::to_string(kWithinMs));
    }
    for (uint32_t rank = 0; rank < all_.size(); ++rank) {
      if (!gone_.contains(rank)) by_sentence[all_[rank]->hear()] += " " + std::to_string(rank);
    }
    if (by_sentence.size() == 1) return by_sentence.begin()->first;
    std::string text;
    for (const auto& [sentence, ranks] : by_sentence) text += "ranks" + ranks + " heard: " + sentence + "\n";
    return text;
  }

  // Until all who are left form one tree again, as far as their sockets tell: one at each end of a branch. A
  // rank that dies while it has no place in the tree is missed by nobody there.
  ::testing::AssertionResult form_a_tree() {
    const Deadline deadline = Deadline::after_ms(kWithinMs);
    const size_t wanted = 2 * (all_.size() - gone_.size() - 1);
    for (int times = 0; times < 3;) {
      size_t held = 0;
      for (uint32_t rank = 0; rank < all_.size(); ++rank) {
        if (!gone_.contains(rank)) held += std::stoul(all_[rank]->ask("sockets"));
      }
      times = held == wanted ? times + 1 : 0;
      if (deadline.passed()) return ::testing::AssertionFailure() << held << " sockets of " << wanted;
    }
    return ::testing::AssertionSuccess();
  }

 private:
  std::vector<std::unique_ptr<ControlProcess>> all_;
  std::set<uint32_t> gone_;
};

std::string sentence_of(uint32_t rank, const std::string& how) {
  return how == "abort" ? "verdict 6 rank " + std::to_string(rank) + " aborted"
                        : "verdict 6 rank " + std::to_string(rank) +
                              " died or was killed (its control connection closed)";
}

struct Fall {
  std::vector<uint32_t> ranks;
  std::string how;  // "abort", "kill", or one after the other of both
};
std::ostream& operator<<(std::ostream& out, const Fall& fall) {
  for (const uint32_t rank : fall.ranks) out << rank << " ";
  return out << fall.how;
}

class ControlOneVerdict : public ::testing::TestWithParam<Fall> {
 protected:
  static void expect_one_verdict(const Fall& fall) {
    Ranks ranks(kRanks);
    std::vector<std::string> possible;
    for (size_t i = 0; i < fall.ranks.size(); ++i) {
      const bool aborts = fall.how == "abort" || (fall.how == "both" && i % 2 == 0);
      ranks.end(fall.ranks[i], aborts ? "abort" : "kill");
      possible.push_back(sentence_of(fall.ranks[i], aborts ? "abort" : "kill"));
    }
    const std::string heard = ranks.heard_by_all();
    EXPECT_TRUE(std::find(possible.begin(), possible.end(), heard) != possible.end()) << fall << "\n"
                                                                                      << heard;
  }
};

INSTANTIATE_TEST_SUITE_P(Places, ControlOneVerdict,
                         ::testing::Values(Fall{{1, 2}, "both"},     // siblings, inner
                                           Fall{{0, 1}, "kill"},     // the root and a child
                                           Fall{{9, 1}, "abort"},    // a leaf and its parent
                                           Fall{{9, 23}, "kill"}));  // leaves

TEST_P(ControlOneVerdict, IsHeardByAllSurvivors) {
  expect_one_verdict(GetParam());
}

TEST(ControlOneVerdictOf, AStoppedRootKeepsNoVerdictFromTheOthersAndHearsItWhenItGoesOn) {
  Ranks ranks(kRanks);
  ranks[0].stop();
  ranks.set_aside(0);
  ranks.end(3, "abort");
  EXPECT_EQ(ranks.heard_by_all(), sentence_of(3, "abort"));
  ranks[0].signal(SIGCONT);
  EXPECT_EQ(ranks[0].ask("verdict " + std::to_string(kWithinMs)), sentence_of(3, "abort"));
}

TEST(ControlOneVerdictOf, AStoppedInnerRankCutsNobodyOff) {
  Ranks ranks(kRanks);
  ranks[1].stop();
  ranks.set_aside(1);
  ranks.end(12, "kill");  // below the stopped one, as whose child it is missed by nobody but the root
  ranks.end(20, "abort");
  EXPECT_EQ(ranks.heard_by_all(), sentence_of(20, "abort"));
  ranks[1].signal(SIGCONT);
  EXPECT_EQ(ranks[1].ask("verdict " + std::to_string(kWithinMs)), sentence_of(20, "abort"));
}

TEST(ControlOneVerdictOf, RanksWhoseRelaysHaveEndedStillHearOfEachOther) {
  Ranks ranks(kRanks);
  for (const uint32_t relay : {0u, 1u, 2u}) {
    EXPECT_EQ(ranks[relay].ask("leave"), "left");
    ranks[relay].tell("exit 0");
    EXPECT_EQ(ranks[relay].wait_end(), 0);
    ranks.set_aside(relay);
  }
  ASSERT_TRUE(ranks.form_a_tree());
  ranks.end(12, "kill");
  EXPECT_EQ(ranks.heard_by_all(), sentence_of(12, "kill"));
}

TEST(ControlOneVerdictOf, NobodyWhereAllButTwoLeaveAndEndInWhateverOrder) {
  Ranks ranks(kRanks);
  std::mt19937 random(7);
  std::vector<uint32_t> order;
  for (uint32_t rank = 0; rank < kRanks; ++rank) {
    if (rank != 11 && rank != 22) order.push_back(rank);
  }
  std::shuffle(order.begin(), order.end(), random);
  for (const uint32_t rank : order) {
    ranks[rank].tell("leave");
    ranks[rank].tell("exit 0");
    ranks.set_aside(rank);
  }
  for (const uint32_t rank : order) EXPECT_EQ(ranks[rank].wait_end(), 0);
  EXPECT_EQ(ranks[11].ask("verdict 1500"), "none");
  EXPECT_EQ(ranks[22].ask("verdict 1"), "none");
  ASSERT_TRUE(ranks.form_a_tree());
  ranks.end(22, "kill");
  EXPECT_EQ(ranks[11].ask("verdict " + std::to_string(kWithinMs)).find("verdict 6 rank 22 died"), 0u);
}

TEST(ControlOneVerdictOf, APartWithoutTheMajoritySaysFromWhomItIsCutOff) {
  Ranks ranks(3);
  ranks[0].stop();
  ranks[1].stop();
  const std::string heard = ranks[2].ask("declare it broke");
  EXPECT_EQ(heard, "ok");
  EXPECT_EQ(ranks[2].ask("verdict " + std::to_string(10 * kWithinMs)),
            "verdict 6 cut off from ranks 0-1: it broke");
}

}  // namespace
}  // namespace comity::control
