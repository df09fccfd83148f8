#include "src/base/socket.h"

#include <arpa/inet.h>
#include <fmt/core.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "src/base/bytes.h"
#include "src/base/errno_text.h"

namespace comity {
namespace {

// Families on the wire, the same on every system.
constexpr uint16_t kWireIpv4 = 4;
constexpr uint16_t kWireIpv6 = 6;
constexpr size_t kEncodedBytes = 28;

sockaddr_in& as_ipv4(sockaddr_storage& storage) {
  return reinterpret_cast<sockaddr_in&>(storage);
}
const sockaddr_in& as_ipv4(const sockaddr_storage& storage) {
  return reinterpret_cast<const sockaddr_in&>(storage);
}
sockaddr_in6& as_ipv6(sockaddr_storage& storage) {
  return reinterpret_cast<sockaddr_in6&>(storage);
}
const sockaddr_in6& as_ipv6(const sockaddr_storage& storage) {
  return reinterpret_cast<const sockaddr_in6&>(storage);
}

Status bad_address(std::string_view text, std::string_view why) {
  return Status(
      Code::kInvalidArgument,
      fmt::format("\"{}\" is not an address: {}; write 10.0.0.1, 10.0.0.1:5000, fd00::1 or [fd00::1]:5000",
                  text, why));
}

Status last_error(std::string_view what, const SocketAddress& address, std::string_view advice) {
  const int error = errno;
  return Status(Code::kSystemError,
                fmt::format("cannot {} {}: {}{}", what, address.text(), errno_text(error), advice));
}

std::string_view advice_for_bind(int error) {
  switch (error) {
    case EADDRINUSE:
      return " (another program listens there; choose another port in COMITY_SOCKET_ADDRESS, or none to let "
             "the "
             "system choose)";
    case EADDRNOTAVAIL:
      return " (no interface of this host has that address; correct COMITY_SOCKET_ADDRESS)";
    case EACCES:
      return " (ports below 1024 need privilege; choose a higher one)";
    default:
      return "";
  }
}

void set_no_delay(int fd, int family) {
  const int one = 1;
  if (family == AF_INET || family == AF_INET6) ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

Result<UniqueFd> new_stream_socket(const SocketAddress& address) {
  UniqueFd fd =
      open_fd([&] { return ::socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0); });
  if (!fd.valid()) return last_error("open a socket for", address, "; see ulimit -n");
  return fd;
}

Result<uint16_t> parse_port(std::string_view text, std::string_view whole) {
  uint16_t port = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), port);
  if (text.empty() || parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) {
    return bad_address(whole, fmt::format("\"{}\" is not a port from 0 to 65535", text));
  }
  return port;
}

// "fe80::1%eth0": the part after % is an interface's name or number.
bool parse_ipv6(std::string_view text, SocketAddress& to) {
  const size_t percent = text.find('%');
  sockaddr_in6& address = as_ipv6(to.storage);
  if (percent != std::string_view::npos) {
    const std::string scope(text.substr(percent + 1));
    address.sin6_scope_id = ::if_nametoindex(scope.c_str());
    if (address.sin6_scope_id == 0) {
      std::from_chars(scope.data(), scope.data() + scope.size(), address.sin6_scope_id);
    }
    if (address.sin6_scope_id == 0) return false;
  }
  if (::inet_pton(AF_INET6, std::string(text.substr(0, percent)).c_str(), &address.sin6_addr) != 1)
    return false;
  address.sin6_family = AF_INET6;
  to.length = sizeof(sockaddr_in6);
  return true;
}

bool parse_ipv4(std::string_view text, SocketAddress& to) {
  sockaddr_in& address = as_ipv4(to.storage);
  if (::inet_pton(AF_INET, std::string(text).c_str(), &address.sin_addr) != 1) return false;
  address.sin_family = AF_INET;
  to.length = sizeof(sockaddr_in);
  return true;
}

}  // namespace

uint16_t SocketAddress::port() const {
  if (family() == AF_INET) return ntohs(as_ipv4(storage).sin_port);
  return family() == AF_INET6 ? ntohs(as_ipv6(storage).sin6_port) : uint16_t{0};
}

void SocketAddress::set_port(uint16_t port) {
  if (family() == AF_INET) as_ipv4(storage).sin_port = htons(port);
  if (family() == AF_INET6) as_ipv6(storage).sin6_port = htons(port);
}

std::string SocketAddress::text() const {
  char host[INET6_ADDRSTRLEN] = "?";
  if (family() == AF_INET) {
    ::inet_ntop(AF_INET, &as_ipv4(storage).sin_addr, host, sizeof(host));
    return fmt::format("{}:{}", host, port());
  }
  if (family() == AF_INET6) {
    ::inet_ntop(AF_INET6, &as_ipv6(storage).sin6_addr, host, sizeof(host));
    const uint32_t scope = as_ipv6(storage).sin6_scope_id;
    return scope == 0 ? fmt::format("[{}]:{}", host, port()) : fmt::format("[{}%{}]:{}", host, scope, port());
  }
  return "(no address)";
}

Bytes SocketAddress::encode() const {
  std::array<std::byte, 16> address{};
  uint16_t wire_family = 0;
  uint32_t scope = 0;
  if (family() == AF_INET) {
    wire_family = kWireIpv4;
    std::memcpy(address.data(), &as_ipv4(storage).sin_addr, 4);
  } else if (family() == AF_INET6) {
    wire_family = kWireIpv6;
    std::memcpy(address.data(), &as_ipv6(storage).sin6_addr, 16);
    scope = as_ipv6(storage).sin6_scope_id;
  }
  ByteWriter writer;
  writer.put(wire_family).put(port()).put(scope).put(address).put(uint32_t{0});
  return writer.take();
}

Result<SocketAddress> SocketAddress::decode(const std::byte* bytes, size_t size) {
  if (size != kEncodedBytes) {
    return Status(Code::kInvalidArgument, fmt::format("an encoded address has 28 bytes, not {}", size));
  }
  ByteReader reader(std::span(bytes, size));
  const auto wire_family = reader.get<uint16_t>();
  const auto port = reader.get<uint16_t>();
  const auto scope = reader.get<uint32_t>();
  const auto address = reader.get<std::array<std::byte, 16>>();
  SocketAddress decoded;
  if (wire_family == kWireIpv4) {
    decoded.length = sizeof(sockaddr_in);
    as_ipv4(decoded.storage).sin_family = AF_INET;
    std::memcpy(&as_ipv4(decoded.storage).sin_addr, address.data(), 4);
  } else if (wire_family == kWireIpv6) {
    decoded.length = sizeof(sockaddr_in6);
    as_ipv6(decoded.storage).sin6_family = AF_INET6;
    as_ipv6(decoded.storage).sin6_scope_id = scope;
    std::memcpy(&as_ipv6(decoded.storage).sin6_addr, address.data(), 16);
  } else {
    return Status(Code::kInvalidArgument,
                  fmt::format("an encoded address has the unknown family {}", wire_family));
  }
  decoded.set_port(port);
  return decoded;
}

Result<SocketAddress> SocketAddress::parse(std::string_view text) {
  std::string_view host = text;
  std::string_view port_text = "0";
  if (text.starts_with('[')) {
    const size_t close = text.find(']');
    if (close == std::string_view::npos) return bad_address(text, "the bracket is not closed");
    host = text.substr(1, close - 1);
    if (close + 1 < text.size()) {
      if (text[close + 1] != ':') return bad_address(text, "after the bracket comes \":port\" or nothing");
      port_text = text.substr(close + 2);
    }
  } else if (const size_t colon = text.find(':');
             colon != std::string_view::npos && colon == text.rfind(':')) {
    host = text.substr(0, colon);
    port_text = text.substr(colon + 1);
  }
  COMITY_ASSIGN_OR_RETURN(const uint16_t port, parse_port(port_text, text));
  SocketAddress parsed;
  const bool valid =
      host.find(':') == std::string_view::npos ? parse_ipv4(host, parsed) : parse_ipv6(host, parsed);
  if (!valid) return bad_address(text, "neither IPv4 nor IPv6 (names are not looked up)");
  parsed.set_port(port);
  return parsed;
}

Result<UniqueFd> listen_on(const SocketAddress& address, int backlog) {
  COMITY_ASSIGN_OR_RETURN(UniqueFd fd, new_stream_socket(address));
  const int one = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
  if (address.family() == AF_INET6) ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address.storage), address.length) != 0 ||
      ::listen(fd.get(), backlog) != 0) {
    return last_error("listen on", address, advice_for_bind(errno));
  }
  return fd;
}

Result<UniqueFd> connect_to(const SocketAddress& to, const SocketAddress* from) {
  COMITY_ASSIGN_OR_RETURN(UniqueFd fd, new_stream_socket(to));
  set_no_delay(fd.get(), to.family());
  if (from != nullptr) {
    SocketAddress source = *from;
    source.set_port(0);
    if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&source.storage), source.length) != 0) {
      return last_error("send from", source, advice_for_bind(errno));
    }
  }
  int result = 0;
  do {
    result = ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&to.storage), to.length);
  } while (result != 0 && errno == EINTR);
  if (result != 0 && errno != EINPROGRESS && errno != EALREADY && errno != EISCONN) {
    return last_error("connect to", to, "");
  }
  return fd;
}

Result<UniqueFd> accept_from(int listener) {
  while (true) {
    UniqueFd fd =
        open_fd([&] { return ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC); });
    if (fd.valid()) {
      set_no_delay(fd.get(), local_address_of(fd.get()).family());
      return fd;
    }
    switch (errno) {
      case EAGAIN:
        return UniqueFd();
      case EMFILE:
      case ENFILE:
      case ENOBUFS:
      case ENOMEM:
        return last_error("accept a connection on", local_address_of(listener), "; see ulimit -n");
      case EBADF:
      case EINVAL:
      case ENOTSOCK:
      case EOPNOTSUPP:
        return Status(Code::kInternalError, "accept_from was given a descriptor that does not listen");
      default:  // the connection itself failed before it was accepted, or a signal came: look at the next one
        continue;
    }
  }
}

ssize_t receive_with_descriptor(int socket, std::span<std::byte> into, UniqueFd& descriptor) {
  iovec part{into.data(), into.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  const DescriptorGate gate;
  const ssize_t n = ::recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (n < 0) return n;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    int received = -1;
    std::memcpy(&received, CMSG_DATA(header), sizeof(received));
    UniqueFd owned = own_fd(received);
    std::swap(descriptor, owned);
  }
  return n;
}

SocketAddress local_address_of(int fd) {
  SocketAddress address;
  address.length = sizeof(address.storage);
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address.storage), &address.length) != 0)
    return SocketAddress{};
  return address;
}

}  // namespace comity
