// Which network interfaces this process may use: what the kernel lists, filtered by the settings.
#include <arpa/inet.h>
#include <fmt/core.h>
#include <fmt/ranges.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "src/base/errno_text.h"
#include "src/base/file.h"
#include "src/base/settings.h"
#include "src/base/socket.h"
#include "src/base/text.h"

namespace comity {
namespace {

// One item of COMITY_SOCKET_IFNAME.
struct NamePattern {
  std::string name;
  bool exact = false;
  bool excludes = false;
  bool matches(const std::string& interface) const {
    return exact ? interface == name : interface.compare(0, name.size(), name) == 0;
  }
};

std::vector<NamePattern> parse_patterns(const std::string& text) {
  std::vector<NamePattern> patterns;
  NamePattern first;
  for (const std::string_view item : split_list(text)) {
    NamePattern pattern = first;
    size_t at = 0;
    for (; at < item.size() && (item[at] == '^' || item[at] == '='); ++at) {
      (item[at] == '^' ? pattern.excludes : pattern.exact) = true;
    }
    if (patterns.empty()) first = pattern;
    pattern.name = item.substr(at);
    patterns.push_back(std::move(pattern));
  }
  return patterns;
}

bool passes(const std::vector<NamePattern>& patterns, const std::string& interface) {
  bool selects = false;
  bool selected = false;
  for (const NamePattern& pattern : patterns) {
    if (pattern.excludes && pattern.matches(interface)) return false;
    selects |= !pattern.excludes;
    selected |= !pattern.excludes && pattern.matches(interface);
  }
  return selected || !selects;
}

bool is_bridge_of_containers(const std::string& name) {
  return name.compare(0, 6, "docker") == 0 || name.compare(0, 5, "virbr") == 0;
}

// Lower is preferred: IPv4, IPv6, IPv6 link-local.
int preference(const SocketAddress& address) {
  if (address.family() == AF_INET) return 0;
  const auto& ipv6 = reinterpret_cast<const sockaddr_in6&>(address.storage);
  return IN6_IS_ADDR_LINKLOCAL(&ipv6.sin6_addr) ? 2 : 1;
}

bool same_host_address(const SocketAddress& a, const SocketAddress& b) {
  if (a.family() != b.family()) return false;
  if (a.family() == AF_INET) {
    return reinterpret_cast<const sockaddr_in&>(a.storage).sin_addr.s_addr ==
           reinterpret_cast<const sockaddr_in&>(b.storage).sin_addr.s_addr;
  }
  return std::memcmp(&reinterpret_cast<const sockaddr_in6&>(a.storage).sin6_addr,
                     &reinterpret_cast<const sockaddr_in6&>(b.storage).sin6_addr, 16) == 0;
}

// All of 127.0.0.0/8 is this host, though the interface lists just one address of it.
bool is_ipv4_loopback(const SocketAddress& address) {
  return address.family() == AF_INET &&
         (ntohl(reinterpret_cast<const sockaddr_in&>(address.storage).sin_addr.s_addr) >> 24) == 127;
}

uint64_t speed_of(const std::string& name) {
  // Virtual interfaces answer -1 or refuse the read.
  const int64_t megabits_per_s =
      std::strtoll(first_line_of("/sys/class/net/" + name + "/speed").c_str(), nullptr, 10);
  return megabits_per_s > 0 ? static_cast<uint64_t>(megabits_per_s) * 1'000'000u : 0;
}

// Every address of every interface that is up.
Result<std::vector<NetworkInterface>> all_addresses() {
  ifaddrs* raw = nullptr;
  if (::getifaddrs(&raw) != 0) {
    return Status(Code::kSystemError, fmt::format("cannot list network interfaces: {}", errno_text(errno)));
  }
  const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> list(raw, &::freeifaddrs);
  std::vector<NetworkInterface> found;
  for (const ifaddrs* entry = list.get(); entry != nullptr; entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr || (entry->ifa_flags & IFF_UP) == 0) continue;
    const int family = entry->ifa_addr->sa_family;
    if (family != AF_INET && family != AF_INET6) continue;
    NetworkInterface interface;
    interface.name = entry->ifa_name;
    interface.address.length = family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
    std::memcpy(&interface.address.storage, entry->ifa_addr, interface.address.length);
    interface.loopback = (entry->ifa_flags & IFF_LOOPBACK) != 0;
    found.push_back(std::move(interface));
  }
  return found;
}

std::string list_for_people(const std::vector<NetworkInterface>& all) {
  std::vector<std::string> items;
  for (const NetworkInterface& interface : all) {
    std::string text = interface.address.text();
    items.push_back(fmt::format("{} {}", interface.name, text.substr(0, text.rfind(':'))));
  }
  return items.empty() ? "none" : fmt::format("{}", fmt::join(items, ", "));
}

// The interface that has `wanted`, with that very address; name empty if there is none.
NetworkInterface interface_with(const std::vector<NetworkInterface>& all, const SocketAddress& wanted) {
  for (const NetworkInterface& interface : all) {
    const bool matches = same_host_address(interface.address, wanted) ||
                         (is_ipv4_loopback(interface.address) && is_ipv4_loopback(wanted));
    if (!matches) continue;
    NetworkInterface chosen = interface;
    if (is_ipv4_loopback(wanted)) chosen.address = wanted;
    chosen.address.set_port(0);
    return chosen;
  }
  return {};
}

// One address of each interface that passes the name filter, the preferred one.
std::vector<NetworkInterface> best_of_each(const std::vector<NetworkInterface>& all,
                                           const std::vector<NamePattern>& patterns) {
  std::vector<NetworkInterface> chosen;
  for (const NetworkInterface& candidate : all) {
    if (!passes(patterns, candidate.name)) continue;
    const auto same = std::find_if(chosen.begin(), chosen.end(), [&](const NetworkInterface& other) {
      return other.name == candidate.name;
    });
    if (same == chosen.end()) {
      chosen.push_back(candidate);
    } else if (preference(candidate.address) < preference(same->address)) {
      same->address = candidate.address;
    }
  }
  return chosen;
}

// Without names that select, the loopback and container bridges give way to everything else.
void drop_last_resorts(std::vector<NetworkInterface>& chosen) {
  const auto is_loopback = [](const NetworkInterface& interface) { return interface.loopback; };
  const auto is_bridge = [](const NetworkInterface& interface) {
    return is_bridge_of_containers(interface.name);
  };
  const auto is_last_resort = [&](const NetworkInterface& i) { return is_loopback(i) || is_bridge(i); };
  if (!std::all_of(chosen.begin(), chosen.end(), is_last_resort)) {
    chosen.erase(std::remove_if(chosen.begin(), chosen.end(), is_last_resort), chosen.end());
  } else if (!std::all_of(chosen.begin(), chosen.end(), is_bridge)) {
    chosen.erase(std::remove_if(chosen.begin(), chosen.end(), is_bridge), chosen.end());
  }
}

}  // namespace

Result<std::vector<SocketAddress>> configured_addresses() {
  std::vector<SocketAddress> addresses;
  const std::string text = setting_text("COMITY_SOCKET_ADDRESS");
  for (const std::string_view item : split_list(text)) {
    auto parsed = SocketAddress::parse(item);
    if (!parsed.ok()) return parsed.status().in("COMITY_SOCKET_ADDRESS");
    addresses.push_back(*parsed);
  }
  return addresses;
}

Result<std::vector<NetworkInterface>> usable_interfaces() {
  COMITY_ASSIGN_OR_RETURN(const std::vector<NetworkInterface> all, all_addresses());
  COMITY_ASSIGN_OR_RETURN(const std::vector<SocketAddress> addresses, configured_addresses());
  const std::string names = setting_text("COMITY_SOCKET_IFNAME");
  const std::vector<NamePattern> patterns = parse_patterns(names);

  std::vector<NetworkInterface> chosen;
  for (const SocketAddress& wanted : addresses) {
    NetworkInterface interface = interface_with(all, wanted);
    if (interface.name.empty()) {
      return Status(Code::kInvalidArgument,
                    fmt::format("COMITY_SOCKET_ADDRESS: no interface that is up has {}; there are: {}",
                                wanted.text(), list_for_people(all)));
    }
    if (passes(patterns, interface.name)) chosen.push_back(std::move(interface));
  }
  if (addresses.empty()) {
    chosen = best_of_each(all, patterns);
    const bool selects =
        std::any_of(patterns.begin(), patterns.end(), [](const auto& p) { return !p.excludes; });
    if (!selects) drop_last_resorts(chosen);
  }
  if (chosen.empty()) {
    return Status(
        names.empty() ? Code::kSystemError : Code::kInvalidArgument,
        fmt::format("no usable network interface{}; there are: {}",
                    names.empty() ? "" : fmt::format(": COMITY_SOCKET_IFNAME=\"{}\" matches none", names),
                    list_for_people(all)));
  }
  for (NetworkInterface& interface : chosen) interface.speed_bits_per_s = speed_of(interface.name);
  return chosen;
}

}  // namespace comity
