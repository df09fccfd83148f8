#include "topology/discover/rdma.h"

#include <fmt/core.h>

#include <cctype>
#include <cmath>
#include <cstdlib>

#include "topology/discover/sysfs.h"

namespace comity::topology {
namespace {

// "200 Gb/sec (4X HDR)", "2.5 Gb/sec (1X SDR)" -> bytes/s, as the kernel states it.
uint64_t parse_rate(const std::string& text) {
  char* end = nullptr;
  const double giga = std::strtod(text.c_str(), &end);
  if (end == text.c_str() || giga <= 0 || giga > 100'000) return 0;
  return static_cast<uint64_t>(std::llround(giga * 1000)) * 125'000u;
}

// "4: ACTIVE" -> "active"
std::string parse_state(const std::string& text) {
  const size_t colon = text.find(": ");
  std::string state = colon == std::string::npos ? text : text.substr(colon + 2);
  for (char& c : state) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return state;
}

bool is_zero_gid(const std::string& gid) {
  return gid.find_first_not_of("0:") == std::string::npos;
}

void read_gids(const std::string& folder, RdmaPort& port) {
  for (const std::string& index : list_folder(folder + "/gids")) {
    const std::string gid = read_text(fmt::format("{}/gids/{}", folder, index));
    if (is_zero_gid(gid)) continue;
    ++port.gids;
    if (index == "0") port.first_gid = gid;
    if (port.netdev.empty()) port.netdev = read_text(fmt::format("{}/gid_attrs/ndevs/{}", folder, index));
  }
}

RdmaPort read_port(const std::string& device_folder, const std::string& device, const std::string& number) {
  const std::string folder = fmt::format("{}/ports/{}", device_folder, number);
  RdmaPort port;
  port.device = device;
  port.port = static_cast<uint32_t>(std::strtoul(number.c_str(), nullptr, 10));
  port.bus_id = bus_id_of(resolve(device_folder + "/device"));
  port.infiniband = read_text(folder + "/link_layer") == "InfiniBand";
  port.bandwidth_bytes_per_s = parse_rate(read_text(folder + "/rate"));
  port.state = parse_state(read_text(folder + "/state"));
  port.node_guid = read_text(device_folder + "/node_guid");
  port.numa = static_cast<int32_t>(read_number(device_folder + "/device/numa_node").value_or(-1));
  // Software devices name the netdev that they stand on.
  port.netdev = read_text(device_folder + "/parent");
  read_gids(folder, port);
  if (port.infiniband) port.netdev.clear();
  return port;
}

}  // namespace

std::vector<RdmaPort> scan_rdma(const std::string& sysfs) {
  std::vector<RdmaPort> ports;
  for (const std::string& device : list_folder(sysfs + "/class/infiniband")) {
    const std::string folder = fmt::format("{}/class/infiniband/{}", sysfs, device);
    for (const std::string& number : list_folder(folder + "/ports")) {
      if (number.find_first_not_of("0123456789") == std::string::npos)
        ports.push_back(read_port(folder, device, number));
    }
  }
  return ports;
}

}  // namespace comity::topology
