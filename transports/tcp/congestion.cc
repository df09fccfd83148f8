#include "transports/tcp/congestion.h"

#include <fmt/core.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "src/base/file.h"
#include "src/base/unique_fd.h"

namespace comity::tcp {
namespace {

bool accepted(const std::string& name) {
  UniqueFd fd = open_fd([] { return ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0); });
  if (!fd.valid()) fd = open_fd([] { return ::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0); });
  return fd.valid() && set_congestion_control(fd.get(), name);
}

}  // namespace

bool set_congestion_control(int fd, const std::string& name) {
  if (name.empty()) return true;
  return ::setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name.data(), static_cast<socklen_t>(name.size())) == 0;
}

Result<std::string> choose_congestion_control(const Settings& settings) {
  const std::string& wanted = settings.text("COMITY_TCP_CONGESTION");
  if (!wanted.empty()) {
    if (accepted(wanted)) return wanted;
    return Status(Code::kInvalidArgument,
                  fmt::format("COMITY_TCP_CONGESTION=\"{}\": {}; this kernel has: {}; without privilege: {}",
                              wanted, std::strerror(errno),
                              first_line_of("/proc/sys/net/ipv4/tcp_available_congestion_control"),
                              first_line_of("/proc/sys/net/ipv4/tcp_allowed_congestion_control")));
  }
  const std::string system = first_line_of("/proc/sys/net/ipv4/tcp_congestion_control");
  if (system.rfind("bbr", 0) != 0) return std::string();
  for (const char* name : {"cubic", "reno"}) {
    if (accepted(name)) return std::string(name);
  }
  return std::string();
}

}  // namespace comity::tcp
