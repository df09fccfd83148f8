// Random programs of calls end as if carried out one call after the other; with a mistake planted, every rank
// concerned is told. A failing seed replays: caller_fuzz --seeds SEED --ranks RANKS --ops OPS [--mistakes].
#include <gtest/gtest.h>

#include "tests/caller/seeds.h"
#include "tests/support/effort.h"
#include "tests/support/spawn.h"

namespace comity::test {
namespace {

constexpr uint64_t kToldWithinMs = 20'000;  // ten times what is promised

struct Way {
  uint32_t nranks;
  const char* transports;
};

class RandomPrograms : public testing::TestWithParam<Way> {};

TEST_P(RandomPrograms, EndAsIfCarriedOutOneCallAfterTheOther) {
  const ScopedEnv transports("COMITY_TRANSPORTS", GetParam().transports);
  const uint64_t seeds = effort(12);
  for (uint64_t i = 0; i < seeds; ++i) {
    const uint64_t seed = 1000 * GetParam().nranks + i;
    ASSERT_EQ(run_seed(seed, {GetParam().nranks, 150}), "") << "seed " << seed;
  }
}

class RandomProgramsWithAMistake : public testing::TestWithParam<Way> {};

// Waits in a ring through two communicators cannot be told from a thread that is late: the timeout ends them.
TEST_P(RandomProgramsWithAMistake, TellEveryRankConcerned) {
  const ScopedEnv timeout("COMITY_TIMEOUT", "3");
  const ScopedEnv transports("COMITY_TRANSPORTS", GetParam().transports);
  const uint64_t seeds = effort(8);
  for (uint64_t i = 0; i < seeds; ++i) {
    const uint64_t seed = 2000 * GetParam().nranks + i;
    ASSERT_EQ(run_seed_with_mistake(seed, {GetParam().nranks, 60}, kToldWithinMs), "") << "seed " << seed;
  }
}

std::string name_of_way(const testing::TestParamInfo<Way>& info) {
  return "p" + std::to_string(info.param.nranks) + (*info.param.transports == 0 ? "_all" : "_tcp");
}

INSTANTIATE_TEST_SUITE_P(Caller, RandomPrograms,
                         testing::Values(Way{1, ""}, Way{2, ""}, Way{3, ""}, Way{5, ""}, Way{2, "tcp"},
                                         Way{3, "tcp"}),
                         name_of_way);
INSTANTIATE_TEST_SUITE_P(Caller, RandomProgramsWithAMistake,
                         testing::Values(Way{2, ""}, Way{3, ""}, Way{5, ""}, Way{3, "tcp"}), name_of_way);

}  // namespace
}  // namespace comity::test
