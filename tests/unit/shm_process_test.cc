// Ranks that are processes: memory passed by descriptor, staging, the kernel's copies, sleeping across
// processes, and what a killed job leaves.
#include <fmt/core.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <set>

#include "src/base/clock.h"
#include "tests/support/effort.h"
#include "tests/support/shm_ranks.h"
#include "tests/support/spawn.h"

namespace comity::test {
namespace {

class Job {
 public:
  Job(uint32_t nranks, const std::string& scenario, const std::string& copies = "staged") {
    for (uint32_t rank = 0; rank < nranks; ++rank) {
      ranks_.emplace_back(std::vector<std::string>{program_folder() + "shm_worker", place_.path(),
                                                   std::to_string(rank), std::to_string(nranks), scenario,
                                                   copies});
    }
  }
  void expect_success() {
    for (Child& rank : ranks_) {
      const auto [status, output] = rank.finish(Deadline::after_ms(120'000));
      EXPECT_EQ(status, 0) << output;
    }
  }
  Meeting& meeting() { return place_.meeting(); }
  std::vector<Child>& ranks() { return ranks_; }

 private:
  MeetingPlace place_;
  std::vector<Child> ranks_;
};

TEST(ShmProcesses, CarryOutEveryCollectiveThroughStaging) {
  Job(2, "collectives").expect_success();
}
TEST(ShmProcesses, CarryOutEveryCollectiveByTheKernelsCopies) {
  Job(2, "collectives", "cross").expect_success();
}
TEST(ShmProcesses, CarryOutEveryCollectiveAmongThreeByTheKernelsCopies) {
  Job(3, "collectives", "cross").expect_success();
}
TEST(ShmProcesses, CarryOutEveryCollectiveWhenTheyOutnumberCores) {
  Job(5, "collectives").expect_success();
}

// The parameter: eight collectives, out of place and in place.
class ShmPrivileges : public testing::TestWithParam<int> {};

TEST_P(ShmPrivileges, ThatARankLosesLaterCostItTheKernelsCopiesAlone) {
  Job(2, fmt::format("private{}", GetParam()), "cross").expect_success();
}
TEST_P(ShmPrivileges, ThatAllOfThreeLoseLaterCostThemTheKernelsCopiesAlone) {
  Job(3, fmt::format("all_private{}", GetParam()), "cross").expect_success();
}
INSTANTIATE_TEST_SUITE_P(Kinds, ShmPrivileges, testing::Range(0, kThreadSanitized ? 2 : 16));

TEST(ShmProcesses, AreNeverLeftAsleep) {
  Job(7, "sleepers").expect_success();
}

TEST(ShmProcesses, AllSeeAMismatchOfSmallCalls) {
  Job(3, "mismatch_small").expect_success();
}
TEST(ShmProcesses, AllSeeAMismatchOfLargeCalls) {
  Job(3, "mismatch_large").expect_success();
}

std::set<std::string> names_in(const std::string& folder) {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) names.insert(entry.path().filename());
  return names;
}

TEST(ShmProcesses, LeaveNothingBehindWhenKilled) {
  const auto before = names_in("/dev/shm");
  Job job(3, "forever");
  const Deadline deadline = Deadline::after_ms(60'000);
  while (job.meeting().words[0].load() < 20 && !deadline.passed()) ::sched_yield();
  ASSERT_GE(job.meeting().words[0].load(), 20u) << "the job did not get going";
  for (Child& rank : job.ranks()) rank.kill(SIGKILL);
  for (Child& rank : job.ranks()) EXPECT_EQ(rank.finish(Deadline::after_ms(60'000)).first, 128 + SIGKILL);
  EXPECT_EQ(names_in("/dev/shm"), before) << "memory with a name outlives its ranks";
}

}  // namespace
}  // namespace comity::test
