#include "topology/discover/sysfs_numa.h"

#include <fmt/core.h>
#include <sys/utsname.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdlib>
#include <set>
#include <sstream>

#include "topology/discover/sysfs.h"

namespace comity::topology {
namespace {

// "Node 0 MemTotal:       16607444 kB"
uint64_t memory_of(const std::string& meminfo) {
  const size_t at = meminfo.find("MemTotal:");
  return at == std::string::npos ? 0 : std::strtoull(meminfo.c_str() + at + 9, nullptr, 10) * 1024;
}

// "0-3,8" -> 0, 1, 2, 3, 8. What is no such list gives none.
std::vector<uint32_t> cpus_of(std::string_view list) {
  constexpr uint32_t kMost = 8192;
  std::vector<uint32_t> cpus;
  while (!list.empty()) {
    const std::string_view range = list.substr(0, list.find(','));
    list.remove_prefix(std::min(range.size() + 1, list.size()));
    uint32_t first = 0, last = 0;
    const char* const end = range.data() + range.size();
    auto read = std::from_chars(range.data(), end, first);
    last = first;
    if (read.ec == std::errc() && read.ptr != end && *read.ptr == '-')
      read = std::from_chars(read.ptr + 1, end, last);
    if (read.ec != std::errc() || read.ptr != end || last >= kMost) return {};
    for (uint32_t cpu = first; cpu <= last; ++cpu) cpus.push_back(cpu);
  }
  return cpus;
}

// "48K" -> "48 KiB", "32768K" -> "32 MiB".
std::string size_text(const std::string& text) {
  const uint64_t kib = std::strtoull(text.c_str(), nullptr, 10) * (text.ends_with('M') ? 1024 : 1);
  return kib % 1024 == 0 && kib != 0 ? fmt::format("{} MiB", kib / 1024) : fmt::format("{} KiB", kib);
}

std::string caches_of(const std::string& cpu_folder, size_t threads) {
  std::string text;
  for (const std::string& index : list_folder(cpu_folder + "/cache")) {
    const std::string folder = fmt::format("{}/cache/{}", cpu_folder, index);
    const std::string type = read_text(folder + "/type"), size = read_text(folder + "/size");
    if (size.empty() || type == "Instruction") continue;
    text += fmt::format("{}L{}{} {}", text.empty() ? "" : ", ", read_text(folder + "/level"),
                        type == "Data" ? "d" : "", size_text(size));
    const size_t shared = cpus_of(read_text(folder + "/shared_cpu_list")).size();
    if (shared > threads) text += fmt::format(" for {} CPUs", shared);
  }
  return text;
}

void read_cores(const std::string& sysfs, NumaDomain& domain) {
  std::set<std::string> cores;
  for (const uint32_t cpu : cpus_of(domain.cpus)) {
    const std::string folder = fmt::format("{}/devices/system/cpu/cpu{}", sysfs, cpu);
    std::string threads = read_text(folder + "/topology/core_cpus_list");
    if (threads.empty()) threads = read_text(folder + "/topology/thread_siblings_list");  // before Linux 5.3
    if (threads.empty()) continue;
    if (cores.empty()) domain.caches = caches_of(folder, cpus_of(threads).size());
    cores.insert(threads);
  }
  domain.cores = static_cast<uint32_t>(cores.size());
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
    read_cores(sysfs, domain);
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
