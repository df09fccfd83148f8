// The table of collectives with ranks on devices: of one kind, of several in one communicator, and with input
// and output of one rank on different ones. Real OpenCL where a driver is installed; fakes of two other
// makers' runtimes.
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <fmt/core.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>

#include "src/device/runtimes.h"
#include "tests/collectives/worlds.h"
#include "tests/support/effort.h"
#include "tests/support/spawn.h"

namespace comity::test {
namespace {

bool opencl_is_here() {
  static const bool here = open_runtime("opencl").ok();
  return here;
}

// Which need nothing that this process alone has.
std::string other_devices() {
  const std::string devices = "host,sim," COMITY_LENT_PLUGIN;
  return opencl_is_here() ? devices + ",opencl" : devices;
}

struct World {
  uint32_t nranks;
  const char* transports;
  std::vector<std::string> devices;  // as TableChoice's
  bool processes;
};

std::string name_of_world(const testing::TestParamInfo<World>& info) {
  const World& world = info.param;
  std::string name =
      fmt::format("p{}_{}", world.nranks, *world.transports == '\0' ? "all" : world.transports);
  for (const std::string& device : world.devices) name += "_" + device;
  if (world.processes) name += "_processes";
  for (size_t at; (at = name.find('>')) != std::string::npos;) name.replace(at, 1, "_to_");
  std::replace(name.begin(), name.end(), ':', '_');
  return name;
}

class Devices : public testing::TestWithParam<World> {};

TEST_P(Devices, GiveExactResultsInEveryRow) {
  const World& world = GetParam();
  const bool needs_opencl = std::any_of(world.devices.begin(), world.devices.end(), [](const auto& device) {
    return device.find("opencl") != std::string::npos;
  });
  if (needs_opencl && !opencl_is_here()) GTEST_SKIP() << "needs an OpenCL driver (pocl-opencl-icd)";
  const ScopedEnv transports("COMITY_TRANSPORTS", world.transports);
  TableChoice choice;
  choice.nranks = world.nranks;
  choice.pairwise = kInstrumented || !full_effort();
  choice.seed = world.nranks;
  choice.memories = {Memory::kDevice};
  choice.devices = world.devices;
  const std::string own = std::getenv("COMITY_DEVICES");
  const ScopedEnv for_children("COMITY_DEVICES", world.processes ? other_devices() : own);
  if (world.processes) return run_processes(choice, std::vector<std::string>(world.nranks));
  for (const Report& report : run_threads(choice)) expect_report(report, choice, make_rows(choice).size());
}

std::vector<World> worlds() {
  const std::vector<std::vector<std::string>> mixtures = {{"opencl"},
                                                          {"host", "opencl"},
                                                          {"host", "sim", "opencl"},
                                                          {"host>opencl", "opencl>host", "sim>opencl"},
                                                          {"sim>sim:1", "host>sim"},
                                                          {"lent", "host", "lent>host"},
                                                          {"cuda", "hip", "host", "hip:1>cuda"}};
  std::vector<World> all;
  for (const auto& devices : mixtures) {
    for (const uint32_t nranks : {2u, 3u, 4u, 8u}) {
      if (kInstrumented && nranks != 3) continue;
      all.push_back({nranks, "", devices, false});
      if (nranks == 3) all.push_back({nranks, "tcp", devices, false});
    }
    const bool faked = devices.front() == "cuda";  // in this process alone
    if (!kThreadSanitized && !faked) all.push_back({2, "", devices, true});
  }
#ifdef COMITY_HAS_UCX
  if (!kThreadSanitized) all.push_back({3, "ucx", mixtures[2], true});  // UCX itself is not instrumented
#endif
  return all;
}

INSTANTIATE_TEST_SUITE_P(Table, Devices, testing::ValuesIn(worlds()), name_of_world);

}  // namespace
}  // namespace comity::test

int main(int argc, char** argv) {
  // Fakes of two makers' runtimes, which are found by their own names as they are there already.
  for (const char* fake : {COMITY_FAKES}) {
    if (::dlopen(fake, RTLD_NOW | RTLD_LOCAL) == nullptr) return 1;
  }
  ::setenv("COMITY_DEVICES", (comity::test::other_devices() + ",cuda,hip").c_str(), 1);
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
