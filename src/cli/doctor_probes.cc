#include "src/cli/doctor_probes.h"

#include <dlfcn.h>
#include <fmt/core.h>
#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "src/base/socket.h"
#include "src/base/unique_fd.h"
#include "src/device/host/kernels.h"
#include "src/device/registry.h"
#include "src/device/runtimes.h"
#include "topology/discover/discover.h"
#include "transports/ucx/ucx_transport.h"
#include "transports/verbs/verbs_transport.h"

namespace comity::cli {
namespace {

struct Library {
  const char* name;
  const char* file;
  const char* use;
  const char* how_to_get;
};

constexpr Library kLibraries[] = {
    {"hwloc", "libhwloc.so.15", "caches, NUMA nodes, PCI", "apt install libhwloc15"},
    {"CUDA", "libcuda.so.1", "NVIDIA GPUs",
     "comes with the driver: apt install libcuda1 (non-free), or NVIDIA's installer"},
    {"HIP", "libamdhip64.so.5", "AMD GPUs", "apt install libamdhip64-5"},
    {"Level Zero", "libze_loader.so.1", "Intel GPUs", "apt install libze1"},
    {"OpenCL", "libOpenCL.so.1", "any device with OpenCL",
     "apt install ocl-icd-libopencl1, and pocl-opencl-icd for the CPU"},
};

std::string where_loaded(void* library) {
  link_map* map = nullptr;
  if (dlinfo(library, RTLD_DI_LINKMAP, &map) != 0 || map == nullptr) return "found";
  return map->l_name;
}

Finding probe_memory_sharing() {
  Finding finding{"shm", false, true, {}};
  const UniqueFd memory(memfd_create("comity-doctor", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  const long page = sysconf(_SC_PAGESIZE);
  if (memory.get() < 0 || ftruncate(memory.get(), page) != 0) {
    finding.detail = fmt::format(
        "shared memory cannot be made: {}; raise `ulimit -f` and look at seccomp rules for memfd_create",
        std::strerror(errno));
    return finding;
  }
  finding.present = true;
  finding.detail = "built in; memfd and sealing work";
  return finding;
}

Finding probe_sockets() {
  Finding finding{"tcp", false, true, {}};
  const Result<std::vector<NetworkInterface>> interfaces = usable_interfaces();
  if (!interfaces.ok()) {
    finding.detail = fmt::format("no interface to use: {}", interfaces.status().message());
    return finding;
  }
  for (const NetworkInterface& each : *interfaces) {
    const Result<UniqueFd> listener = listen_on(each.address, 1);
    finding.present = finding.present || listener.ok();
    finding.detail +=
        fmt::format("{}{} {}", finding.detail.empty() ? "built in; " : ", ", each.name,
                    listener.ok() ? each.address.text() : std::string(listener.status().message()));
    if (each.speed_bits_per_s > 0)
      finding.detail += fmt::format(" ({} Mbit/s)", each.speed_bits_per_s / 1'000'000);
  }
  return finding;
}

std::string devices_in_words(const DeviceRuntime& runtime) {
  std::string words;
  for (uint32_t number = 0; number < runtime.device_count(); ++number) {
    comityDeviceProperties its{};
    its.size = sizeof its;
    if (runtime.table().properties(number, &its) != COMITY_DEVICE_OK) continue;
    words += fmt::format("{}{}:{} is {} ({})", words.empty() ? "" : "; ", runtime.name(), number, its.name,
                         its.driver);
  }
  return words.empty() ? "opens, and has no device" : words;
}

// Of one that stands on a library and on hardware.
Finding probe_optional(const char* name, const Result<std::string>& found) {
  if (found.ok()) return {name, true, false, *found};
  return {name, false, false, std::string(found.status().message())};
}

}  // namespace

std::vector<Finding> probe_transports() {
  const Result<Settings> settings = Settings::read();
  return {probe_memory_sharing(), probe_sockets(),
          probe_optional("verbs (libibverbs)",
                         settings.ok() ? verbs::describe_verbs(*settings) : settings.status()),
          probe_optional("ucx (UCX)", ucx::describe_ucx())};
}

std::vector<Finding> probe_devices() {
  std::string sets;
  for (const Isa isa : available_isas()) sets += fmt::format("{}{}", sets.empty() ? "" : ", ", name_of(isa));
  std::vector<Finding> findings = {
      {"host", true, true, fmt::format("built in; kernels for {}; uses {}", sets, name_of(best_isa()))},
      {"sim", true, false, "built in; for tests: COMITY_DEVICES=host,sim"}};
  const auto add = [&](const std::string& name) {
    const auto runtime = open_runtime(name);
    findings.push_back(
        {name, runtime.ok(), false,
         runtime.ok() ? devices_in_words(**runtime) : std::string(runtime.status().message())});
  };
  for (const std::string_view name : built_in_devices()) {
    if (name != "sim") add(std::string(name));
  }
  for (const std::string& name : plugins_in_path()) add(name);
  const auto opened = DeviceRegistry::open();
  if (!opened.ok())
    findings.push_back({"COMITY_DEVICES", false, true, std::string(opened.status().message())});
  return findings;
}

std::vector<Finding> probe_libraries() {
  std::vector<Finding> findings;
  for (const Library& library : kLibraries) {
    // Stays open until the program ends: not every one of these can be unloaded cleanly.
    void* handle = dlopen(library.file, RTLD_LAZY | RTLD_LOCAL);
    Finding& finding = findings.emplace_back(Finding{library.name, handle != nullptr, false, {}});
    finding.detail = handle != nullptr ? fmt::format("{} ({})", where_loaded(handle), library.use)
                                       : fmt::format("{} is not there ({}): {}", library.file, library.use,
                                                     library.how_to_get);
  }
  return findings;
}

std::vector<Finding> probe_topology() {
  topology::DiscoverOptions options;
  options.refresh = true;  // who asks may just have installed what was missing
  const auto discovered = topology::discover(options);
  if (!discovered.ok()) return {{"discovery", false, true, std::string(discovered.status().message())}};
  std::vector<Finding> findings;
  for (const topology::Finding& each : discovered->findings)
    findings.push_back({each.source, each.ok, false, each.text});
  return findings;
}

}  // namespace comity::cli
