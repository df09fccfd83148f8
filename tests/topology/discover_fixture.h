// A folder that looks like /sys and /proc, written by a test.
#pragma once

#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "topology/discover/discover.h"

namespace comity::topology {

class FakeSystem {
 public:
  FakeSystem() {
    char name[] = "/tmp/comity-sysfs-XXXXXX";
    folder_ = mkdtemp(name);
    write("proc/sys/kernel/random/boot_id", "11111111-2222-3333-4444-555555555555\n");
    write("proc/sys/kernel/hostname", "machine\n");
  }
  ~FakeSystem() {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  FakeSystem(const FakeSystem&) = delete;
  FakeSystem& operator=(const FakeSystem&) = delete;

  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  void write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories(std::filesystem::path(path(name)).parent_path());
    std::ofstream(path(name)) << text;
  }
  void link(const std::string& name, const std::string& target) const {
    std::filesystem::create_directories(std::filesystem::path(path(name)).parent_path());
    std::filesystem::create_symlink(path(target), path(name));
  }
  void numa(int number, const std::string& cpus, const std::string& distances) const {
    const std::string folder = "sys/devices/system/node/node" + std::to_string(number);
    write(folder + "/cpulist", cpus + "\n");
    write(folder + "/distance", distances + "\n");
    write(folder + "/meminfo", "Node 0 MemTotal:       16607444 kB\n");
  }
  // `place`: "pci0000:00/0000:00:01.0/0000:01:00.0"; `ids`: class, vendor, device; speeds: "16.0 GT/s PCIe
  // x16" now and at most, or empty.
  void pci(const std::string& place, const std::vector<std::string>& ids, const std::string& now,
           const std::string& most, int numa = -1) const {
    const std::string folder = "sys/devices/" + place;
    write(folder + "/class", ids[0] + "\n");
    write(folder + "/vendor", ids[1] + "\n");
    write(folder + "/device", ids[2] + "\n");
    write(folder + "/numa_node", std::to_string(numa) + "\n");
    for (const auto& [which, speed] : {std::pair{"current", now}, std::pair{"max", most}}) {
      if (speed.empty()) continue;
      const size_t x = speed.rfind(" x");
      write(folder + "/" + which + "_link_speed", speed.substr(0, x) + "\n");
      write(folder + "/" + which + "_link_width", speed.substr(x + 2) + "\n");
    }
    link("sys/bus/pci/devices/" + place.substr(place.rfind('/') + 1), folder);
  }
  void netdev(const std::string& name, const std::string& place, int megabits_per_s) const {
    const std::string folder =
        "sys/devices/" + (place.empty() ? "virtual/net/" + name : place + "/net/" + name);
    write(folder + "/type", "1\n");
    write(folder + "/speed", std::to_string(megabits_per_s) + "\n");
    write(folder + "/operstate", "up\n");
    write(folder + "/flags", "0x1003\n");
    write(folder + "/dev_port", "0\n");
    if (!place.empty()) link(folder + "/device", "sys/devices/" + place);
    link("sys/class/net/" + name, folder);
  }
  void rdma(const std::string& name, const std::string& place, const std::string& link_layer,
            const std::string& rate) const {
    const std::string folder = "sys/devices/" + (place.empty() ? "virtual" : place) + "/infiniband/" + name;
    write(folder + "/node_guid", "0c42:a103:0065:bafe\n");
    write(folder + "/ports/1/link_layer", link_layer + "\n");
    write(folder + "/ports/1/rate", rate + "\n");
    write(folder + "/ports/1/state", "4: ACTIVE\n");
    write(folder + "/ports/1/gids/0", "fe80:0000:0000:0000:0e42:a1ff:fe65:bafe\n");
    write(folder + "/ports/1/gids/1", "0000:0000:0000:0000:0000:0000:0000:0000\n");
    if (!place.empty()) link(folder + "/device", "sys/devices/" + place);
    link("sys/class/infiniband/" + name, folder);
  }
  // Reads this folder alone: no libraries, no cache.
  DiscoverOptions options() const {
    DiscoverOptions options;
    options.sysfs = path("sys");
    options.procfs = path("proc");
    options.vendor_libraries = false;
    options.cache = false;
    return options;
  }

 private:
  std::string folder_;
};

// Two NUMA domains; below domain 1 a switch with two GPUs, an InfiniBand HCA, and a card of two Ethernet
// ports.
inline void write_gpu_machine(const FakeSystem& system) {
  system.numa(0, "0-3", "10 21");
  system.numa(1, "4-7", "21 10");
  const std::vector<std::string> root_port = {"0x060400", "0x8086", "0x352a"};
  const std::vector<std::string> port = {"0x060400", "0x1000", "0xc030"};
  const std::vector<std::string> gpu = {"0x030200", "0x10de", "0x2330"};
  const std::vector<std::string> hca = {"0x020700", "0x15b3", "0x1021"};
  const std::string up = "pci0000:80/0000:80:01.0/0000:81:00.0";
  system.pci("pci0000:80/0000:80:01.0", root_port, "16.0 GT/s PCIe x16", "32.0 GT/s PCIe x16", 1);
  system.pci(up, port, "16.0 GT/s PCIe x16", "16.0 GT/s PCIe x16", 1);
  for (int slot = 0; slot < 3; ++slot) {
    const std::string down = up + "/0000:82:0" + std::to_string(slot) + ".0";
    const std::string bus = "/0000:8" + std::to_string(3 + slot) + ":00.0";
    system.pci(down, port, "2.5 GT/s PCIe x16", "16.0 GT/s PCIe x16", 1);
    // The GPUs idle; they could run faster than the switch.
    system.pci(down + bus, slot < 2 ? gpu : hca, "2.5 GT/s PCIe x16", "32.0 GT/s PCIe x16", 1);
  }
  const std::string hca_place = up + "/0000:82:02.0/0000:85:00.0";
  system.rdma("mlx5_0", hca_place, "InfiniBand", "400 Gb/sec (4X NDR)");
  system.pci("pci0000:00/0000:00:02.0", root_port, "8.0 GT/s PCIe x8", "8.0 GT/s PCIe x8", 0);
  for (const char* function : {"0", "1"}) {
    const std::string place = std::string("pci0000:00/0000:00:02.0/0000:01:00.") + function;
    system.pci(place, {"0x020000", "0x8086", "0x1572"}, "8.0 GT/s PCIe x8", "8.0 GT/s PCIe x8", 0);
    system.netdev(std::string("eth") + function, place, 10'000);
  }
  // A management chip's display and a disk are none of ours.
  system.pci("pci0000:00/0000:00:03.0", {"0x030000", "0x1a03", "0x2000"}, "", "", 0);
  system.pci("pci0000:00/0000:00:04.0", {"0x010802", "0x144d", "0xa80a"}, "", "", 0);
}

}  // namespace comity::topology
