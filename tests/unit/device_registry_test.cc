#include "src/device/registry.h"

#include <cstdlib>

#include <gtest/gtest.h>

namespace comity {
namespace {

TEST(DeviceRegistry, HasTheHostAloneByDefault) {
  ::unsetenv("COMITY_DEVICES");
  auto registry = DeviceRegistry::open();
  ASSERT_TRUE(registry.ok());
  int local = 0;
  EXPECT_EQ(&(*registry)->device_of(&local, sizeof local), &(*registry)->host());
  EXPECT_EQ((*registry)->host().name(), "host");
  EXPECT_EQ((*registry)->find("sim"), nullptr);
  EXPECT_EQ((*registry)->all().size(), 1u);
}

TEST(DeviceRegistry, TellsWhoseAPointerIs) {
  ASSERT_EQ(::setenv("COMITY_DEVICES", "host,sim", 1), 0);
  auto registry = DeviceRegistry::open();
  ::unsetenv("COMITY_DEVICES");
  ASSERT_TRUE(registry.ok()) << registry.status().message();
  Device* sim = (*registry)->find("sim");
  ASSERT_NE(sim, nullptr);
  void* device_memory = sim->allocate(100).value();
  void* host_memory = (*registry)->host().allocate(100).value();
  int local = 0;
  EXPECT_EQ(&(*registry)->device_of(device_memory, 100), sim);
  EXPECT_EQ(&(*registry)->device_of(host_memory, 100), &(*registry)->host());
  EXPECT_EQ(&(*registry)->device_of(&local, sizeof local), &(*registry)->host());
  EXPECT_TRUE((*registry)->host().release(host_memory).ok());
  EXPECT_TRUE(sim->release(device_memory).ok());
}

TEST(DeviceRegistry, AddsTheHostWhereTheListLacksIt) {
  auto registry = DeviceRegistry::open("sim:1");
  ASSERT_TRUE(registry.ok());
  ASSERT_EQ((*registry)->all().size(), 2u);
  EXPECT_EQ((*registry)->all()[0]->name(), "host");
  EXPECT_EQ((*registry)->find("host"), &(*registry)->host());
}

TEST(DeviceRegistry, OpensAllDevicesOfARuntimeOrOneAndFindsThemByName) {
  auto registry = DeviceRegistry::open("sim");
  ASSERT_TRUE(registry.ok());
  const auto all = (*registry)->all();
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[1]->name(), "sim:0");
  EXPECT_EQ(all[2]->name(), "sim:1");
  EXPECT_EQ((*registry)->find("sim"), all[1]);
  EXPECT_EQ((*registry)->find("sim:1"), all[2]);
  void* memory = all[2]->allocate(100).value();
  EXPECT_EQ(&(*registry)->device_of(memory, 100), all[2]);
  EXPECT_TRUE(all[2]->release(memory).ok());
}

TEST(DeviceRegistry, RefusesUnknownAndRepeatedNames) {
  for (const char* names : {"gpu", "host,host", "sim,sim", "sim,sim:1", "sim:2", "host,,sim", "host,Sim",
                            "./no_plugin_there.so"}) {
    auto registry = DeviceRegistry::open(names);
    ASSERT_FALSE(registry.ok()) << names;
    EXPECT_EQ(registry.status().code(), std::string_view(names).find('/') == std::string_view::npos
                                            ? Code::kInvalidArgument
                                            : Code::kSystemError)
        << registry.status().message();
    EXPECT_NE(registry.status().message().find("COMITY_DEVICES"), std::string::npos);
  }
}

}  // namespace
}  // namespace comity
