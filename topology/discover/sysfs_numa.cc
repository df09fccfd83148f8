#include "topology/discover/sysfs_numa.h"

#include <fmt/core.h>
#include <sys/utsname.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <sstream>

#include "topology/discover/sysfs.h"

namespace comity::topology {
namespace {

// "Node 0 MemTotal:       16607444 kB"
uint64_t memory_of(const std::string& meminfo) {
  const size_t at = meminfo.find("MemTotal:");
  return at == std::string::npos ? 0 : std::strtoull(meminfo.c_str() + at + 9, nullptr, 10) * 1024;
}

// Of the first line "key<blanks>: value"; empty if there is none.
std::string value_of(const std::string& cpuinfo, const std::string& key) {
  std::istringstream lines(cpuinfo);
  for (std::string line; std::getline(lines, line);) {
    const size_t colon = line.find(':');
    const size_t end = line.find_last_not_of(" \t", colon == 0 ? 0 : colon - 1);
    if (colon == std::string::npos || end + 1 != key.size() || line.compare(0, key.size(), key) != 0)
      continue;
    return colon + 2 <= line.size() ? line.substr(colon + 2) : "";
  }
  return {};
}

}  // namespace

std::vector<NumaDomain> scan_numa(const std::string& sysfs) {
  const std::string folder = sysfs + "/devices/system/node";
  std::vector<NumaDomain> online;
  for (const std::string& name : list_folder(folder)) {
    const bool numbered =
        name.size() > 4 && name.size() < 9 && name.compare(0, 4, "node") == 0 &&
        std::all_of(name.begin() + 4, name.end(), [](unsigned char c) { return std::isdigit(c); });
    if (!numbered) continue;
    NumaDomain domain;
    domain.number = std::atoi(name.c_str() + 4);
    domain.cpus = read_text(fmt::format("{}/{}/cpulist", folder, name));
    domain.memory_bytes = memory_of(read_text(fmt::format("{}/{}/meminfo", folder, name)));
    std::istringstream distances(read_text(fmt::format("{}/{}/distance", folder, name)));
    for (uint32_t distance = 0; distances >> distance;) domain.distances.push_back(distance);
    online.push_back(std::move(domain));
  }
  std::sort(online.begin(), online.end(), [](const auto& a, const auto& b) { return a.number < b.number; });
  // A column of `distance` is a domain online: those that are left out take their column with them.
  std::vector<NumaDomain> kept;
  const auto is_used = [](const NumaDomain& domain) {
    return !domain.cpus.empty() || domain.memory_bytes > 0;
  };
  for (NumaDomain domain : online) {
    if (!is_used(domain)) continue;
    std::vector<uint32_t> distances;
    for (size_t other = 0; other < online.size() && other < domain.distances.size(); ++other)
      if (is_used(online[other])) distances.push_back(domain.distances[other]);
    domain.distances = std::move(distances);
    kept.push_back(std::move(domain));
  }
  return kept;
}

HostNames read_host_names(const std::string& procfs) {
  utsname system{};
  uname(&system);
  HostNames names;
  names.boot_id = read_text(procfs + "/sys/kernel/random/boot_id");
  names.hostname = read_text(procfs + "/sys/kernel/hostname");
  if (names.hostname.empty()) names.hostname = system.nodename;
  names.arch = system.machine;
  const std::string cpus = read_text(procfs + "/cpuinfo");
  names.cpu_vendor = value_of(cpus, "vendor_id");
  names.cpu_model = value_of(cpus, "model name");
  names.cpu_family = value_of(cpus, "cpu family");
  names.cpu_model_number = value_of(cpus, "model");
  return names;
}

}  // namespace comity::topology
