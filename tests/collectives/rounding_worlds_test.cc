// How often partial results are rounded over the real transports: ranks as threads of one host, by shared
// memory and by sockets, and as processes on several hosts.
#include <gtest/gtest.h>

#include <fmt/core.h>

#include "tests/collectives/rounding_rows.h"
#include "tests/support/ranks.h"
#include "tests/support/spawn.h"
#include "tests/support/spawned_rank.h"

namespace comity::test {
namespace {

class OneHost : public testing::TestWithParam<std::tuple<const char*, int, const char*>> {};

TEST_P(OneHost, RoundsOnce) {
  const auto& [transports, nranks, accumulate] = GetParam();
  const ScopedEnv over("COMITY_TRANSPORTS", transports);
  const ScopedEnv in("COMITY_ACCUMULATE", accumulate);
  Ranks ranks(nranks);
  if (HasFailure()) return;
  const std::vector<RoundingCase> cases = rounding_cases(static_cast<uint32_t>(nranks));
  std::vector<std::string> wrong(static_cast<size_t>(nranks));
  ranks.run([&](int rank, comityComm_t comm) {
    wrong[static_cast<size_t>(rank)] = run_rounding_rows(comm, static_cast<uint32_t>(rank), cases, 1);
  });
  for (const std::string& each : wrong) EXPECT_EQ(each, "");
}

using OneHostParam = std::tuple<const char*, int, const char*>;
std::string name_of_host(const testing::TestParamInfo<OneHostParam>& each) {
  const std::string in_fp32 = *std::get<2>(each.param) == '\0' ? "" : "_fp32";
  return fmt::format("{}_p{}{}", std::get<0>(each.param), std::get<1>(each.param), in_fp32);
}

INSTANTIATE_TEST_SUITE_P(Over, OneHost,
                         testing::Combine(testing::Values("shm", "tcp"), testing::Values(2, 3, 8),
                                          testing::Values("", "fp32")),
                         name_of_host);

class SeveralHosts : public testing::TestWithParam<const char*> {};

// Runs a rank for each letter, which names its host.
void run_on(const std::string& placement, uint32_t roundings) {
  comityUniqueId id;
  ASSERT_EQ(comityGetUniqueId(&id), comitySuccess) << comityGetLastError(nullptr);
  const std::string hex = hex_of(id);
  std::vector<Child> children;
  for (size_t rank = 0; rank < placement.size(); ++rank) {
    const std::vector<std::string> command = {program_folder() + "comity_rounding_worker",
                                              std::to_string(rank), hex, std::to_string(placement.size()),
                                              std::to_string(roundings)};
    children.emplace_back(command, std::vector<std::pair<std::string, std::string>>{
                                       {"COMITY_HOSTID", fmt::format("host-{}", placement[rank])}});
  }
  const Deadline deadline = Deadline::after_ms(600'000);
  for (Child& child : children) {
    const auto [status, output] = child.finish(deadline);
    EXPECT_EQ(status, 0) << placement << ": " << output;
  }
}

TEST_P(SeveralHosts, RoundOncePerLevel) {
  run_on(GetParam(), 2);
}

TEST_P(SeveralHosts, RoundOnceInFp32) {
  const ScopedEnv in("COMITY_ACCUMULATE", "fp32");
  run_on(GetParam(), 1);
}

TEST_P(SeveralHosts, RoundOnceInFp32WhateverIsForced) {
  const ScopedEnv in("COMITY_ACCUMULATE", "fp32");
  const ScopedEnv forced("COMITY_ALGO", "all_reduce:hierarchical,reduce:chain,reduce_scatter:ring");
  run_on(GetParam(), 1);
}

INSTANTIATE_TEST_SUITE_P(Placed, SeveralHosts, testing::Values("aabb", "aaab", "abcabca"),
                         [](const auto& each) { return std::string(each.param); });

}  // namespace
}  // namespace comity::test
