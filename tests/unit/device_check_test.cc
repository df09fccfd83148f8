// The conformance suite itself: it passes every table that is here, and finds every planted fault.
#include "src/cli/device_check.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "src/device/runtimes.h"
#include "tests/support/effort.h"
#include "tests/support/planted_faults.h"

namespace comity::test {
namespace {

using cli::Checked;

// A runtime's name, or null where it is not here. The plugin of the documentation is a file.
std::shared_ptr<DeviceRuntime> open(const std::string& name) {
  auto runtime = open_runtime(name == "lent" ? COMITY_LENT_PLUGIN : name);
  return runtime.ok() ? std::move(runtime).value() : nullptr;
}

class Tables : public testing::TestWithParam<const char*> {};

TEST_P(Tables, KeepTheirContract) {
  const auto runtime = open(GetParam());
  if (runtime == nullptr) GTEST_SKIP() << "needs an OpenCL driver (pocl-opencl-icd)";
  const cli::DeviceReport report = cli::check_device(runtime, 0, {false, 20'000});
  for (const Checked& check : report.checks)
    EXPECT_NE(check.outcome, Checked::Outcome::kFails) << check.what << ": " << check.detail;
  EXPECT_GE(report.count(Checked::Outcome::kHolds), 8u);
}

INSTANTIATE_TEST_SUITE_P(Device, Tables, testing::Values("host", "sim", "lent", "opencl"),
                         [](const auto& each) { return std::string(each.param); });

class Planted : public testing::TestWithParam<std::tuple<const char*, PlantedFault>> {};

TEST_P(Planted, IsFound) {
  const auto& [name, fault] = GetParam();
  const auto sound = open(name);
  if (sound == nullptr) GTEST_SKIP() << "needs an OpenCL driver (pocl-opencl-icd)";
  const auto faulty = DeviceRuntime::open(&with_fault(sound->table(), fault), "a test");
  ASSERT_TRUE(faulty.ok()) << faulty.status().message();
  const cli::DeviceReport report = cli::check_device(*faulty, 0, {false, 2000, 500});
  bool found = false;
  for (const Checked& check : report.checks) {
    // Where real threads race any check may be the one that meets it.
    const bool met = std::string_view(name) != "sim" || check.what.find(fault.found_by) != std::string::npos;
    if (check.outcome == Checked::Outcome::kFails && met) found = !check.detail.empty();
  }
  EXPECT_TRUE(found) << "no check that says \"" << fault.found_by << "\" fails";
}

// All of them on the simulated device, and on the others those that show whoever is faster. What makes events
// lie lets threads race, and under ThreadSanitizer a check takes ten seconds: a few there.
std::vector<std::tuple<const char*, PlantedFault>> planted() {
  std::vector<std::tuple<const char*, PlantedFault>> all;
  const auto& faults = planted_faults();
  for (size_t i = 0; i < faults.size(); ++i) {
    if (kThreadSanitized && i >= 3) break;
    all.emplace_back("sim", faults[i]);
    if (kThreadSanitized) continue;
    if (i % 3 == 0) all.emplace_back("lent", faults[i]);
    if (i % 3 == 1 && faults[i].found_by != std::string_view("order of issue"))
      all.emplace_back("opencl", faults[i]);
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(Fault, Planted, testing::ValuesIn(planted()), [](const auto& each) {
  return std::string(std::get<0>(each.param)) + "_" + std::get<1>(each.param).name;
});

// --- what is refused ---------------------------------------------------------------------------------------

struct Refusal {
  const char* name;
  const char* says;
  void (*spoil)(comityDeviceTable& table);
};

class Refused : public testing::TestWithParam<Refusal> {};

TEST_P(Refused, WithASentence) {
  const auto sim = open("sim");
  ASSERT_NE(sim, nullptr);
  comityDeviceTable table = sim->table();
  table.stop = nullptr;
  GetParam().spoil(table);
  const auto opened = DeviceRuntime::open(&table, "vendor.so");
  ASSERT_FALSE(opened.ok());
  EXPECT_EQ(opened.status().code(), Code::kInvalidUsage);
  for (const char* part : {"vendor.so", GetParam().says})
    EXPECT_NE(opened.status().message().find(part), std::string::npos) << opened.status().message();
}

const Refusal kRefusals[] = {
    {"AnotherAbi", "ABI 7", [](auto& table) { table.abi = 7; }},
    {"ATruncatedTable", "truncated", [](auto& table) { table.size = 64; }},
    {"AMissingEntry", "lacks event_query", [](auto& table) { table.event_query = nullptr; }},
    {"AnotherMissingEntry", "lacks allocate", [](auto& table) { table.allocate = nullptr; }},
    {"ATornGroup", "all of them or none", [](auto& table) { table.gate_open = nullptr; }},
    {"NoName", "name", [](auto& table) { table.name = nullptr; }},
    {"ANameThatIsNoWord", "name", [](auto& table) { table.name = "My GPU"; }},
};
INSTANTIATE_TEST_SUITE_P(Table, Refused, testing::ValuesIn(kRefusals),
                         [](const auto& each) { return std::string(each.param.name); });

TEST(DeviceRuntime, RefusesWhatIsNoPlugin) {
  const auto absent = open_runtime("./there_is_no_such_plugin.so");
  EXPECT_EQ(absent.status().code(), Code::kUnsupported);
  const auto other = open_runtime("/proc/self/exe");
  ASSERT_FALSE(other.ok());
  EXPECT_NE(other.status().message().find("plugin"), std::string::npos) << other.status().message();
  EXPECT_EQ(DeviceRuntime::open(nullptr, "x").status().code(), Code::kInvalidUsage);
}

TEST(DeviceRuntime, FindsPluginsInItsPath) {
  const std::string file = COMITY_LENT_PLUGIN;
  ::setenv("COMITY_PLUGIN_PATH", ("/nowhere:" + file.substr(0, file.rfind('/'))).c_str(), 1);
  const auto names = plugins_in_path();
  const auto runtime = open_runtime("lent");
  ::unsetenv("COMITY_PLUGIN_PATH");
  EXPECT_EQ(names, std::vector<std::string>({"failing", "hanging", "holding", "lent"}));
  ASSERT_TRUE(runtime.ok()) << runtime.status().message();
  EXPECT_EQ((*runtime)->name(), "lent");
}

}  // namespace
}  // namespace comity::test
