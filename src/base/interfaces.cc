// Which network interfaces this process may use: what the kernel lists, filtered by the settings.
#include <fmt/core.h>
#include <fmt/ranges.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstdlib>
#include <tuple>

#include "src/base/file.h"
#include "src/base/interface_facts.h"
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

bool same_host_address(const SocketAddress& a, const SocketAddress& b) {
  const auto raw = raw_address(a.storage);
  return same_prefix(raw, raw_address(b.storage), static_cast<uint32_t>(raw.size() * 8));
}

// All of 127.0.0.0/8 is this host, though the interface lists just one address of it.
bool is_ipv4_loopback(const SocketAddress& address) {
  return address.family() == AF_INET && scope_of(address) == AddressScope::kHost;
}

uint64_t speed_of(const std::string& name) {
  // Virtual interfaces answer -1 or refuse the read.
  const int64_t megabits_per_s =
      std::strtoll(first_line_of("/sys/class/net/" + name + "/speed").c_str(), nullptr, 10);
  return megabits_per_s > 0 ? static_cast<uint64_t>(megabits_per_s) * 1'000'000u : 0;
}

std::string text_of(const NetworkInterface& interface) {
  const std::string text = interface.address.text();
  return fmt::format("{} {}", interface.name, text.substr(0, text.rfind(':')));
}

std::string list_for_people(const std::vector<InterfaceFacts>& all) {
  std::vector<std::string> items;
  for (const InterfaceFacts& each : all) items.push_back(text_of(each.interface));
  return items.empty() ? "none" : fmt::format("{}", fmt::join(items, ", "));
}

// The interface that has `wanted`, with that very address; name empty if there is none.
NetworkInterface interface_with(const std::vector<InterfaceFacts>& all, const SocketAddress& wanted) {
  for (const InterfaceFacts& each : all) {
    const bool matches = same_host_address(each.interface.address, wanted) ||
                         (is_ipv4_loopback(each.interface.address) && is_ipv4_loopback(wanted));
    if (!matches) continue;
    NetworkInterface chosen = each.interface;
    if (is_ipv4_loopback(wanted)) chosen.address = wanted;
    chosen.address.set_port(0);
    return chosen;
  }
  return {};
}

// Lower is preferred. An address of the loopback interface that is routed (10.0.0.1/32) comes after those of
// devices, as it may be one that many hosts share, and before virtual ones.
auto preference_of(const InterfaceFacts& facts) {
  const bool on_loopback = facts.interface.name == "lo";
  const int kind = facts.kind == InterfaceKind::kHardware      ? 0
                   : on_loopback                               ? 1
                   : facts.kind == InterfaceKind::kLocalBridge ? 3
                                                               : 2;
  // For one host its own address is the best of those that mean nothing to others.
  const int scope = facts.scope == AddressScope::kGlobal ? 0 : facts.scope == AddressScope::kHost ? 1 : 2;
  return std::tuple(scope, !facts.running, !facts.default_route, kind,
                    facts.interface.address.family() != AF_INET);
}

bool is_local_bridge(const InterfaceFacts& facts) {
  return facts.kind == InterfaceKind::kLocalBridge && !facts.default_route;
}

// Of what no name selects: what other hosts may reach; if there is none, what this one can use alone.
// Addresses of bridges of this host repeat on others and lead nowhere: they are for when there is nothing
// else at all.
bool is_last_resort(const InterfaceFacts& facts) {
  return facts.scope != AddressScope::kGlobal || is_local_bridge(facts);
}

void drop_last_resorts(std::vector<InterfaceFacts>& chosen) {
  if (!std::all_of(chosen.begin(), chosen.end(), is_last_resort)) {
    std::erase_if(chosen, is_last_resort);
  } else if (!std::all_of(chosen.begin(), chosen.end(), is_local_bridge)) {
    std::erase_if(chosen, is_local_bridge);
  }
}

// The first address of each subnet on each interface, and one of the loopback; temporary addresses go so.
void drop_repetitions(std::vector<InterfaceFacts>& chosen) {
  std::vector<InterfaceFacts> kept;
  for (const InterfaceFacts& each : chosen) {
    const bool repeats = std::any_of(kept.begin(), kept.end(), [&](const InterfaceFacts& other) {
      if (each.scope == AddressScope::kHost && other.scope == AddressScope::kHost) return true;
      return each.interface.index == other.interface.index &&
             same_prefix(raw_address(each.interface.address.storage),
                         raw_address(other.interface.address.storage), each.interface.prefix_bits);
    });
    if (!repeats) kept.push_back(each);
  }
  chosen = std::move(kept);
}

// All that the settings allow, best first.
std::vector<InterfaceFacts> allowed(const std::vector<InterfaceFacts>& all,
                                    const std::vector<NamePattern>& patterns) {
  std::vector<InterfaceFacts> chosen;
  for (const InterfaceFacts& each : all) {
    if (passes(patterns, each.interface.name)) chosen.push_back(each);
  }
  std::stable_sort(chosen.begin(), chosen.end(), [](const InterfaceFacts& a, const InterfaceFacts& b) {
    return preference_of(a) < preference_of(b);
  });
  drop_repetitions(chosen);
  const bool selects =
      std::any_of(patterns.begin(), patterns.end(), [](const auto& p) { return !p.excludes; });
  if (!selects) drop_last_resorts(chosen);
  const auto is_link_local = [](const InterfaceFacts& each) {
    return each.scope == AddressScope::kLinkLocal;
  };
  const auto is_global = [](const InterfaceFacts& each) { return each.scope == AddressScope::kGlobal; };
  if (std::any_of(chosen.begin(), chosen.end(), is_global)) std::erase_if(chosen, is_link_local);
  return chosen;
}

Result<std::vector<NetworkInterface>> allowed_by(const Settings* settings) {
  return settings == nullptr ? usable_interfaces() : usable_interfaces(*settings);
}

}  // namespace

Result<std::vector<SocketAddress>> configured_addresses(const Settings& settings) {
  std::vector<SocketAddress> addresses;
  const std::string& text = settings.text("COMITY_SOCKET_ADDRESS");
  for (const std::string_view item : split_list(text)) {
    auto parsed = SocketAddress::parse(item);
    if (!parsed.ok()) return parsed.status().in("COMITY_SOCKET_ADDRESS");
    addresses.push_back(*parsed);
  }
  return addresses;
}

Result<std::vector<NetworkInterface>> usable_interfaces() {
  COMITY_ASSIGN_OR_RETURN(const Settings settings, Settings::read());
  return usable_interfaces(settings);
}

Result<std::vector<NetworkInterface>> usable_interfaces(const Settings& settings) {
  COMITY_ASSIGN_OR_RETURN(const std::vector<InterfaceFacts> all, interface_facts());
  COMITY_ASSIGN_OR_RETURN(const std::vector<SocketAddress> addresses, configured_addresses(settings));
  const std::string& names = settings.text("COMITY_SOCKET_IFNAME");
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
    for (const InterfaceFacts& each : allowed(all, patterns)) chosen.push_back(each.interface);
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

std::string interfaces_left_out(const Settings* settings) {
  const auto used = allowed_by(settings);
  const auto all = interface_facts();
  if (!used.ok() || !all.ok()) return {};
  std::vector<std::string> items;
  for (const InterfaceFacts& each : *all) {
    const bool in_use = std::any_of(used->begin(), used->end(), [&](const NetworkInterface& other) {
      return same_host_address(other.address, each.interface.address);
    });
    if (!in_use && each.scope == AddressScope::kGlobal) items.push_back(text_of(each.interface));
  }
  if (items.empty()) return {};
  return fmt::format("; left out here: {} (COMITY_SOCKET_IFNAME selects)", fmt::join(items, ", "));
}

std::vector<SocketAddress> with_own_scopes(const std::vector<SocketAddress>& addresses,
                                           const Settings* settings) {
  const auto needs_scope = [](const SocketAddress& address) {
    return address.family() == AF_INET6 && scope_of(address) == AddressScope::kLinkLocal;
  };
  if (std::none_of(addresses.begin(), addresses.end(), needs_scope)) return addresses;
  std::vector<SocketAddress> scoped;
  const auto used = allowed_by(settings);
  for (const SocketAddress& address : addresses) {
    if (!needs_scope(address)) {
      scoped.push_back(address);
      continue;
    }
    if (!used.ok()) continue;
    for (const NetworkInterface& own : *used) {
      if (own.address.family() != AF_INET6 || scope_of(own.address) != AddressScope::kLinkLocal) continue;
      SocketAddress through = address;
      reinterpret_cast<sockaddr_in6&>(through.storage).sin6_scope_id = own.index;
      scoped.push_back(through);
    }
  }
  return scoped;
}

}  // namespace comity
