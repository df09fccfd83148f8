// What the kernel says of network interfaces; what to make of it is the business of interfaces.cc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "comity/plugin/result.h"
#include "src/base/socket.h"

namespace comity {

enum class InterfaceKind : uint8_t {
  kHardware,     // a device, or something (bond, bridge, VLAN) that stands on one
  kVirtual,      // veth, tunnel, dummy, or not known
  kLocalBridge,  // joins containers or virtual machines of this host; its addresses repeat on other hosts
};

// Which hosts an address means something to.
enum class AddressScope : uint8_t {
  kGlobal,     // all that it is routed to, addresses of the loopback interface (10.0.0.1/32 on lo) included
  kLinkLocal,  // those on the same cable: fe80::, 169.254.
  kHost,       // this one: 127., ::1
};

struct InterfaceFacts {
  NetworkInterface interface;  // one address; the speed is not looked up
  InterfaceKind kind = InterfaceKind::kVirtual;
  AddressScope scope = AddressScope::kGlobal;
  bool default_route = false;
  bool running = true;  // has a carrier
};

// Every address of every interface that is up, in the kernel's order. kSystemError.
Result<std::vector<InterfaceFacts>> interface_facts();

AddressScope scope_of(const SocketAddress& address);
// The address in network order: 4 or 16 bytes, or none.
std::span<const std::byte> raw_address(const sockaddr_storage& storage);
// Whether the first `bits` bits are the same in both.
bool same_prefix(std::span<const std::byte> a, std::span<const std::byte> b, uint32_t bits);

}  // namespace comity
