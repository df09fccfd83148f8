// How a process finds the ranks that a launcher started with it: what the environment says, secrets in files,
// files on shared folders. The launchers themselves: tests/launch.
#include <fmt/core.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "src/api/launch/id_text.h"
#include "src/api/launch/known_host.h"
#include "src/api/launch/launcher.h"
#include "src/api/launch/pmi1.h"
#include "src/api/launch/rendezvous_file.h"
#include "src/api/launch/secret_file.h"
#include "src/api/launch/slurm_hosts.h"
#include "src/api/launch/variables.h"
#include "src/base/hex.h"
#include "src/base/socket.h"
#include "tests/support/spawn.h"

namespace comity::launch {
namespace {

namespace fs = std::filesystem;
using test::ScopedEnv;

constexpr uint64_t kPatienceMs = 60'000;

class Folder {
 public:
  Folder() {
    std::string name = (fs::temp_directory_path() / "comity-launch-XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  ~Folder() { fs::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::string file(const std::string& name) const { return (path_ / name).string(); }
  std::string written(const std::string& name, const std::string& text, mode_t mode) const {
    std::ofstream(file(name)) << text;
    chmod(file(name).c_str(), mode);
    return file(name);
  }

 private:
  fs::path path_;
};

std::string why_not(const std::vector<std::pair<std::string, std::string>>& variables) {
  std::vector<std::unique_ptr<ScopedEnv>> set;
  for (const auto& [name, value] : variables) set.push_back(std::make_unique<ScopedEnv>(name, value));
  const auto settings = Settings::read();
  if (!settings.ok()) return std::string(settings.status().message());
  const auto launcher = find_launcher(*settings);
  return launcher.ok() ? (*launcher)->name() : std::string(launcher.status().message());
}

bool says(const std::string& text, const std::string& what) {
  return text.find(what) != std::string::npos;
}

TEST(Launcher, IsNoneWhereNobodyStartedTheProcess) {
  EXPECT_EQ(why_not({}), "no launcher");
  // Slurm's variables of a batch script, outside of any step.
  EXPECT_EQ(why_not({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "4"}, {"SLURM_JOB_ID", "7"}}), "no launcher");
}

TEST(Launcher, NamesTheVariableThatIsMissingOrMakesNoSense) {
  EXPECT_TRUE(says(why_not({{"COMITY_RANK", "0"}}), "COMITY_NRANKS"));
  EXPECT_TRUE(says(why_not({{"COMITY_NRANKS", "2"}}), "COMITY_RANK is not"));
  EXPECT_TRUE(says(why_not({{"COMITY_RANK", "0"}, {"COMITY_NRANKS", "2"}}), "COMITY_RENDEZVOUS is not"));
  EXPECT_EQ(why_not({{"COMITY_RANK", "0"}, {"COMITY_NRANKS", "1"}}), "COMITY_RENDEZVOUS");
  EXPECT_TRUE(says(why_not({{"COMITY_RANK", "2"}, {"COMITY_NRANKS", "2"}}), "COMITY_RANK=2"));
  EXPECT_TRUE(says(why_not({{"COMITY_RANK", "-1"}, {"COMITY_NRANKS", "2"}}), "COMITY_RANK=\"-1\""));
  EXPECT_TRUE(says(why_not({{"COMITY_RANK", "0x1"}, {"COMITY_NRANKS", "2"}}), "COMITY_RANK=\"0x1\""));
  EXPECT_TRUE(says(why_not({{"COMITY_RANK", "0"}, {"COMITY_NRANKS", "99999999999"}}), "COMITY_NRANKS"));
  EXPECT_TRUE(says(why_not({{"RANK", "0"}}), "WORLD_SIZE"));
  EXPECT_TRUE(says(why_not({{"WORLD_SIZE", "2"}}), "RANK is not set"));
  EXPECT_TRUE(says(why_not({{"RANK", "0"}, {"WORLD_SIZE", "2"}}), "MASTER_ADDR"));
  EXPECT_TRUE(
      says(why_not({{"RANK", "0"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "::1"}}), "COMITY_SECRET_FILE"));
  EXPECT_TRUE(says(why_not({{"PMI_FD", "9"}}), "PMI_RANK"));
  EXPECT_TRUE(says(why_not({{"PMI_FD", "9"}, {"PMI_RANK", "0"}}), "PMI_SIZE"));
  EXPECT_TRUE(says(why_not({{"SLURM_PROCID", "0"}, {"SLURM_STEP_ID", "1"}}), "SLURM_NTASKS"));
}

TEST(Launcher, TheInnermostCounts) {
  const Folder folder;
  const std::string secret = folder.written("secret", "sixteen bytes at least", 0600);
  const std::vector<std::pair<std::string, std::string>> slurm = {{"SLURM_PROCID", "0"},
                                                                  {"SLURM_STEP_ID", "1"},
                                                                  {"SLURM_NTASKS", "2"},
                                                                  {"SLURM_STEP_NODELIST", "a[1-2]"}};
  auto both = slurm;
  both.insert(both.end(), {{"RANK", "0"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "::1"}});
  both.emplace_back("COMITY_SECRET_FILE", secret);
  EXPECT_EQ(why_not(both), "torchrun");
  auto all = both;
  all.insert(all.end(), {{"COMITY_RANK", "0"}, {"COMITY_NRANKS", "1"}});
  EXPECT_EQ(why_not(all), "COMITY_RENDEZVOUS");
}

TEST(SecretFile, IsItsOwnersAloneAndLongEnough) {
  const Folder folder;
  const auto refusal = [](const std::string& path) {
    const ScopedEnv set("COMITY_SECRET_FILE", path);
    const auto secret = read_secret(*Settings::read());
    return secret.ok() ? std::string(secret->has_value() ? "accepted" : "none")
                       : std::string(secret.status().message());
  };
  EXPECT_EQ(refusal(""), "none");
  EXPECT_EQ(refusal(folder.written("good", "0123456789abcdef", 0600)), "accepted");
  EXPECT_EQ(refusal(folder.written("read_only", "0123456789abcdef", 0400)), "accepted");
  EXPECT_TRUE(says(refusal(folder.written("short", "0123456789abcde\n", 0600)), "it holds 15 bytes"));
  EXPECT_TRUE(says(refusal(folder.written("empty", "", 0600)), "it holds 0 bytes"));
  for (const mode_t mode : {0640, 0604, 0620, 0602, 0644})
    EXPECT_TRUE(says(refusal(folder.written("open", "0123456789abcdef", mode)), "chmod 600")) << mode;
  EXPECT_TRUE(says(refusal(folder.file("absent")), "there is no such file; to make one:"));
  EXPECT_TRUE(says(refusal("/dev/zero"), "no regular file"));
}

TEST(SecretFile, ANewlineAtTheEndMakesNoDifference) {
  const Folder folder;
  const auto secret_of = [](const std::string& path) {
    const ScopedEnv set("COMITY_SECRET_FILE", path);
    return **read_secret(*Settings::read());
  };
  const Secret one = secret_of(folder.written("one", "0123456789abcdef", 0600));
  EXPECT_EQ(secret_of(folder.written("two", "0123456789abcdef\r\n", 0600)), one);
  EXPECT_NE(secret_of(folder.written("three", "0123456789abcdeg", 0600)), one);
}

TEST(SecretFile, WhatTravelsIsWorthNothingWithoutIt) {
  const std::optional<Secret> secret = Secret{std::byte{1}}, other = Secret{std::byte{2}};
  const auto id = create_id(secret);
  ASSERT_TRUE(id.ok()) << id.status().message();
  EXPECT_NE(id->real, id->travelling);
  EXPECT_EQ(*real_id(id->travelling, secret), id->real);
  EXPECT_EQ(control::look_for_meeting(id->real, 1).who, control::Found::Who::kMeeting);
  EXPECT_EQ(control::look_for_meeting(id->travelling, 1).who, control::Found::Who::kStranger);
  EXPECT_EQ(control::look_for_meeting(*real_id(id->travelling, other), 1).who,
            control::Found::Who::kStranger);
  const auto open = create_id(std::nullopt);
  ASSERT_TRUE(open.ok());
  EXPECT_EQ(open->real, open->travelling);
}

// An id of a meeting point that is gone: nobody listens on port 1.
std::string stale_file() {
  const auto nowhere = SocketAddress::parse("127.0.0.1:1");
  const control::UniqueId id = control::unique_id_at({*nowhere}, Secret{std::byte{7}});
  return fmt::format("comity rendezvous 1\nid {}\n", to_hex(id));
}

TEST(RendezvousFile, OneOfAnEarlierRunIsNotUsed) {
  const Folder folder;
  const std::string path = folder.written("file", stale_file(), 0600);
  Result<control::UniqueId> later(Code::kInternalError, "not run");
  std::thread rank_1([&] {  // finds the old file first
    later = make_rendezvous_file_launcher({1, 2}, path, std::nullopt)->meet(Deadline::after_ms(kPatienceMs));
  });
  const auto rank_0 = make_rendezvous_file_launcher({0, 2}, path, std::nullopt);
  const auto id = rank_0->meet(Deadline::after_ms(kPatienceMs));
  rank_1.join();
  ASSERT_TRUE(id.ok()) << id.status().message();
  ASSERT_TRUE(later.ok()) << later.status().message();
  EXPECT_EQ(*id, *later);
  struct stat info {};
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  rank_0->over();
  EXPECT_FALSE(fs::exists(path));
}

TEST(RendezvousFile, AStaleOneIsNamedWhenNothingElseComes) {
  const Folder folder;
  const std::string path = folder.written("file", stale_file(), 0600);
  const auto stale = make_rendezvous_file_launcher({1, 2}, path, std::nullopt)->meet(Deadline::after_ms(50));
  EXPECT_EQ(stale.status().code(), Code::kTimeout);
  EXPECT_TRUE(says(std::string(stale.status().message()), "the file is of an earlier run"));
  const auto none = make_rendezvous_file_launcher({1, 2}, folder.file("absent"), std::nullopt)
                        ->meet(Deadline::after_ms(50));
  EXPECT_EQ(none.status().code(), Code::kTimeout);
  EXPECT_TRUE(says(std::string(none.status().message()), "rank 0 has not written it"));
}

TEST(RendezvousFile, OneThatAnotherJobUsesNowIsRefused) {
  const Folder folder;
  const std::string path = folder.file("file");
  const auto first = make_rendezvous_file_launcher({0, 2}, path, std::nullopt);
  ASSERT_TRUE(first->meet(Deadline::after_ms(kPatienceMs)).ok());
  const auto second =
      make_rendezvous_file_launcher({0, 2}, path, std::nullopt)->meet(Deadline::after_ms(kPatienceMs));
  EXPECT_EQ(second.status().code(), Code::kInvalidUsage);
  EXPECT_TRUE(says(std::string(second.status().message()), "another job"));
  EXPECT_TRUE(fs::exists(path));  // the first one's stays
}

TEST(RendezvousFile, WhatOthersCouldHaveWrittenOrIsNoneIsRefused) {
  const Folder folder;
  const auto refusal = [&](const std::string& path, uint32_t rank) {
    const auto id =
        make_rendezvous_file_launcher({rank, 2}, path, std::nullopt)->meet(Deadline::after_ms(kPatienceMs));
    return id.ok() ? "accepted" : std::string(id.status().message());
  };
  for (const uint32_t rank : {0u, 1u}) {
    EXPECT_TRUE(says(refusal(folder.written("open", stale_file(), 0622), rank), "another user could have"));
    EXPECT_TRUE(
        says(refusal(folder.written("text", "something of mine", 0600), rank), "not written by Comity"));
    EXPECT_TRUE(
        says(refusal(folder.written("cut", stale_file().substr(0, 100) + "\n", 0600), rank), "digits"));
    fs::create_directory(folder.file("folder"));
    EXPECT_NE(refusal(folder.file("folder"), rank), "accepted");
    fs::remove(folder.file("folder"));
  }
  EXPECT_TRUE(fs::exists(folder.file("text")));  // nothing of others is removed
}

// What a rank that is not rank 0 says of a port that somebody holds, long before its deadline.
TEST(KnownHost, APortWhoseHolderSaysNothingIsNamedLongBeforeTheDeadline) {
  const Folder folder;
  const auto holder = listen_on(*SocketAddress::parse("127.0.0.1:0"), 16);  // the kernel takes connections
  ASSERT_TRUE(holder.ok());
  const std::string port = std::to_string(local_address_of(holder->get()).port());
  const ScopedEnv secret("COMITY_SECRET_FILE", folder.written("secret", "0123456789abcdef", 0600));
  const ScopedEnv its_port("COMITY_PORT", port);
  KnownHost known;
  known.launcher = "a test";
  known.variable = "MASTER_ADDR";
  known.host = "127.0.0.1";
  known.silent_for_ms = 100;
  const auto launcher = make_known_host_launcher({1, 2}, known, *Settings::read());
  ASSERT_TRUE(launcher.ok()) << launcher.status().message();
  const Deadline deadline = Deadline::after_ms(kPatienceMs);
  const auto id = (*launcher)->meet(deadline);
  EXPECT_FALSE(deadline.passed());
  ASSERT_FALSE(id.ok());
  EXPECT_EQ(id.status().code(), Code::kRemoteError);
  const std::string why(id.status().message());
  EXPECT_TRUE(says(why, "rank 1: where rank 0 is to be met (MASTER_ADDR, port " + port)) << why;
  EXPECT_TRUE(says(why, "127.0.0.1:" + port + ": it takes connections and says nothing")) << why;
  EXPECT_TRUE(says(why, "set COMITY_PORT to a free one on all ranks")) << why;
}

TEST(SlurmHosts, TheFirstOfAListIsFound) {
  EXPECT_EQ(first_host("node01"), "node01");
  EXPECT_EQ(first_host("a,b"), "a");
  EXPECT_EQ(first_host("node[01-04,07],other"), "node01");
  EXPECT_EQ(first_host("rack[2-3]node[00-15]"), "rack2node00");
  EXPECT_EQ(first_host("n[7]x.domain"), "n7x.domain");
  for (const char* bad : {"", ",a", "node[", "node[]", "node]", "node[,2]"})
    EXPECT_EQ(first_host(bad), "") << bad;
}

TEST(Pmi1, FieldsAreFoundByTheirWholeName) {
  const std::string line = "cmd=get_result rc=0 value=a=b msg=all is well=so";
  EXPECT_EQ(pmi1_field(line, "cmd"), "get_result");
  EXPECT_EQ(pmi1_field(line, "rc"), "0");
  EXPECT_EQ(pmi1_field(line, "value"), "a=b");
  EXPECT_EQ(pmi1_field(line, "msg"), "all is well=so");
  EXPECT_EQ(pmi1_field(line, "alue"), "");
  EXPECT_EQ(pmi1_field("", "cmd"), "");
  EXPECT_EQ(pmi1_field("cmd", "cmd"), "");
  EXPECT_EQ(pmi1_field("cmd=", "cmd"), "");
}

TEST(IdText, IsTwoDigitsForEachByte) {
  control::UniqueId id{};
  for (size_t i = 0; i < id.size(); ++i) id[i] = static_cast<std::byte>(i * 37);
  EXPECT_EQ(*id_from_hex(to_hex(id)), id);
  EXPECT_FALSE(id_from_hex(to_hex(id).substr(1)).ok());
  EXPECT_FALSE(id_from_hex(std::string(256, 'g')).ok());
  EXPECT_FALSE(from_hex("abc").ok());
  EXPECT_TRUE(from_hex("")->empty());
}

}  // namespace
}  // namespace comity::launch
