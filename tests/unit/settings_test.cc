// Where values of settings come from, and what is refused.
#include "src/base/settings.h"

#include <fmt/core.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <string>

#include "src/base/settings_file.h"

namespace comity {
namespace {

namespace fs = std::filesystem;

// Variables of the environment for the time of a test, and a home of its own.
class SettingsTest : public testing::Test {
 protected:
  void SetUp() override {
    home_ = fs::temp_directory_path() / fmt::format("comity_settings_{}", getpid());
    fs::create_directories(home_ / ".config/comity");
    set("HOME", home_.string());
    for (const Setting& setting : settings()) unset(setting.name);
  }
  void TearDown() override {
    for (const auto& [name, value] : before_) {
      if (value.has_value())
        ::setenv(name.c_str(), value->c_str(), 1);
      else
        ::unsetenv(name.c_str());
    }
    fs::remove_all(home_);
  }
  void remember(const std::string& name) {
    const char* value = std::getenv(name.c_str());
    before_.try_emplace(name, value == nullptr ? std::nullopt : std::optional<std::string>(value));
  }
  void set(const std::string& name, const std::string& value) {
    remember(name);
    ::setenv(name.c_str(), value.c_str(), 1);
  }
  void unset(const std::string& name) {
    remember(name);
    ::unsetenv(name.c_str());
  }
  static std::string written(const fs::path& path, const std::string& text) {
    std::ofstream(path) << text;
    return path.string();
  }
  std::string users_file(const std::string& text) {
    return written(home_ / ".config/comity/comity.conf", text);
  }
  std::string named_file(const std::string& text) {
    const std::string path = written(home_ / "named.conf", text);
    set("COMITY_CONF_FILE", path);
    return path;
  }
  static std::string refusal() {
    const auto read = Settings::read();
    return read.ok() ? "accepted" : std::string(read.status().message());
  }

  fs::path home_;
  std::map<std::string, std::optional<std::string>> before_;
};

TEST_F(SettingsTest, TheEnvironmentBeatsTheNamedFileAndThatTheUsersAndThatTheDefault) {
  const std::string users = users_file(
      "COMITY_TIMEOUT = 1\nCOMITY_INIT_TIMEOUT_MS = 2\nCOMITY_ARENA_CAP = 3\nCOMITY_TCP_CONNECTIONS=4\n");
  const std::string named = named_file("COMITY_TIMEOUT = 10\n\nCOMITY_INIT_TIMEOUT_MS = 20\n");
  set("COMITY_TIMEOUT", "100");
  set("COMITY_ARENA_CAP", "");  // as if it were not set
  auto read = Settings::read();
  ASSERT_TRUE(read.ok()) << read.status().message();
  read->set_by_config("COMITY_TCP_CONNECTIONS", "16");
  const auto expect = [&](const char* name, const std::string& text, SettingSource source,
                          const std::string& where) {
    EXPECT_EQ(read->text(name), text);
    EXPECT_EQ(read->value(name).source, source) << name;
    EXPECT_EQ(read->value(name).where, where);
  };
  expect("COMITY_TIMEOUT", "100", SettingSource::kEnvironment, "environment");
  expect("COMITY_INIT_TIMEOUT_MS", "20", SettingSource::kNamedFile, named + ":3");
  expect("COMITY_ARENA_CAP", "3", SettingSource::kUserFile, users + ":3");
  expect("COMITY_DEVICES", "host", SettingSource::kDefault, "default");
  expect("COMITY_TCP_CONNECTIONS", "16", SettingSource::kConfig, "config");
  EXPECT_EQ(settings_files().front().path, "/etc/comity.conf");
}

TEST_F(SettingsTest, CommentsAndBlanksSayNothing) {
  users_file(
      "# a comment = 1\n\n\t COMITY_HOSTID\t=  a b#c  # the rest\r\nCOMITY_ALGO = all_reduce:ring\r\n");
  const auto read = Settings::read();
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read->text("COMITY_HOSTID"), "a b#c");
  EXPECT_EQ(read->text("COMITY_ALGO"), "all_reduce:ring");
}

TEST_F(SettingsTest, ALineThatIsNoneIsRefusedByFileAndNumber) {
  const std::string path = users_file("# first\nCOMITY_LOG debug\n");
  EXPECT_EQ(refusal(), path + ":2: \"COMITY_LOG debug\" is no line NAME = value");
  users_file("COMITY_LOG =\n");
  EXPECT_EQ(refusal(), path + ":1: COMITY_LOG has no value: remove the line for the default");
  users_file("COMITY_LOG=info\nCOMITY_TIMEOUT=1\nCOMITY_LOG=warn");
  EXPECT_EQ(refusal(), path + ":3: COMITY_LOG is in line 1 already");
  users_file("= 5\n");
  EXPECT_EQ(refusal(), path + ":1: \"\" is no name of a setting");
  users_file("COMITY_CONF_FILE = /tmp/other\n");
  EXPECT_EQ(refusal(), path + ":1: COMITY_CONF_FILE is for the environment alone");
}

TEST_F(SettingsTest, AnErrorInAValueNamesItsFileAndLine) {
  const std::string path = named_file("\nCOMITY_ARENA_CAP = lots\n");
  const auto read = Settings::read();
  ASSERT_TRUE(read.ok());
  const auto number = read->number("COMITY_ARENA_CAP");
  ASSERT_FALSE(number.ok());
  EXPECT_EQ(
      number.status().message(),
      path + ":2: COMITY_ARENA_CAP=\"lots\": it takes bytes, a whole number (with K, M or G if you like)");
}

TEST_F(SettingsTest, AFileThatEveryoneMayWriteToIsRefused) {
  const std::string path = users_file("COMITY_TIMEOUT = 1\n");
  ASSERT_EQ(chmod(path.c_str(), 0666), 0);
  EXPECT_EQ(refusal(),
            path + " is refused as a file of settings: everyone may write to it; chmod o-w " + path);
  ASSERT_EQ(chmod(path.c_str(), 0664), 0);
  EXPECT_EQ(refusal(), "accepted");
}

TEST_F(SettingsTest, AnotherUsersFileIsRefused) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, to make a file another user's";
  const std::string path = users_file("COMITY_TIMEOUT = 1\n");
  ASSERT_EQ(chown(path.c_str(), 12345, 12345), 0);
  EXPECT_NE(refusal().find("it belongs to user 12345, not to you (0) or root"), std::string::npos)
      << refusal();
}

TEST_F(SettingsTest, TheNamedFileMustBeThereAndAFileTheOthersNeedNot) {
  EXPECT_EQ(refusal(), "accepted");
  set("COMITY_CONF_FILE", (home_ / "absent.conf").string());
  EXPECT_EQ(refusal(), fmt::format("cannot read COMITY_CONF_FILE={}: No such file or directory",
                                   (home_ / "absent.conf").string()));
  const std::string pipe = (home_ / "pipe").string();
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  set("COMITY_CONF_FILE", pipe);
  EXPECT_EQ(refusal(), pipe + " is refused as a file of settings: it is no regular file");
}

TEST_F(SettingsTest, UnknownNamesAreListedWithTheNearestKnownOne) {
  const std::string path = users_file("COMITY_TRANSPORT = tcp\nCOMITY_TIMEOUT = 5\n");
  set("COMITY_TIMOUT", "3");
  set("COMITY_SOMETHING_WHOLLY_DIFFERENT", "3");
  set("COMITY_TEST_FULL", "1");
  const auto read = Settings::read();
  ASSERT_TRUE(read.ok());
  std::map<std::string, UnknownSetting> unknown;
  for (const UnknownSetting& one : read->unknown()) unknown[one.name] = one;
  EXPECT_EQ(unknown.at("COMITY_TIMOUT").nearest, "COMITY_TIMEOUT");
  EXPECT_EQ(unknown.at("COMITY_TIMOUT").where, "environment");
  EXPECT_EQ(unknown.at("COMITY_SOMETHING_WHOLLY_DIFFERENT").nearest, "");
  EXPECT_EQ(unknown.at("COMITY_TRANSPORT").nearest, "COMITY_TRANSPORTS");
  EXPECT_EQ(unknown.at("COMITY_TRANSPORT").where, path + ":1");
  EXPECT_EQ(unknown.count("COMITY_TEST_FULL"), 0u);
}

void read_twice_and_leave() {
  for (int i = 0; i < 2; ++i) static_cast<void>(Settings::read());
  std::exit(0);
}

TEST_F(SettingsTest, UnknownNamesAreWarnedOfOnce) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";  // in a process that has read none before
  set("COMITY_TIMOUT", "3");
  const std::string warning =
      "COMITY_TIMOUT \\(environment\\) is no setting and is ignored \\(was COMITY_TIMEOUT meant\\?\\)";
  EXPECT_EXIT(read_twice_and_leave(), testing::ExitedWithCode(0), fmt::format("^[^\n]*{}[^\n]*\n$", warning));
}

TEST_F(SettingsTest, TimesMayBeGivenInMilliseconds) {
  const auto ms_of = [&](const char* text) {
    set("COMITY_TIMEOUT", text);
    const auto ms = Settings::read()->milliseconds("COMITY_TIMEOUT");
    return ms.ok() ? fmt::format("{}", *ms) : std::string("refused");
  };
  EXPECT_EQ(ms_of("0"), "0");
  EXPECT_EQ(ms_of("2"), "2000");
  EXPECT_EQ(ms_of("1500ms"), "1500");
  EXPECT_EQ(ms_of("1.5"), "refused");
  EXPECT_EQ(ms_of("ms"), "refused");
  EXPECT_EQ(ms_of("18446744073709551615ms"), "refused");
}

TEST_F(SettingsTest, TheTableIsSortedAndItsDefaultsAreValid) {
  const auto table = settings();
  for (size_t i = 1; i < table.size(); ++i) EXPECT_LT(std::string(table[i - 1].name), table[i].name);
  const auto read = Settings::read();
  ASSERT_TRUE(read.ok());
  for (const Setting& setting : table) {
    const bool number = *setting.default_value >= '0' && *setting.default_value <= '9';
    if (!number) continue;
    EXPECT_TRUE(read->number(setting.name).ok()) << setting.name;
  }
}

}  // namespace
}  // namespace comity
