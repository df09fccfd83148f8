#include "src/base/stream.h"

#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "src/base/socket.h"

namespace comity {

ssize_t BorrowedStream::write(std::span<const std::byte> bytes) {
  return ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
}

ssize_t BorrowedStream::read(std::span<std::byte> into) {
  return ::recv(fd_, into.data(), into.size(), MSG_DONTWAIT);
}

void BorrowedStream::end() {
  ::shutdown(fd_, SHUT_WR);
}

bool BorrowedStream::connected() const {
  sockaddr_storage storage;
  socklen_t length = sizeof(storage);
  return ::getpeername(fd_, reinterpret_cast<sockaddr*>(&storage), &length) == 0;
}

size_t BorrowedStream::unread() const {
  int bytes = 0;
  return ::ioctl(fd_, FIONREAD, &bytes) == 0 && bytes > 0 ? static_cast<size_t>(bytes) : 0;
}

int64_t BorrowedStream::unacknowledged() const {
  int queued = 0;
  return ::ioctl(fd_, SIOCOUTQ, &queued) == 0 ? queued : -1;
}

void BorrowedStream::notice_silence(const SilenceLimits& limits) {
  const int on = 1;
  ::setsockopt(fd_, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
  ::setsockopt(fd_, IPPROTO_TCP, TCP_KEEPIDLE, &limits.idle_s, sizeof(limits.idle_s));
  ::setsockopt(fd_, IPPROTO_TCP, TCP_KEEPINTVL, &limits.interval_s, sizeof(limits.interval_s));
  ::setsockopt(fd_, IPPROTO_TCP, TCP_KEEPCNT, &limits.probes, sizeof(limits.probes));
  ::setsockopt(fd_, IPPROTO_TCP, TCP_USER_TIMEOUT, &limits.unacknowledged_ms,
               sizeof(limits.unacknowledged_ms));
}

Result<StreamPtr> KernelListener::accept() {
  COMITY_ASSIGN_OR_RETURN(UniqueFd fd, accept_from(fd_.get()));
  if (!fd.valid()) return StreamPtr();
  return StreamPtr(std::make_unique<KernelStream>(std::move(fd)));
}

}  // namespace comity
