#include "src/base/interface_facts.h"

#include <fmt/core.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <system_error>

#include "src/base/errno_text.h"
#include "src/base/file.h"
#include "src/base/text.h"

namespace comity {
namespace {

constexpr size_t kRouteTableBytes = 256 * 1024;  // a default route stands near the beginning
constexpr int kDeepestStack = 4;                 // a VLAN of a bridge of a bond of a device

std::string sysfs_of(const std::string& name) {
  return "/sys/class/net/" + name;
}

bool exists(const std::string& path) {
  return ::access(path.c_str(), F_OK) == 0;
}

// /sys shows the interfaces of the network namespace that it was mounted in, which need not be ours.
bool sysfs_is_ours(const std::string& name) {
  const auto index =
      static_cast<unsigned>(std::strtoul(first_line_of(sysfs_of(name) + "/ifindex").c_str(), nullptr, 10));
  return index != 0 && index == ::if_nametoindex(name.c_str());
}

std::vector<std::string> lower_interfaces(const std::string& name) {
  std::vector<std::string> lower;
  constexpr std::string_view kPrefix = "lower_";
  std::error_code error;
  std::filesystem::directory_iterator at(sysfs_of(name), error);
  for (; !error && at != std::filesystem::directory_iterator(); at.increment(error)) {
    const std::string file = at->path().filename();
    if (file.starts_with(kPrefix)) lower.emplace_back(file.substr(kPrefix.size()));
  }
  return lower;
}

bool stands_on_hardware(const std::string& name, int depth) {
  if (exists(sysfs_of(name) + "/device")) return true;
  if (depth == kDeepestStack) return false;
  const auto lower = lower_interfaces(name);
  return std::any_of(lower.begin(), lower.end(),
                     [depth](const std::string& each) { return stands_on_hardware(each, depth + 1); });
}

bool is_named_as_local_bridge(const std::string& name) {
  constexpr std::string_view kPrefixes[] = {"docker", "virbr", "br-", "lxcbr", "lxdbr", "podman", "cni"};
  return std::any_of(std::begin(kPrefixes), std::end(kPrefixes),
                     [&](std::string_view prefix) { return name.starts_with(prefix); });
}

InterfaceKind kind_of(const std::string& name) {
  if (!sysfs_is_ours(name))
    return is_named_as_local_bridge(name) ? InterfaceKind::kLocalBridge : InterfaceKind::kVirtual;
  if (stands_on_hardware(name, 0)) return InterfaceKind::kHardware;
  const bool bridge = exists(sysfs_of(name) + "/bridge") || is_named_as_local_bridge(name);
  return bridge ? InterfaceKind::kLocalBridge : InterfaceKind::kVirtual;
}

// Names of interfaces that a default route goes through, of both families.
std::set<std::string> default_routes() {
  std::set<std::string> names;
  // Iface Destination Gateway Flags RefCnt Use Metric Mask ...
  const std::string ipv4 = read_beginning("/proc/net/route", kRouteTableBytes);
  for (const std::string_view line : split(ipv4, '\n')) {
    const auto fields = split_list(line, '\t');
    if (fields.size() > 7 && fields[1] == "00000000" && fields[7] == "00000000") names.emplace(fields[0]);
  }
  // destination prefix source prefix gateway metric references use flags name
  const std::string ipv6 = read_beginning("/proc/net/ipv6_route", kRouteTableBytes);
  for (const std::string_view line : split(ipv6, '\n')) {
    const auto fields = split_list(line, ' ');
    const bool any = fields.size() > 9 && fields[0] == std::string(32, '0') && fields[1] == "00";
    if (any && fields[9] != "lo") names.emplace(fields[9]);  // on lo it is the one that refuses
  }
  return names;
}

uint8_t prefix_bits_of(const sockaddr* mask, int family) {
  if (mask == nullptr) return 0;
  // getifaddrs allocates a sockaddr of the family's size, not a sockaddr_storage.
  const size_t offset =
      family == AF_INET ? offsetof(sockaddr_in, sin_addr) : offsetof(sockaddr_in6, sin6_addr);
  std::array<uint8_t, 16> bytes{};
  std::memcpy(bytes.data(), reinterpret_cast<const std::byte*>(mask) + offset, family == AF_INET ? 4 : 16);
  int bits = 0;
  for (const uint8_t byte : bytes) bits += std::popcount(byte);
  return static_cast<uint8_t>(bits);
}

}  // namespace

std::span<const std::byte> raw_address(const sockaddr_storage& storage) {
  if (storage.ss_family == AF_INET) {
    return std::as_bytes(std::span(&reinterpret_cast<const sockaddr_in&>(storage).sin_addr, 1));
  }
  if (storage.ss_family == AF_INET6) {
    return std::as_bytes(std::span(&reinterpret_cast<const sockaddr_in6&>(storage).sin6_addr, 1));
  }
  return {};
}

bool same_prefix(std::span<const std::byte> a, std::span<const std::byte> b, uint32_t bits) {
  if (a.size() != b.size()) return false;
  const uint32_t compared = std::min(bits, static_cast<uint32_t>(a.size() * 8));
  const size_t whole = compared / 8;
  if (std::memcmp(a.data(), b.data(), whole) != 0) return false;
  if (compared % 8 == 0) return true;
  const auto mask = static_cast<std::byte>(0xff00u >> (compared % 8));
  return (a[whole] & mask) == (b[whole] & mask);
}

AddressScope scope_of(const SocketAddress& address) {
  const auto raw = raw_address(address.storage);
  if (raw.size() == 4) {
    if (raw[0] == std::byte{127}) return AddressScope::kHost;
    const bool link_local = raw[0] == std::byte{169} && raw[1] == std::byte{254};
    return link_local ? AddressScope::kLinkLocal : AddressScope::kGlobal;
  }
  if (raw.size() != 16) return AddressScope::kHost;
  const in6_addr& ipv6 = reinterpret_cast<const sockaddr_in6&>(address.storage).sin6_addr;
  if (IN6_IS_ADDR_LOOPBACK(&ipv6)) return AddressScope::kHost;
  return IN6_IS_ADDR_LINKLOCAL(&ipv6) ? AddressScope::kLinkLocal : AddressScope::kGlobal;
}

Result<std::vector<InterfaceFacts>> interface_facts() {
  ifaddrs* raw = nullptr;
  if (::getifaddrs(&raw) != 0) {
    return Status(Code::kSystemError, fmt::format("cannot list network interfaces: {}", errno_text(errno)));
  }
  const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> list(raw, &::freeifaddrs);
  const std::set<std::string> routes = default_routes();
  std::map<std::string, InterfaceKind> kinds;
  std::vector<InterfaceFacts> found;
  for (const ifaddrs* entry = list.get(); entry != nullptr; entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr || (entry->ifa_flags & IFF_UP) == 0) continue;
    const int family = entry->ifa_addr->sa_family;
    if (family != AF_INET && family != AF_INET6) continue;
    InterfaceFacts facts;
    NetworkInterface& interface = facts.interface;
    interface.name = entry->ifa_name;
    interface.index = ::if_nametoindex(entry->ifa_name);
    interface.address.length = family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
    std::memcpy(&interface.address.storage, entry->ifa_addr, interface.address.length);
    interface.prefix_bits = prefix_bits_of(entry->ifa_netmask, family);
    facts.scope = scope_of(interface.address);
    interface.loopback = facts.scope == AddressScope::kHost;
    facts.running = (entry->ifa_flags & IFF_RUNNING) != 0;
    facts.default_route = routes.contains(interface.name);
    const auto known = kinds.find(interface.name);
    facts.kind = known != kinds.end() ? known->second : (kinds[interface.name] = kind_of(interface.name));
    found.push_back(std::move(facts));
  }
  return found;
}

}  // namespace comity
