// Sockets without surprises: addresses as values, non-blocking descriptors, interface selection.
#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "comity/plugin/result.h"
#include "src/base/settings.h"
#include "src/base/unique_fd.h"

namespace comity {

// An IPv4 or IPv6 address with a port, as a value; IPv6 link-local keeps its scope.
struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;

  int family() const { return storage.ss_family; }
  uint16_t port() const;
  void set_port(uint16_t port);
  std::string text() const;  // "10.0.0.1:5000", "[fe80::1%2]:5000"
  // 28 bytes that every rank encodes alike: family (2), port (2), scope (4), address (16), zero (4).
  std::vector<std::byte> encode() const;
  static Result<SocketAddress> decode(const std::byte* bytes, size_t size);
  // "10.0.0.1", "10.0.0.1:80", "[::1]:80", "::1". kInvalidArgument says what is wrong.
  static Result<SocketAddress> parse(std::string_view text);
};

// An address of a network interface.
struct NetworkInterface {
  std::string name;
  uint32_t index = 0;  // the kernel's number of the interface
  SocketAddress address;
  uint8_t prefix_bits = 0;        // of its subnet
  uint64_t speed_bits_per_s = 0;  // 0: unknown (virtual)
  bool loopback = false;          // the address is this host's alone
};

// Addresses of interfaces that are up and pass COMITY_SOCKET_IFNAME and COMITY_SOCKET_ADDRESS, ports zero:
// the first of each subnet, of both families, best first: with a carrier, with a default route, of a device,
// addresses of lo that are routed (10.0.0.1/32), virtual ones; IPv4 before IPv6. The loopback, link-local
// addresses and bridges of this host (docker*, virbr*, any bridge without a device; their addresses repeat on
// other hosts) are there only when selected by name or address, or when nothing else is: the loopback first,
// for then it is one host that can work. See docs/decisions/0014-addresses.md.
//   COMITY_SOCKET_IFNAME  comma list of prefixes: "eth" takes eth0 and eth1; "=eth0" takes just eth0;
//                         "^docker" excludes. A sign before the first item holds for all, as in NCCL.
//   COMITY_SOCKET_ADDRESS comma list of addresses of this host; a port in it is for the meeting point alone.
// kInvalidArgument names a filter that matches nothing and lists what there is. Without `settings`: those of
// the process, read at each call.
Result<std::vector<NetworkInterface>> usable_interfaces(const Settings& settings);
Result<std::vector<NetworkInterface>> usable_interfaces();

// "; left out here: docker0 172.17.0.1 (COMITY_SOCKET_IFNAME selects)", for the end of an error; empty if
// nothing is. Null: by the settings of the process, here and below.
std::string interfaces_left_out(const Settings* settings);
// Link-local IPv6 addresses of another host mean something together with an interface of this one only: each
// is replaced by itself through every interface that `settings` allow and that has such an address. Others
// stay.
std::vector<SocketAddress> with_own_scopes(const std::vector<SocketAddress>& addresses,
                                           const Settings* settings);

// The addresses of COMITY_SOCKET_ADDRESS, ports kept; empty if it is unset.
Result<std::vector<SocketAddress>> configured_addresses(const Settings& settings);

// A listening, non-blocking, close-on-exec socket bound to `address` (port 0: chosen). kSystemError names the
// address, the cause ("in use") and what to try; errno then says why.
Result<UniqueFd> listen_on(const SocketAddress& address, int backlog);
// A non-blocking, close-on-exec socket (TCP_NODELAY) whose connect to `to` has begun; `from` (may be null)
// selects the source address. kSystemError if the kernel refuses at once, errno then says why; a refusal that
// comes later shows at the first send.
Result<UniqueFd> connect_to(const SocketAddress& to, const SocketAddress* from);
// The next waiting connection as a non-blocking, close-on-exec descriptor (TCP_NODELAY), or an invalid one if
// none waits. kSystemError: this process has no descriptors or memory left; the listener stays usable.
Result<UniqueFd> accept_from(int listener);
// recvmsg without waiting on a local socket over which one descriptor at a time may come, close-on-exec: it
// replaces `descriptor`. The bytes read, 0 at the end, -1 with errno.
ssize_t receive_with_descriptor(int socket, std::span<std::byte> into, UniqueFd& descriptor);
// The address that `fd` is bound to, length 0 if none.
SocketAddress local_address_of(int fd);

}  // namespace comity
