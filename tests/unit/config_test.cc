// comityConfig_t over the settings of the process.
#include "src/api/config.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>

namespace comity::api {
namespace {

std::string refusal(const comityConfig_t& config) {
  const auto read = read_config(&config);
  return read.ok() ? "accepted" : std::string(read.status().message());
}

TEST(Config, FieldsBeatTheEnvironmentAndThoseLeftAloneDoNot) {
  ::setenv("COMITY_TRANSPORTS", "shm", 1);
  ::setenv("COMITY_MAX_LANES", "3", 1);
  comityConfig_t config = COMITY_CONFIG_INITIALIZER;
  config.transports = "tcp";
  config.timeoutMs = 1500;
  config.blocking = 0;
  config.deterministic = 1;
  config.progressCpu = 2;
  config.interfaces = "lo";
  config.name = "trainer";
  const auto read = read_config(&config);
  const auto none = read_config(nullptr);
  ::unsetenv("COMITY_TRANSPORTS");
  ::unsetenv("COMITY_MAX_LANES");
  ASSERT_TRUE(read.ok() && none.ok()) << read.status().message();
  EXPECT_EQ(read->settings.text("COMITY_TRANSPORTS"), "tcp");
  EXPECT_EQ(read->settings.value("COMITY_TRANSPORTS").where, "config");
  EXPECT_EQ(read->settings.text("COMITY_SOCKET_IFNAME"), "lo");
  EXPECT_EQ(read->timeout_ms, 1500u);
  EXPECT_EQ(read->init_timeout_ms, 60'000u);
  EXPECT_FALSE(read->blocking);
  EXPECT_TRUE(read->deterministic);
  EXPECT_EQ(read->max_lanes, 3u);
  EXPECT_EQ(read->progress_cpu, 2);
  EXPECT_EQ(read->name, "trainer");
  EXPECT_EQ(none->settings.text("COMITY_TRANSPORTS"), "shm");
  EXPECT_TRUE(none->blocking);
  EXPECT_EQ(none->timeout_ms, 0u);
  EXPECT_EQ(none->progress_cpu, -1);
  EXPECT_EQ(none->name, "");
}

TEST(Config, ASplitInheritsWhatItLeavesAlone) {
  comityConfig_t first = COMITY_CONFIG_INITIALIZER;
  first.timeoutMs = 100;
  first.progressCpu = 5;
  first.name = "parent";
  const auto parent = read_config(&first);
  ASSERT_TRUE(parent.ok());
  ::setenv("COMITY_TIMEOUT", "9", 1);  // of no effect: the parent's values are those of its making
  comityConfig_t second = COMITY_CONFIG_INITIALIZER;
  second.progressCpu = -1;
  const auto child = inherit_config(*parent, &second);
  ::unsetenv("COMITY_TIMEOUT");
  ASSERT_TRUE(child.ok());
  EXPECT_EQ(child->timeout_ms, 100u);
  EXPECT_EQ(child->progress_cpu, -1);
  EXPECT_EQ(child->name, "parent");
}

// A split shares its parent's connections.
TEST(Config, ASplitRefusesOtherTransportsOrInterfacesAndTakesTheParents) {
  comityConfig_t first = COMITY_CONFIG_INITIALIZER;
  first.transports = "tcp";
  first.interfaces = "lo";
  const auto parent = read_config(&first);
  ASSERT_TRUE(parent.ok());
  const auto why = [&](const comityConfig_t& config) {
    const auto child = inherit_config(*parent, &config);
    return child.ok() ? "" : std::string(child.status().message());
  };
  EXPECT_EQ(why(first), "");
  comityConfig_t second = first;
  second.transports = "shm";
  EXPECT_NE(why(second).find("the config has transports = \"shm\""), std::string::npos) << why(second);
  second = first;
  second.interfaces = "eth0";
  EXPECT_NE(why(second).find("the config has interfaces = \"eth0\""), std::string::npos) << why(second);
}

TEST(Config, OnlyASplitsOwnInitTimeoutBoundsIt) {
  comityConfig_t first = COMITY_CONFIG_INITIALIZER;
  first.initTimeoutMs = 1234;
  const auto parent = read_config(&first);
  ASSERT_TRUE(parent.ok());
  EXPECT_EQ(parent->init_timeout_ms, 1234u);
  const auto child = inherit_config(*parent, nullptr);
  ASSERT_TRUE(child.ok());
  EXPECT_EQ(child->split_timeout_ms, 0u);
  comityConfig_t second = COMITY_CONFIG_INITIALIZER;
  second.initTimeoutMs = 5;
  const auto bounded = inherit_config(*child, &second);
  ASSERT_TRUE(bounded.ok());
  EXPECT_EQ(bounded->split_timeout_ms, 5u);
}

TEST(Config, ANameIsOneShortLine) {
  comityConfig_t config = COMITY_CONFIG_INITIALIZER;
  const std::string longest(255, 'n');
  config.name = longest.c_str();
  EXPECT_EQ(refusal(config), "accepted");
  const std::string longer = longest + "n";
  config.name = longer.c_str();
  EXPECT_EQ(refusal(config), "the config has a name of more than 255 bytes");
  config.name = "two\nlines";
  EXPECT_EQ(refusal(config), "the config has a name with control characters");
}

TEST(Config, WhatIsNoConfigIsRefused) {
  comityConfig_t config{};
  EXPECT_NE(refusal(config).find("was not made by COMITY_CONFIG_INITIALIZER"), std::string::npos);
  config = COMITY_CONFIG_INITIALIZER;
  config.magic = 1;
  EXPECT_NE(refusal(config).find("was not made by COMITY_CONFIG_INITIALIZER"), std::string::npos);
  config = COMITY_CONFIG_INITIALIZER;
  config.size = 8;
  EXPECT_NE(refusal(config).find("its size is 8"), std::string::npos);
  config = COMITY_CONFIG_INITIALIZER;
  config.version = 0;
  EXPECT_NE(refusal(config).find("is of version 0"), std::string::npos);
}

TEST(Config, ValuesOutOfRangeAreRefusedByName) {
  const auto with = [](int comityConfig_t::*field, int value) {
    comityConfig_t config = COMITY_CONFIG_INITIALIZER;
    config.*field = value;
    return refusal(config);
  };
  EXPECT_EQ(with(&comityConfig_t::blocking, 2), "the config has blocking = 2: it is from 0 to 1");
  EXPECT_NE(with(&comityConfig_t::timeoutMs, -1).find("timeoutMs = -1"), std::string::npos);
  EXPECT_NE(with(&comityConfig_t::initTimeoutMs, 0).find("initTimeoutMs = 0"), std::string::npos);
  EXPECT_NE(with(&comityConfig_t::deterministic, -1).find("deterministic = -1"), std::string::npos);
  EXPECT_NE(with(&comityConfig_t::maxLanes, 5000).find("maxLanes = 5000"), std::string::npos);
  EXPECT_NE(with(&comityConfig_t::progressCpu, -2).find("progressCpu = -2"), std::string::npos);
  EXPECT_EQ(with(&comityConfig_t::timeoutMs, INT_MAX), "accepted");
}

TEST(Config, AnOlderProgramsSizeLeavesTheLaterFieldsAlone) {
  comityConfig_t config = COMITY_CONFIG_INITIALIZER;
  config.timeoutMs = 7;
  config.name = reinterpret_cast<const char*>(16);  // beyond its size: must not be looked at
  config.size = offsetof(comityConfig_t, initTimeoutMs);
  const auto read = read_config(&config);
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read->timeout_ms, 7u);
  EXPECT_EQ(read->name, "");
}

TEST(Config, ANewerProgramsFieldsAreIgnoredIfLeftAloneAndRefusedIfNot) {
  struct Newer {
    comityConfig_t config = COMITY_CONFIG_INITIALIZER;
    int number = COMITY_CONFIG_UNDEF_INT;
    int more = COMITY_CONFIG_UNDEF_INT;
    const char* text = COMITY_CONFIG_UNDEF_TEXT;
  } newer;
  newer.config.size = sizeof newer;
  newer.config.timeoutMs = 9;
  EXPECT_EQ(refusal(newer.config), "accepted");
  newer.text = "x";
  EXPECT_NE(refusal(newer.config).find("sets a field that this library"), std::string::npos);
  newer.text = nullptr;
  newer.number = 3;
  EXPECT_NE(refusal(newer.config).find("sets a field that this library"), std::string::npos);
}

}  // namespace
}  // namespace comity::api
