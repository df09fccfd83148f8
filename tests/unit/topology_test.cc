#include "topology/topology.h"

#include <gtest/gtest.h>

namespace comity::topology {
namespace {

TEST(Topology, HostsAreNumberedByTheirLowestRank) {
  const auto topology = from_hosts({"zebra", "ant", "zebra", "bee", "ant"});
  ASSERT_TRUE(topology.ok());
  EXPECT_EQ(topology->group_of_rank, (std::vector<uint32_t>{0, 1, 0, 2, 1}));
  EXPECT_EQ(topology->ngroups(), 3u);
  EXPECT_EQ(topology->nranks(), 5u);
}

TEST(Topology, OnlyWhichTextsAreEqualMatters) {
  EXPECT_EQ(*from_hosts({"a", "b", "a"}), *from_hosts({"", "a", ""}));
  EXPECT_NE(*from_hosts({"a", "b", "a"}), *from_hosts({"a", "b", "b"}));
}

TEST(Topology, NoRanksIsAnError) {
  const auto topology = from_hosts({});
  ASSERT_FALSE(topology.ok());
  EXPECT_EQ(topology.status().code(), Code::kInvalidArgument);
}

TEST(Topology, AHostOfItsOwnHoldsAllRanks) {
  const Topology topology = one_host(3);
  EXPECT_EQ(topology.ngroups(), 1u);
  EXPECT_EQ(one_host(0).ngroups(), 0u);
}

TEST(Topology, APathIsInsideOrAcross) {
  Topology topology = *from_hosts({"a", "a", "b"});
  topology.inside.transport = "shm";
  topology.across.transport = "tcp";
  EXPECT_EQ(topology.path(0, 1).transport, "shm");
  EXPECT_EQ(topology.path(1, 2).transport, "tcp");
}

TEST(Topology, EveryFieldIsInTheHash) {
  const Topology base = *from_hosts({"a", "a", "b"});
  EXPECT_EQ(hash(base), hash(*from_hosts({"x", "x", "y"})));
  std::vector<Topology> changed(9, base);
  changed[0].group_of_rank = {0, 1, 1};
  changed[1].inside.latency_ns += 1;
  changed[2].across.latency_ns += 1;
  changed[3].inside.bandwidth_bytes_per_s += 1;
  changed[4].across.rails += 1;
  changed[5].inside.direct = true;
  changed[6].inside.transport = "shm";
  changed[7].reduce_bytes_per_s += 1;
  changed[8].group_of_rank = {0, 0, 1, 1};
  for (const Topology& topology : changed) EXPECT_NE(hash(topology), hash(base)) << describe(topology);
}

TEST(Topology, DescriptionsStayShortForManyRegularRanks) {
  std::vector<std::string> hosts(4096, "a");
  hosts.resize(8192, "b");
  EXPECT_NE(describe(*from_hosts(hosts)).find("placement 0x4096 1x4096\n"), std::string::npos);
}

}  // namespace
}  // namespace comity::topology
