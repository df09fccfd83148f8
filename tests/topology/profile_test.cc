// Measured figures: kept, found again by the machine's structure, written into its links.
#include "topology/discover/profile.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

#include "tests/topology/machines.h"

namespace comity::topology {
namespace {

class Profiles : public testing::Test {
 protected:
  void SetUp() override { ASSERT_NE(::mkdtemp(folder_.data()), nullptr); }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string folder_ = "/tmp/profile-test-XXXXXX";
  Profile profile_{0x1234,
                   {{"shm", "h0.numa0", "h0.numa0", 301, 11'000'000'000},
                    {"shm", "h0.numa0", "h0.numa1", 700, 9'000'000'000},
                    {"tcp", "h0.numa0", "h0.numa0", 6'000, 5'000'000'000}}};
};

TEST_F(Profiles, AreFoundAgainByStructure) {
  ASSERT_TRUE(store_profile(profile_, folder_).ok());
  EXPECT_EQ(load_profile(0x1234, folder_), profile_);
  EXPECT_TRUE(load_profile(0x1235, folder_).paths.empty());
}

TEST_F(Profiles, ThatAreDamagedAreAsNone) {
  const std::string good = to_json(profile_);
  for (size_t length = 0; length + 2 < good.size(); length += 7) {
    std::ofstream(folder_ + "/profile-0000000000001234.json", std::ios::trunc) << good.substr(0, length);
    EXPECT_TRUE(load_profile(0x1234, folder_).paths.empty()) << length;
  }
  std::ofstream(folder_ + "/profile-0000000000009999.json") << good;
  EXPECT_TRUE(load_profile(0x9999, folder_).paths.empty()) << "of another structure";
}

TEST_F(Profiles, SayWhyTheyCannotBeStored) {
  std::ofstream(folder_ + "/file") << "x";
  const Status status = store_profile(profile_, folder_ + "/file");
  EXPECT_EQ(status.code(), Code::kSystemError);
  EXPECT_NE(std::string(status.message()).find("file"), std::string::npos);
}

TEST_F(Profiles, ReplaceTheFiguresOfTheLinksThatCarrySharedMemory) {
  Graph graph = test::switched_box();
  canonicalize(graph);
  const uint64_t structure = structural_hash(graph);
  apply(profile_, graph);
  EXPECT_EQ(structural_hash(graph), structure);
  uint32_t measured = 0;
  for (const Link& link : graph.links) {
    if (link.source != Source::kMeasured) continue;
    ++measured;
    EXPECT_EQ(link.bandwidth_bytes_per_s, link.kind == LinkKind::kCpu ? 9'000'000'000u : 11'000'000'000u);
    EXPECT_EQ(link.latency_ns, link.kind == LinkKind::kCpu ? 700u : 151u);
  }
  EXPECT_EQ(measured, 4u) << "host and domain 0, domains 0 and 1, both ways";
}

}  // namespace
}  // namespace comity::topology
